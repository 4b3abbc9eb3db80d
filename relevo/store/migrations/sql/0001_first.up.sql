-- The first schema. Every key starts with business_id, so that tenants cannot meet and the tables can
-- be distributed by it one day. {{app_role}} is the login role of the server; it owns nothing and
-- works only as one of the three group roles below, never as itself.

-- Roles are shared by all databases of a server: another one may have made them already.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['relevo_app', 'relevo_ingest', 'relevo_sweep'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        IF NOT pg_has_role('{{app_role}}'::regrole::oid, role_name, 'MEMBER') THEN
            IF current_setting('server_version_num')::int >= 160000 THEN
                EXECUTE format('GRANT %I TO {{app_role}} WITH INHERIT FALSE, SET TRUE', role_name);
            ELSE
                EXECUTE format('GRANT %I TO {{app_role}}', role_name);
            END IF;
        END IF;
    END LOOP;
END
$$;

-- A process's life. Its number is taken at start and held as a session advisory lock.
CREATE SEQUENCE incarnation_id AS integer CYCLE;

-- Ids of messages grow with arrival: (event_at, id) is the order of a thread.
CREATE SEQUENCE message_id AS bigint;

CREATE TABLE business (
    business_id text PRIMARY KEY
);

CREATE TABLE channel (
    business_id text NOT NULL REFERENCES business,
    id text NOT NULL UNIQUE,
    kind text NOT NULL,
    PRIMARY KEY (business_id, id)
);

-- One person at one business. Marks are moved by turn commits only; version also by ingest, for
-- whatever can forbid a reply.
CREATE TABLE conversation (
    business_id text NOT NULL REFERENCES business,
    id bigint GENERATED ALWAYS AS IDENTITY,
    canonical_key text NOT NULL CHECK (canonical_key <> ''),
    version bigint NOT NULL DEFAULT 0,
    last_customer_at timestamptz,
    last_assistant_at timestamptz,
    last_agent_at timestamptz,
    known_to timestamptz,
    told_to timestamptz,
    owed_since timestamptz,
    new_contact boolean NOT NULL DEFAULT false,
    openai_conversation_id text CONSTRAINT openai_conversation_id_is_one
        CHECK (openai_conversation_id LIKE 'conv\_%'),
    tags text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id),
    UNIQUE (business_id, canonical_key)
) WITH (fillfactor = 80);

-- Where a person is reached. The scope of a phone is empty; other kinds mean something only within
-- their channel's portfolio.
CREATE TABLE address (
    business_id text NOT NULL,
    kind text NOT NULL CHECK (kind <> ''),
    scope text NOT NULL,
    value text NOT NULL CHECK (value <> ''),
    conversation_id bigint NOT NULL,
    PRIMARY KEY (business_id, kind, scope, value),
    FOREIGN KEY (business_id, conversation_id) REFERENCES conversation (business_id, id)
);
CREATE INDEX address_of_conversation ON address (business_id, conversation_id);

-- Everything that was said, once. Rows are not updated while they wait: what waits stands in
-- `untold`, so that a message's only updates (fate, status) touch no index. The channel is named by
-- our configuration: a foreign key to it would have every insert lock that one row.
CREATE TABLE message (
    business_id text NOT NULL,
    id bigint NOT NULL,
    conversation_id bigint NOT NULL,
    channel_id text NOT NULL,
    address_kind text NOT NULL,
    address_value text NOT NULL,
    author text NOT NULL CHECK (author IN
        ('customer', 'assistant', 'agent', 'automation', 'system', 'unknown')),
    author_name text NOT NULL DEFAULT '',
    kind text NOT NULL,
    body text NOT NULL,
    media text NOT NULL DEFAULT '',
    source text NOT NULL CHECK (source IN ('webhook', 'history', 'turn')),
    event_at timestamptz NOT NULL,
    timed boolean NOT NULL DEFAULT true,
    received_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT ''
        CHECK (status IN ('', 'sent', 'delivered', 'read', 'failed')),
    fate text CHECK (fate IN ('in_flight', 'answered', 'answered_by_human', 'no_reply', 'held',
        'context', 'refused', 'dead', 'revoked')),
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, conversation_id) REFERENCES conversation (business_id, id),
    CONSTRAINT customers_have_a_fate CHECK ((author = 'customer') = (fate IS NOT NULL))
) WITH (fillfactor = 85);
CREATE INDEX message_thread ON message (business_id, conversation_id, event_at, id);

-- Every id a message was seen under; what makes a redelivery, a twin event or an echo the same
-- message. Deferred, because the key is claimed before its message is written.
CREATE TABLE message_key (
    business_id text NOT NULL,
    channel_id text NOT NULL,
    key text NOT NULL CHECK (key <> ''),
    message_id bigint NOT NULL,
    PRIMARY KEY (business_id, channel_id, key),
    FOREIGN KEY (business_id, message_id) REFERENCES message (business_id, id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX message_key_of_message ON message_key (business_id, message_id);

-- What the AI has not been told. A row is a flag, never a cursor: commits become visible out of
-- order. It is written with its message, read by joining it, and deleted before it; a foreign key
-- and the index that it needs would cost a tenth of a webhook.
CREATE TABLE untold (
    business_id text NOT NULL,
    conversation_id bigint NOT NULL,
    message_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('unread', 'failed', 'context')),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, conversation_id, message_id)
);
CREATE INDEX untold_unread ON untold (received_at) WHERE state = 'unread';

-- A closed burst: snapshot, verdict with its evidence, what was told, outcome, cost, timings.
CREATE TABLE turn (
    business_id text NOT NULL,
    id bigint NOT NULL,
    conversation_id bigint NOT NULL,
    stage text NOT NULL CHECK (stage IN
        ('recalling', 'ensuring', 'answering', 'sending', 'ended')),
    channel_id text NOT NULL,
    address_kind text NOT NULL,
    address_value text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    newest_at timestamptz NOT NULL,
    previous_customer_at timestamptz,
    previous_assistant_at timestamptz,
    verdict text NOT NULL CHECK (verdict IN ('none', 'gap', 'first_contact')),
    silence_seconds double precision CHECK (silence_seconds >= 0),
    threshold_seconds double precision NOT NULL,
    message_ids bigint[] NOT NULL,
    recall text NOT NULL CHECK (recall IN
        ('not_needed', 'complete', 'failed', 'unavailable', 'truncated')),
    recall_reasons text[] NOT NULL,
    recall_since timestamptz,
    recall_urgent boolean NOT NULL,
    recall_known_to timestamptz,
    recalled integer NOT NULL,
    matched_by_content integer NOT NULL,
    missed_ids bigint[] NOT NULL,
    missed_left_out integer NOT NULL,
    attempt integer NOT NULL,
    tries integer NOT NULL,
    replaced boolean NOT NULL,
    wait_until timestamptz,
    deadline_at timestamptz,
    outcome text CHECK (outcome IN ('answered', 'answered_by_human', 'held', 'no_reply',
        'refused', 'failed', 'merged')),
    reason text NOT NULL,
    response_id text NOT NULL,
    model text NOT NULL,
    input_tokens integer NOT NULL,
    cached_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    reasoning_tokens integer NOT NULL,
    answer_seconds double precision NOT NULL,
    ended_at timestamptz,
    incarnation integer NOT NULL,
    effect_deadline_at timestamptz,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, conversation_id) REFERENCES conversation (business_id, id),
    CONSTRAINT an_ended_turn_has_an_outcome CHECK ((stage = 'ended') = (outcome IS NOT NULL)),
    CONSTRAINT an_ended_turn_has_an_end CHECK ((stage = 'ended') = (ended_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX turn_open ON turn (business_id, conversation_id) WHERE stage <> 'ended';
CREATE INDEX turn_of_conversation ON turn (business_id, conversation_id, id);

-- What must be sent. Stored before the call; a part of a reply is also a message of its thread.
CREATE TABLE outbox (
    business_id text NOT NULL,
    message_id bigint NOT NULL,
    turn_id bigint NOT NULL,
    part integer NOT NULL CHECK (part >= 1),
    state text NOT NULL CHECK (state IN
        ('pending', 'sending', 'unknown', 'accepted', 'dead', 'cancelled')),
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz,
    first_started_at timestamptz,
    deadline_at timestamptz,
    resent boolean NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (business_id, message_id),
    CONSTRAINT one_reply_per_turn UNIQUE (business_id, turn_id, part),
    FOREIGN KEY (business_id, message_id) REFERENCES message (business_id, id),
    FOREIGN KEY (business_id, turn_id) REFERENCES turn (business_id, id)
) WITH (fillfactor = 70);

-- A turn that was given up, with the reason a person reads.
CREATE TABLE dead_letter (
    business_id text NOT NULL,
    turn_id bigint NOT NULL,
    conversation_id bigint NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_as text CHECK (closed_as IN ('superseded')),
    PRIMARY KEY (business_id, turn_id),
    FOREIGN KEY (business_id, turn_id) REFERENCES turn (business_id, id),
    CONSTRAINT closed_letters_say_how CHECK ((closed_at IS NULL) = (closed_as IS NULL))
);
CREATE INDEX dead_letter_open ON dead_letter (business_id, conversation_id)
    WHERE closed_at IS NULL;

-- What was delivered and could not be read, raw.
CREATE TABLE quarantine (
    business_id text NOT NULL REFERENCES business,
    id bigint GENERATED ALWAYS AS IDENTITY,
    channel_id text NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id)
);

-- How many customer messages were accepted from webhooks, counted apart from the messages
-- themselves: the other side of the conservation law. One row a process, so that none waits for
-- another's.
CREATE TABLE accepted (
    business_id text NOT NULL REFERENCES business,
    writer integer NOT NULL,
    messages bigint NOT NULL CHECK (messages >= 0),
    PRIMARY KEY (business_id, writer)
) WITH (fillfactor = 50);

-- Tenants do not meet: forced on every table, also for the owner, whose maintenance has a policy of
-- its own. The app sees the business its transaction names; ingest and sweep see all businesses, but
-- only the columns they are granted.
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['business', 'channel', 'conversation', 'address', 'message',
        'message_key', 'untold', 'turn', 'outbox', 'dead_letter', 'quarantine', 'accepted'] LOOP
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

GRANT USAGE ON SEQUENCE message_id TO relevo_app, relevo_ingest;
GRANT USAGE ON SEQUENCE incarnation_id TO relevo_sweep;

GRANT SELECT, INSERT ON business, channel TO relevo_app;
GRANT UPDATE (kind) ON channel TO relevo_app;
GRANT SELECT, UPDATE ON conversation TO relevo_app;
GRANT SELECT ON address, quarantine, accepted TO relevo_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON message, message_key, untold TO relevo_app;
GRANT SELECT, INSERT, UPDATE ON turn, outbox, dead_letter TO relevo_app;

GRANT SELECT (business_id, id, canonical_key, version) ON conversation TO relevo_ingest;
GRANT INSERT (business_id, canonical_key, created_at) ON conversation TO relevo_ingest;
GRANT UPDATE (version, new_contact) ON conversation TO relevo_ingest;
GRANT SELECT, INSERT ON address TO relevo_ingest;
GRANT SELECT (business_id, id, conversation_id, author, kind, source, status, fate)
    ON message TO relevo_ingest;
GRANT INSERT ON message TO relevo_ingest;
GRANT UPDATE (source, status, fate, received_at) ON message TO relevo_ingest;
GRANT SELECT, INSERT ON message_key TO relevo_ingest;
GRANT SELECT, INSERT ON untold TO relevo_ingest;
GRANT UPDATE (state, received_at) ON untold TO relevo_ingest;
GRANT INSERT ON quarantine TO relevo_ingest;
GRANT SELECT, INSERT ON accepted TO relevo_ingest;
GRANT UPDATE (messages) ON accepted TO relevo_ingest;

GRANT SELECT (business_id, conversation_id, state, received_at) ON untold TO relevo_sweep;
GRANT SELECT (business_id, conversation_id, stage) ON turn TO relevo_sweep;
