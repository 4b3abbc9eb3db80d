-- Back to what the release before can read. What only this one knows becomes the nearest that it does.
UPDATE message SET source = 'history' WHERE source = 'import';
DROP TABLE link, merge, ai_conversation, ai_erasure, api_key, outgoing, idempotency, early_change,
    legacy_message;
ALTER TABLE turn DROP COLUMN discarded_responses;
-- What was erased is taken off for good.
WITH counted AS (
    DELETE FROM accepted RETURNING business_id, messages
)
INSERT INTO accepted (business_id, writer, messages)
SELECT business_id, -1, greatest(sum(messages), 0) FROM counted GROUP BY business_id;
ALTER TABLE accepted DROP CONSTRAINT accepted_messages_check,
    ADD CONSTRAINT accepted_messages_check CHECK (messages >= 0);
DROP INDEX address_begins, address_ends, message_recent, conversation_tagged, conversation_held;
ALTER TABLE address DROP COLUMN reversed;
ALTER TABLE message DROP COLUMN edited_at, DROP COLUMN revoked_at, DROP COLUMN edits,
    DROP CONSTRAINT message_source_check,
    ADD CONSTRAINT message_source_check
        CHECK (source IN ('webhook', 'history', 'turn', 'schedule', 'api'));
ALTER TABLE conversation DROP COLUMN closed_at;
REVOKE INSERT, DELETE ON conversation FROM relevo_app;
REVOKE INSERT, UPDATE, DELETE ON address FROM relevo_app;
REVOKE DELETE ON turn, outbox, dead_letter, quarantine, early_status FROM relevo_app;
REVOKE INSERT, UPDATE (messages) ON accepted FROM relevo_app;
REVOKE UPDATE (body) ON message FROM relevo_ingest;
REVOKE SELECT (business_id, conversation_id, stage, wait_until, message_ids, missed_ids) ON turn
    FROM relevo_ingest;
