-- Back to what the first schema granted.
REVOKE SELECT (business_id, message_id, state) ON outbox FROM relevo_ingest;
REVOKE SELECT (new_contact) ON conversation FROM relevo_ingest;
REVOKE SELECT (business_id, id) ON channel FROM relevo_sweep;
