-- One customer, one thread: links and merges with their undo, keys of the API, sends with a time of
-- their own, edits and revocations, what comes from an older CRM, and what has to be known to erase a
-- customer. New columns may be NULL, so that the release before can run beside this one.

-- Closed until something newer comes: reopening needs no write.
ALTER TABLE conversation ADD COLUMN closed_at timestamptz;

ALTER TABLE message DROP CONSTRAINT message_source_check,
    ADD CONSTRAINT message_source_check
        CHECK (source IN ('webhook', 'history', 'turn', 'schedule', 'api', 'import')),
    ADD COLUMN edited_at timestamptz,
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN edits bigint;  -- of a message that says how this one reads now

-- Who has spoken last, without a mark that every message would have to move.
CREATE INDEX message_recent ON message (business_id, event_at, id) INCLUDE (conversation_id)
    WHERE author <> 'system';

-- Addresses are searched by how they begin and by how they end. Comparisons of texts are leakproof,
-- so row security lets them use an index; LIKE and trigrams are not.
ALTER TABLE address ADD COLUMN reversed text COLLATE "C" GENERATED ALWAYS AS (reverse(value)) STORED;
CREATE INDEX address_begins ON address (business_id, value COLLATE "C");
CREATE INDEX address_ends ON address (business_id, reversed);

-- Those with a tag are few among all, and looked for among themselves.
CREATE INDEX conversation_tagged ON conversation (business_id, id) WHERE tags <> '{}';
-- The same for those that a human may have: held by a person, or written to by a colleague.
CREATE INDEX conversation_held ON conversation (business_id, greatest(hold_until, last_agent_at))
    WHERE greatest(hold_until, last_agent_at) IS NOT NULL;

-- A wish that two addresses lead to one conversation; gone once they do.
CREATE TABLE link (
    business_id text NOT NULL REFERENCES business,
    kind text NOT NULL,
    scope text NOT NULL,
    value text NOT NULL,
    other_kind text NOT NULL,
    other_scope text NOT NULL,
    other_value text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('message', 'number_changed', 'lead', 'person')),
    wanted_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, kind, scope, value, other_kind, other_scope, other_value)
);

-- What was merged, with all it takes to undo it. The rows of both as they were; which messages and
-- turns were the loser's. No foreign key to the survivor, who may lose himself later.
CREATE TABLE merge (
    business_id text NOT NULL REFERENCES business,
    id bigint GENERATED ALWAYS AS IDENTITY,
    survivor_id bigint NOT NULL,
    loser_id bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('message', 'number_changed', 'lead', 'person')),
    survivor jsonb NOT NULL,
    loser jsonb NOT NULL,
    addresses jsonb NOT NULL,
    message_ids bigint[] NOT NULL,
    turn_ids bigint[] NOT NULL,
    merged_at timestamptz NOT NULL,
    undone_at timestamptz,
    PRIMARY KEY (business_id, id)
);
CREATE INDEX merge_of_survivor ON merge (business_id, survivor_id);
CREATE INDEX merge_of_loser ON merge (business_id, loser_id);
CREATE INDEX merge_recent ON merge (greatest(merged_at, undone_at));

-- Every conversation at the AI that a customer ever had: what has to be erased there.
CREATE TABLE ai_conversation (
    business_id text NOT NULL,
    id text NOT NULL CONSTRAINT ai_conversation_id_is_one CHECK (id LIKE 'conv\_%'),
    conversation_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, conversation_id) REFERENCES conversation (business_id, id)
);
CREATE INDEX ai_conversation_of ON ai_conversation (business_id, conversation_id);
INSERT INTO ai_conversation (business_id, id, conversation_id, created_at)
SELECT business_id, openai_conversation_id, id, created_at FROM conversation
WHERE openai_conversation_id IS NOT NULL
ON CONFLICT DO NOTHING;

-- Responses that the AI has stored and that answered nobody.
ALTER TABLE turn ADD COLUMN discarded_responses text[];

-- What is still to be erased at the AI, of customers who are forgotten here. It says nothing of whom.
CREATE TABLE ai_erasure (
    business_id text NOT NULL REFERENCES business,
    id text NOT NULL CONSTRAINT ai_erasure_names_something CHECK (id <> ''),
    wanted_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id)
);

-- What was erased was accepted once: writer 0 counts it against the others, and is never a process's.
ALTER TABLE accepted DROP CONSTRAINT accepted_messages_check,
    ADD CONSTRAINT accepted_messages_check CHECK (messages >= 0 OR writer = 0);

-- Keys of the API. Of a key only its hash is kept; its id is public, and says whose it is.
CREATE TABLE api_key (
    business_id text NOT NULL REFERENCES business,
    id text NOT NULL UNIQUE CHECK (id <> ''),
    name text NOT NULL CHECK (name <> ''),
    scopes text[] NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (business_id, id)
);

-- Sends that somebody asked for, now or at a time. Once it is time each becomes a message that is due.
CREATE TABLE outgoing (
    business_id text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    conversation_id bigint NOT NULL,
    author text NOT NULL CHECK (author IN ('agent', 'automation')),
    author_name text NOT NULL DEFAULT '',
    body text NOT NULL,
    due_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('scheduled', 'queued', 'cancelled', 'refused')),
    reason text NOT NULL DEFAULT '',
    message_id bigint,
    created_by text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, conversation_id) REFERENCES conversation (business_id, id),
    CONSTRAINT what_is_queued_is_a_message CHECK ((state = 'queued') = (message_id IS NOT NULL))
);
CREATE INDEX outgoing_due ON outgoing (business_id, due_at, id) WHERE state = 'scheduled';
CREATE INDEX outgoing_of_conversation ON outgoing (business_id, conversation_id, id);

-- What a request with an Idempotency-Key was answered, in the transaction that did what it asked.
CREATE TABLE idempotency (
    business_id text NOT NULL REFERENCES business,
    key text NOT NULL CHECK (key <> ''),
    request bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, key)
);
CREATE INDEX idempotency_age ON idempotency (business_id, created_at);

-- Edits and revocations of messages that nobody knows yet; the newest of each.
CREATE TABLE early_change (
    business_id text NOT NULL REFERENCES business,
    channel_id text NOT NULL,
    target text NOT NULL CHECK (target <> ''),
    kind text NOT NULL CHECK (kind IN ('edit', 'revocation')),
    author text NOT NULL CHECK (author IN ('customer', 'agent', 'unknown')),
    body text NOT NULL,
    event_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, channel_id, target, kind, author)
);
CREATE INDEX early_change_age ON early_change (received_at);

-- What an older CRM holds, before it is known whose it is. A phone is E.164, '' if there is none. What
-- has become a message keeps no text here.
CREATE TABLE legacy_message (
    business_id text NOT NULL REFERENCES business,
    id bigint GENERATED ALWAYS AS IDENTITY,
    channel_id text NOT NULL,
    legacy_id text NOT NULL CHECK (legacy_id <> ''),
    to_number text NOT NULL,
    author text NOT NULL CHECK (author IN ('customer', 'assistant', 'agent', 'automation')),
    lead_id text NOT NULL,
    lid text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'inserted', 'refused')),
    reason text NOT NULL DEFAULT '',
    message_id bigint,
    PRIMARY KEY (business_id, id),
    UNIQUE (business_id, channel_id, legacy_id)
);
CREATE INDEX legacy_message_waiting ON legacy_message (business_id, id) WHERE state = 'waiting';
CREATE INDEX legacy_message_become ON legacy_message (business_id, message_id)
    WHERE message_id IS NOT NULL;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['link', 'merge', 'ai_conversation', 'ai_erasure', 'api_key',
        'outgoing', 'idempotency', 'early_change', 'legacy_message'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY maintenance ON %I TO CURRENT_USER USING (true) '
            'WITH CHECK (true)', table_name);
        EXECUTE format('CREATE POLICY tenant ON %I TO relevo_app USING (business_id = '
            'nullif(current_setting(''relevo.business_id'', true), ''''))', table_name);
        EXECUTE format('CREATE POLICY ingest ON %I TO relevo_ingest USING (true) '
            'WITH CHECK (true)', table_name);
        EXECUTE format('CREATE POLICY sweep ON %I FOR SELECT TO relevo_sweep USING (true)',
            table_name);
    END LOOP;
END
$$;

-- Merging moves everything of a conversation and deletes its row; undoing brings it back. Erasing a
-- customer leaves nothing, so the app may delete, within its business.
GRANT INSERT, DELETE ON conversation TO relevo_app;
GRANT INSERT, UPDATE, DELETE ON address TO relevo_app;
GRANT DELETE ON turn, outbox, dead_letter, quarantine, early_status TO relevo_app;
GRANT INSERT, UPDATE (messages) ON accepted TO relevo_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON link, merge, ai_conversation, outgoing, idempotency,
    legacy_message TO relevo_app;
GRANT SELECT, INSERT, UPDATE ON api_key TO relevo_app;
GRANT SELECT, DELETE ON early_change TO relevo_app;
GRANT SELECT, INSERT, DELETE ON ai_erasure TO relevo_app;
GRANT SELECT (business_id) ON ai_erasure TO relevo_sweep;
-- Ingest wishes for links and keeps what came too early. A sweep sees that something waits, and whose.
GRANT SELECT (business_id), INSERT ON link TO relevo_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON early_change TO relevo_ingest;
-- An edit changes what was said without reading it, unless the AI is being asked with it.
GRANT SELECT (edited_at, revoked_at, edits) ON message TO relevo_ingest;
GRANT UPDATE (body, edited_at, revoked_at) ON message TO relevo_ingest;
GRANT SELECT (business_id, conversation_id, stage, wait_until, message_ids, missed_ids) ON turn
    TO relevo_ingest;
GRANT SELECT (business_id) ON link, idempotency TO relevo_sweep;
GRANT SELECT (business_id, survivor_id, loser_id, merged_at, undone_at) ON merge TO relevo_sweep;
GRANT SELECT (business_id, due_at, state) ON outgoing TO relevo_sweep;
GRANT SELECT (business_id, id, scopes, hash, expires_at, revoked_at) ON api_key TO relevo_sweep;
