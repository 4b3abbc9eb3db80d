-- Erasing a customer, or what is too old of him. Runs as relevo_app, under the tenant setting, one
-- conversation a transaction: it is locked first, so that neither ingest nor a commit adds to it.

-- name: under_way
-- Whether a living process may be acting on its open turn: then something may be on the wire.
SELECT EXISTS (
    SELECT FROM turn AS t JOIN pg_locks AS l
        ON l.locktype = 'advisory' AND l.classid = 1919511158 AND l.objid = t.incarnation::oid
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint AND t.stage <> 'ended'
        AND t.effect_deadline_at > $3::timestamptz);

-- name: lock
SELECT c.id, EXISTS (SELECT FROM turn AS t WHERE t.business_id = c.business_id
        AND t.conversation_id = c.id AND t.stage <> 'ended') AS busy
FROM conversation AS c WHERE c.business_id = $1::text AND c.id = $2::bigint
FOR UPDATE;

-- name: addresses
-- In every spelling that is known.
SELECT a.kind, a.value FROM address AS a
WHERE a.business_id = $1::text AND a.conversation_id = $2::bigint
UNION
SELECT m.address_kind, m.address_value FROM message AS m
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint;

-- name: messages
-- All of them, or those said before an instant; locked in the order in which statuses lock.
SELECT m.id FROM message AS m
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
    AND m.event_at < $3::timestamptz
ORDER BY m.id
FOR UPDATE;

-- name: parts
DELETE FROM outbox WHERE business_id = $1::text AND message_id = ANY ($2::bigint[]);

-- name: flags
DELETE FROM untold
WHERE business_id = $1::text AND conversation_id = $2::bigint AND message_id = ANY ($3::bigint[]);

-- name: keys
-- With whatever waits for one of these ids.
WITH gone AS (
    DELETE FROM message_key WHERE business_id = $1::text AND message_id = ANY ($2::bigint[])
    RETURNING channel_id, key
), status AS (
    DELETE FROM early_status AS e USING gone
    WHERE e.business_id = $1::text AND e.channel_id = gone.channel_id AND e.key = gone.key
)
DELETE FROM early_change AS e USING gone
WHERE e.business_id = $1::text AND e.channel_id = gone.channel_id AND e.target = gone.key;

-- name: sends
-- What somebody asked to be sent: all of it, or what has ended before an instant.
DELETE FROM outgoing
WHERE business_id = $1::text AND conversation_id = $2::bigint
    AND ($4::boolean OR message_id = ANY ($3::bigint[])
        OR (state <> 'scheduled' AND coalesce(ended_at, due_at) < $5::timestamptz));

-- name: staged
-- What an older CRM had of these messages.
DELETE FROM legacy_message WHERE business_id = $1::text AND message_id = ANY ($2::bigint[]);

-- name: spoken
-- Returns how many had been accepted from webhooks.
WITH gone AS (
    DELETE FROM message WHERE business_id = $1::text AND id = ANY ($2::bigint[])
    RETURNING author, source
)
SELECT count(*) FILTER (WHERE author = 'customer' AND source = 'webhook') FROM gone;

-- name: turns
-- Those of which nothing is left; with their letters. What the AI has stored for them is noted.
WITH chosen AS (
    SELECT t.id FROM turn AS t
    WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint
        AND ($3::boolean OR (t.ended_at < $4::timestamptz
            AND NOT EXISTS (SELECT FROM outbox AS o
                WHERE o.business_id = t.business_id AND o.turn_id = t.id)
            AND NOT EXISTS (SELECT FROM message AS m
                WHERE m.business_id = t.business_id AND m.id = ANY (t.message_ids))))
), letters AS (
    DELETE FROM dead_letter AS d USING chosen
    WHERE d.business_id = $1::text AND d.turn_id = chosen.id
), gone AS (
    DELETE FROM turn AS t USING chosen
    WHERE t.business_id = $1::text AND t.id = chosen.id
    RETURNING t.response_id, t.discarded_responses
), noted AS (
    INSERT INTO ai_erasure (business_id, id, wanted_at)
    SELECT DISTINCT $1::text, r.id, $5::timestamptz
    FROM gone, unnest(gone.response_id || gone.discarded_responses) AS r (id)
    WHERE r.id <> ''
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM gone;

-- name: ai_conversations
-- Every conversation that the AI ever had for this customer is to be erased there.
WITH gone AS (
    DELETE FROM ai_conversation WHERE business_id = $1::text AND conversation_id = $2::bigint
    RETURNING id
), had AS (
    SELECT id FROM gone
    UNION
    SELECT openai_conversation_id FROM conversation
    WHERE business_id = $1::text AND id = $2::bigint AND openai_conversation_id IS NOT NULL
)
INSERT INTO ai_erasure (business_id, id, wanted_at)
SELECT $1::text, had.id, $3::timestamptz FROM had
ON CONFLICT DO NOTHING;

-- name: uncount
-- What is erased was accepted once. A row of its own, which no webhook waits for.
INSERT INTO accepted (business_id, writer, messages)
SELECT $1::text, 0, -$2::bigint WHERE $2::bigint > 0
ON CONFLICT (business_id, writer) DO UPDATE SET messages = accepted.messages + EXCLUDED.messages;

-- name: once
-- This conversation, and those that were merged into it.
WITH RECURSIVE once (id) AS (
    SELECT $2::bigint
    UNION
    SELECT m.loser_id FROM merge AS m JOIN once ON m.survivor_id = once.id
    WHERE m.business_id = $1::text AND m.undone_at IS NULL
)
SELECT id FROM once;

-- name: answers
-- What requests of the API were answered about these conversations, and about what is sent in one: an
-- answer names the conversation that it was in then, which may be another one's since.
DELETE FROM idempotency AS i
WHERE i.business_id = $1::text
    AND (EXISTS (SELECT FROM unnest($2::bigint[]) AS t (id), unnest(ARRAY[',', '}']) AS e (mark)
            WHERE position(convert_to('"conversation_id":' || t.id || e.mark, 'UTF8') IN i.body) > 0)
        OR substring(encode(i.body, 'escape') FROM '^\{"id":([0-9]{1,18}),"conversation_id":')::bigint
            IN (SELECT o.id FROM outgoing AS o
                WHERE o.business_id = $1::text AND o.conversation_id = $3::bigint));

-- name: merges
-- Of these conversations, also those that were undone.
DELETE FROM merge AS m
WHERE m.business_id = $1::text
    AND (m.survivor_id = ANY ($2::bigint[]) OR m.loser_id = ANY ($2::bigint[]));

-- name: reached
-- With the wishes that name them.
WITH gone AS (
    DELETE FROM address WHERE business_id = $1::text AND conversation_id = $2::bigint
    RETURNING kind, scope, value
)
DELETE FROM link AS l USING gone
WHERE l.business_id = $1::text AND ((l.kind, l.scope, l.value) = (gone.kind, gone.scope, gone.value)
    OR (l.other_kind, l.other_scope, l.other_value) = (gone.kind, gone.scope, gone.value));

-- name: conversation
DELETE FROM conversation WHERE business_id = $1::text AND id = $2::bigint;

-- name: named_in_quarantine
-- A page of the bodies that were set aside: those in which one of these stands go.
WITH page AS (
    SELECT q.id, q.body FROM quarantine AS q
    WHERE q.business_id = $1::text AND q.id > $2::bigint
    ORDER BY q.id
    LIMIT $3::int
), gone AS (
    DELETE FROM quarantine AS q USING page
    WHERE q.business_id = $1::text AND q.id = page.id
        AND EXISTS (SELECT FROM unnest($4::bytea[]) AS n (name) WHERE position(n.name IN page.body) > 0)
    RETURNING q.id
)
SELECT (SELECT max(id) FROM page) AS last_id, (SELECT count(*) FROM gone) AS gone;

-- name: named_in_answers
-- What requests of the API were answered.
DELETE FROM idempotency AS i
WHERE i.business_id = $1::text
    AND EXISTS (SELECT FROM unnest($2::bytea[]) AS n (name) WHERE position(n.name IN i.body) > 0);

-- name: named_in_staging
-- What an older CRM had under one of these addresses; phones by their digits.
DELETE FROM legacy_message AS l
WHERE l.business_id = $1::text
    AND (regexp_replace(l.to_number, '[^0-9]', '', 'g') = ANY ($2::text[])
        OR l.lead_id = ANY ($3::text[]) OR l.lid = ANY ($3::text[]));

-- name: outlived
-- Customers with anything that was said before an instant, and nothing under way.
SELECT DISTINCT m.conversation_id FROM message AS m
WHERE m.business_id = $1::text AND m.author <> 'system' AND m.event_at < $2::timestamptz
    AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
        AND t.conversation_id = m.conversation_id AND t.stage <> 'ended')
LIMIT $3::int;

-- name: silent
-- Those of whom nothing is kept but that they are known.
SELECT c.id FROM conversation AS c
WHERE c.business_id = $1::text AND c.created_at < $2::timestamptz
    AND coalesce(c.last_customer_at < $2::timestamptz, true)
    AND NOT EXISTS (SELECT FROM message AS m
        WHERE m.business_id = c.business_id AND m.conversation_id = c.id AND m.author <> 'system')
    AND NOT EXISTS (SELECT FROM outgoing AS o
        WHERE o.business_id = c.business_id AND o.conversation_id = c.id AND o.state = 'scheduled')
LIMIT $3::int;

-- name: is_silent
SELECT NOT EXISTS (SELECT FROM message AS m WHERE m.business_id = $1::text
        AND m.conversation_id = $2::bigint AND m.author <> 'system')
    AND NOT EXISTS (SELECT FROM outgoing AS o WHERE o.business_id = $1::text
        AND o.conversation_id = $2::bigint AND o.state = 'scheduled');

-- name: begin_anew
-- The AI begins anew with what is left, and no history is asked for what was erased.
UPDATE conversation AS c
SET version = c.version + 1, openai_conversation_id = NULL,
    known_to = greatest(c.known_to, $3::timestamptz),
    owed_since = CASE WHEN c.owed_since < $3::timestamptz THEN $3::timestamptz
        ELSE c.owed_since END
WHERE c.business_id = $1::text AND c.id = $2::bigint;

-- name: begin_past_anew
-- So do those that were merged into it, should they be parted again.
UPDATE merge AS m
SET survivor = m.survivor || jsonb_build_object('known_to',
        greatest((m.survivor ->> 'known_to')::timestamptz, $3::timestamptz)),
    loser = m.loser || jsonb_build_object('known_to',
        greatest((m.loser ->> 'known_to')::timestamptz, $3::timestamptz))
WHERE m.business_id = $1::text AND m.survivor_id = ANY ($2::bigint[]) AND m.undone_at IS NULL;

-- name: outlived_bodies
DELETE FROM quarantine AS q
WHERE q.business_id = $1::text AND q.id = ANY (ARRAY(
    SELECT o.id FROM quarantine AS o
    WHERE o.business_id = $1::text AND o.received_at < $2::timestamptz
    ORDER BY o.id
    LIMIT $3::int));

-- name: outlived_staging
-- What an older CRM brought that is too old to be kept.
DELETE FROM legacy_message AS l
WHERE l.business_id = $1::text AND l.created_at < $2::timestamptz;

-- name: outlived_merges
-- Of conversations that are there no more. Others can still be undone, or were, and stay apart.
DELETE FROM merge AS m
WHERE m.business_id = $1::text AND m.merged_at < $2::timestamptz
    AND NOT EXISTS (SELECT FROM conversation AS c
        WHERE c.business_id = m.business_id AND c.id IN (m.survivor_id, m.loser_id));

-- name: to_erase
-- What is left to be erased at the AI, conversations first: they hold more.
SELECT id FROM ai_erasure
WHERE business_id = $1::text
ORDER BY id
LIMIT $2::int;

-- name: erased
DELETE FROM ai_erasure WHERE business_id = $1::text AND id = $2::text;

-- name: count_to_erase
SELECT count(*) FROM ai_erasure WHERE business_id = $1::text;

-- name: extent
-- How much there is of a customer.
SELECT (SELECT count(*) FROM message WHERE business_id = $1::text AND conversation_id = $2::bigint)
    AS messages,
    (SELECT count(*) FROM turn WHERE business_id = $1::text AND conversation_id = $2::bigint) AS turns;
