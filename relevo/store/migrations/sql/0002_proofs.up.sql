-- Ingest sees whether an echo or a status is about a send that has not ended, and whether a contact
-- is called new for the first time; a sweep sees whose a channel is. No bodies, as before.
GRANT SELECT (business_id, message_id, state) ON outbox TO relevo_ingest;
GRANT SELECT (new_contact) ON conversation TO relevo_ingest;
GRANT SELECT (business_id, id) ON channel TO relevo_sweep;
