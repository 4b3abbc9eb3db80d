-- What has to be remembered when something fails: holds, requests of people, sends that no turn opened,
-- AI calls in doubt, statuses that came too early, and what became of letters and raw bodies. New
-- columns may be NULL, so that the release before can run beside this one.

-- A hold ends at an instant, also when a person ends it: whatever was received before is held.
ALTER TABLE conversation ADD COLUMN hold_until timestamptz, ADD COLUMN hold_released_at timestamptz;

ALTER TABLE message DROP CONSTRAINT message_source_check,
    ADD CONSTRAINT message_source_check
        CHECK (source IN ('webhook', 'history', 'turn', 'schedule', 'api'));

-- `held`: came during a hold. `asked`: a person wants an answer now. `due`: we have to send it.
ALTER TABLE untold DROP CONSTRAINT untold_state_check,
    ADD CONSTRAINT untold_state_check
        CHECK (state IN ('unread', 'failed', 'context', 'held', 'asked', 'due'));
DROP INDEX untold_unread;
CREATE INDEX untold_unread ON untold (received_at) WHERE state IN ('unread', 'asked', 'due');

-- Witnesses are never webhook's rows, of which a customer who floods has thousands within minutes.
CREATE INDEX message_witness ON message (business_id, conversation_id, event_at)
    WHERE source <> 'webhook';

ALTER TABLE turn DROP CONSTRAINT turn_stage_check,
    ADD CONSTRAINT turn_stage_check CHECK (stage IN
        ('recalling', 'ensuring', 'answering', 'reconciling', 'sending', 'ended')),
    DROP CONSTRAINT turn_outcome_check,
    ADD CONSTRAINT turn_outcome_check CHECK (outcome IN ('answered', 'answered_by_human', 'held',
        'no_reply', 'refused', 'failed', 'merged', 'sent')),
    ADD COLUMN purpose text CONSTRAINT turn_purpose_check CHECK (purpose IN ('reply', 'send')),
    ADD COLUMN answer_ends_at timestamptz;

ALTER TABLE outbox ADD COLUMN window_ends_at timestamptz;

ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_closed_as_check,
    ADD CONSTRAINT dead_letter_closed_as_check
        CHECK (closed_as IN ('superseded', 'retried', 'dropped'));

ALTER TABLE quarantine ADD COLUMN replayed_at timestamptz;

-- Statuses of ids that nobody knows yet: the provider was faster than its own answer to our send.
CREATE TABLE early_status (
    business_id text NOT NULL REFERENCES business,
    channel_id text NOT NULL,
    key text NOT NULL CHECK (key <> ''),
    status text NOT NULL CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, channel_id, key, status)
);
CREATE INDEX early_status_age ON early_status (received_at);
ALTER TABLE early_status ENABLE ROW LEVEL SECURITY;
ALTER TABLE early_status FORCE ROW LEVEL SECURITY;
CREATE POLICY maintenance ON early_status TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY tenant ON early_status TO relevo_app
    USING (business_id = nullif(current_setting('relevo.business_id', true), ''));
CREATE POLICY ingest ON early_status TO relevo_ingest USING (true) WITH CHECK (true);
CREATE POLICY sweep ON early_status FOR SELECT TO relevo_sweep USING (true);

GRANT SELECT ON early_status TO relevo_app;
GRANT SELECT, INSERT, DELETE ON early_status TO relevo_ingest;
GRANT UPDATE (replayed_at) ON quarantine TO relevo_app;
