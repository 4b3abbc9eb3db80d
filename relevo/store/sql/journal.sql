-- Turn commits of many conversations of one business in one transaction, one statement a table.
-- Runs as relevo_app, under the tenant setting. Each takes one JSON array of rows.

-- name: claim_keys
-- Keys of recalled messages, before anything else: one that exists already loses its step.
INSERT INTO message_key (business_id, channel_id, key, message_id)
SELECT $1::text, t.channel_id, t.key, t.message_id
FROM jsonb_to_recordset($2::jsonb) AS t (channel_id text, key text, message_id bigint)
ORDER BY t.channel_id, t.key
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: release_keys
DELETE FROM message_key WHERE business_id = $1::text AND message_id = ANY ($2::bigint[]);

-- name: advance
-- The guarantee: conditional on the version. A row that does not come back is a lost race. A new
-- conversation at the AI is kept beside: it has to be erased one day, whatever becomes of this row.
WITH news AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS t (id bigint, version bigint,
        last_customer_at timestamptz, last_assistant_at timestamptz, last_agent_at timestamptz,
        known_to timestamptz, told_to timestamptz,
        owed_since timestamptz, ai_conversation text)
), locked AS (
    SELECT c.id, c.version, c.openai_conversation_id FROM conversation AS c
    WHERE c.business_id = $1::text AND c.id IN (SELECT id FROM news)
    ORDER BY c.business_id, c.id
    FOR NO KEY UPDATE
), kept AS (
    INSERT INTO ai_conversation (business_id, id, conversation_id, created_at)
    SELECT $1::text, ai.id, news.id, $3::timestamptz
    FROM news JOIN locked USING (id, version)
        CROSS JOIN LATERAL (VALUES (news.ai_conversation), (locked.openai_conversation_id)) AS ai (id)
    WHERE news.ai_conversation IS DISTINCT FROM locked.openai_conversation_id AND ai.id IS NOT NULL
    ORDER BY ai.id
    ON CONFLICT DO NOTHING
)
UPDATE conversation AS c
SET version = c.version + 1, last_customer_at = news.last_customer_at,
    last_assistant_at = news.last_assistant_at, last_agent_at = news.last_agent_at,
    known_to = news.known_to, told_to = news.told_to,
    owed_since = news.owed_since, openai_conversation_id = news.ai_conversation
FROM news JOIN locked USING (id)
WHERE c.business_id = $1::text AND c.id = news.id AND c.version = news.version
RETURNING c.id;

-- name: keep_ai_conversation
-- Before anything of a customer is put into it. Nothing comes back if the customer is gone.
INSERT INTO ai_conversation (business_id, id, conversation_id, created_at)
SELECT c.business_id, $3::text, c.id, $4::timestamptz
FROM conversation AS c WHERE c.business_id = $1::text AND c.id = $2::bigint
ON CONFLICT (business_id, id) DO UPDATE SET created_at = ai_conversation.created_at
RETURNING id;

-- name: insert_messages
INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
    author, author_name, kind, body, source, event_at, timed, received_at, fate)
SELECT $1::text, t.id, t.conversation_id, t.channel_id, t.address_kind, t.address_value, t.author,
    t.author_name, t.kind, t.body, t.source, t.event_at, t.timed, t.received_at, t.fate
FROM jsonb_to_recordset($2::jsonb) AS t (id bigint, conversation_id bigint, channel_id text,
    address_kind text, address_value text, author text, author_name text, kind text, body text,
    source text, event_at timestamptz, timed boolean, received_at timestamptz, fate text);

-- name: learn_keys
INSERT INTO message_key (business_id, channel_id, key, message_id)
SELECT DISTINCT ON (t.channel_id, t.key) $1::text, t.channel_id, t.key, t.message_id
FROM jsonb_to_recordset($2::jsonb) AS t (channel_id text, key text, message_id bigint)
    JOIN message AS m ON m.business_id = $1::text AND m.id = t.message_id
ORDER BY t.channel_id, t.key
ON CONFLICT DO NOTHING;

-- name: move_keys
-- Two rows were one message: the duplicate's ids stay with the kept one.
UPDATE message_key AS k SET message_id = t.kept
FROM jsonb_to_recordset($2::jsonb) AS t (duplicate bigint, kept bigint)
WHERE k.business_id = $1::text AND k.message_id = t.duplicate;

-- name: mark_seen
-- A kept row whose duplicate came by webhook has been seen by one too, and has its status if that
-- says more. Locked in the order in which statuses lock, which come for the same rows.
WITH pair AS (
    SELECT t.kept, d.status
    FROM jsonb_to_recordset($2::jsonb) AS t (duplicate bigint, kept bigint)
        JOIN message AS d ON d.business_id = $1::text AND d.id = t.duplicate
), locked AS (
    SELECT m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.id IN (SELECT kept FROM pair)
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
)
UPDATE message AS m
SET source = CASE WHEN m.source = 'history' THEN 'webhook' ELSE m.source END,
    status = CASE WHEN array_position(ARRAY['', 'sent', 'delivered', 'read', 'failed'], m.status)
            < array_position(ARRAY['', 'sent', 'delivered', 'read', 'failed'], pair.status)
        THEN pair.status ELSE m.status END
FROM pair JOIN locked ON locked.id = pair.kept
WHERE m.business_id = $1::text AND m.id = pair.kept;

-- name: forget_untold
DELETE FROM untold AS u
USING jsonb_to_recordset($2::jsonb) AS t (conversation_id bigint, message_id bigint)
WHERE u.business_id = $1::text AND u.conversation_id = t.conversation_id
    AND u.message_id = t.message_id;

-- name: delete_messages
DELETE FROM message WHERE business_id = $1::text AND id = ANY ($2::bigint[]);

-- name: put_turns
-- A record set, for (a function).* would be called once a column.
INSERT INTO turn
SELECT * FROM jsonb_populate_recordset(NULL::turn, $1::jsonb)
ON CONFLICT (business_id, id) DO UPDATE SET
    stage = EXCLUDED.stage, message_ids = EXCLUDED.message_ids, recall = EXCLUDED.recall,
    recall_reasons = EXCLUDED.recall_reasons, recall_since = EXCLUDED.recall_since,
    recall_urgent = EXCLUDED.recall_urgent, recall_known_to = EXCLUDED.recall_known_to,
    recalled = EXCLUDED.recalled, matched_by_content = EXCLUDED.matched_by_content,
    missed_ids = EXCLUDED.missed_ids, missed_left_out = EXCLUDED.missed_left_out,
    attempt = EXCLUDED.attempt, tries = EXCLUDED.tries, replaced = EXCLUDED.replaced,
    wait_until = EXCLUDED.wait_until, deadline_at = EXCLUDED.deadline_at,
    answer_ends_at = EXCLUDED.answer_ends_at, outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, response_id = EXCLUDED.response_id,
    discarded_responses = EXCLUDED.discarded_responses,
    model = EXCLUDED.model, input_tokens = EXCLUDED.input_tokens,
    cached_tokens = EXCLUDED.cached_tokens, output_tokens = EXCLUDED.output_tokens,
    reasoning_tokens = EXCLUDED.reasoning_tokens, answer_seconds = EXCLUDED.answer_seconds,
    ended_at = EXCLUDED.ended_at, incarnation = EXCLUDED.incarnation,
    effect_deadline_at = EXCLUDED.effect_deadline_at;

-- name: put_parts
INSERT INTO outbox
SELECT * FROM jsonb_populate_recordset(NULL::outbox, $1::jsonb)
ON CONFLICT (business_id, message_id) DO UPDATE SET
    state = EXCLUDED.state, attempt = EXCLUDED.attempt, started_at = EXCLUDED.started_at,
    first_started_at = EXCLUDED.first_started_at, deadline_at = EXCLUDED.deadline_at,
    resent = EXCLUDED.resent, window_ends_at = EXCLUDED.window_ends_at, reason = EXCLUDED.reason;

-- name: date_replies
-- A reply's event time is when it left, and then when the provider took it.
-- Locked in the order in which statuses lock, which come for the same rows at the same moment.
WITH news AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS t (message_id bigint, at timestamptz)
), locked AS (
    SELECT m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.id IN (SELECT message_id FROM news)
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
)
UPDATE message AS m SET event_at = news.at
FROM news JOIN locked ON locked.id = news.message_id
WHERE m.business_id = $1::text AND m.id = news.message_id AND m.event_at <> news.at;

-- name: set_fates
UPDATE message AS m SET fate = t.fate
FROM jsonb_to_recordset($2::jsonb) AS t (message_id bigint, fate text)
WHERE m.business_id = $1::text AND m.id = t.message_id AND m.fate IS DISTINCT FROM t.fate;

-- name: put_untold
INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
SELECT $1::text, t.conversation_id, t.message_id, t.state, m.received_at
FROM jsonb_to_recordset($2::jsonb) AS t (conversation_id bigint, message_id bigint, state text)
    JOIN message AS m ON m.business_id = $1::text AND m.id = t.message_id
ON CONFLICT (business_id, conversation_id, message_id) DO UPDATE SET state = EXCLUDED.state;

-- name: bury
INSERT INTO dead_letter (business_id, turn_id, conversation_id, stage, reason, created_at)
SELECT $1::text, t.turn_id, t.conversation_id, t.stage, t.reason, t.created_at
FROM jsonb_to_recordset($2::jsonb) AS t (turn_id bigint, conversation_id bigint, stage text,
    reason text, created_at timestamptz)
ON CONFLICT DO NOTHING;

-- name: supersede
-- These conversations have been answered. An open dead letter is made up for if none of its messages
-- is dead any more; a send of ours that failed is not, whatever has been answered since.
UPDATE dead_letter AS d SET closed_at = $3::timestamptz, closed_as = 'superseded'
FROM turn AS t
WHERE d.business_id = $1::text AND d.conversation_id = ANY ($2::bigint[]) AND d.closed_at IS NULL
    AND t.business_id = d.business_id AND t.id = d.turn_id AND t.purpose IS DISTINCT FROM 'send'
    AND NOT EXISTS (SELECT FROM message AS m WHERE m.business_id = d.business_id
        AND m.id = ANY (t.message_ids) AND m.fate = 'dead');
