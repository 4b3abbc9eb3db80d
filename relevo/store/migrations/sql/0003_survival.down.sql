-- Back to what the release before can read. What only this one knows becomes the nearest that it does.
UPDATE untold SET state = 'context' WHERE state = 'held';
DELETE FROM message AS m USING untold AS u WHERE u.state IN ('asked', 'due')
    AND m.business_id = u.business_id AND m.id = u.message_id;
DELETE FROM untold WHERE state IN ('asked', 'due');
UPDATE message SET source = 'turn' WHERE source IN ('schedule', 'api');
UPDATE turn SET stage = 'answering' WHERE stage = 'reconciling';
UPDATE turn SET outcome = 'answered' WHERE outcome = 'sent';
UPDATE dead_letter SET closed_as = 'superseded' WHERE closed_as IN ('retried', 'dropped');

DROP INDEX message_witness;
DROP TABLE early_status;
REVOKE UPDATE (replayed_at) ON quarantine FROM relevo_app;
ALTER TABLE quarantine DROP COLUMN replayed_at;
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_closed_as_check,
    ADD CONSTRAINT dead_letter_closed_as_check CHECK (closed_as IN ('superseded'));
ALTER TABLE outbox DROP COLUMN window_ends_at;
ALTER TABLE turn DROP COLUMN purpose, DROP COLUMN answer_ends_at,
    DROP CONSTRAINT turn_outcome_check,
    ADD CONSTRAINT turn_outcome_check CHECK (outcome IN ('answered', 'answered_by_human', 'held',
        'no_reply', 'refused', 'failed', 'merged')),
    DROP CONSTRAINT turn_stage_check,
    ADD CONSTRAINT turn_stage_check CHECK (stage IN
        ('recalling', 'ensuring', 'answering', 'sending', 'ended'));
DROP INDEX untold_unread;
ALTER TABLE untold DROP CONSTRAINT untold_state_check,
    ADD CONSTRAINT untold_state_check CHECK (state IN ('unread', 'failed', 'context'));
CREATE INDEX untold_unread ON untold (received_at) WHERE state = 'unread';
ALTER TABLE message DROP CONSTRAINT message_source_check,
    ADD CONSTRAINT message_source_check CHECK (source IN ('webhook', 'history', 'turn'));
ALTER TABLE conversation DROP COLUMN hold_until, DROP COLUMN hold_released_at;
