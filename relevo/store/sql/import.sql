-- What a person brings from the systems replaced. Runs as the owner. Who they are is decided by the
-- statements that place a webhook: `meet` and `lead` of ingest.sql.

-- name: lock
-- The customers of one batch, in the order in which commits lock. The next statement sees what those
-- have done that this one waited for.
SELECT c.id FROM conversation AS c
WHERE c.business_id = $1::text AND c.id IN (
    SELECT a.conversation_id FROM address AS a
    WHERE a.business_id = $1::text AND a.kind = 'phone' AND a.scope = ''
        AND a.value = ANY ($2::text[]))
ORDER BY c.business_id, c.id
FOR NO KEY UPDATE;

-- name: take
-- Marks move only forward, and who has had a turn keeps his own. A time that is not before the
-- customer's first message here is about that message, and would hide the silence before it.
-- An id is taken where there has been no turn: one that is missing after a turn was emptied on purpose.
WITH home AS (
    SELECT a.conversation_id AS id, max(t.at) AS at, (array_agg(t.ai_conversation
        ORDER BY t.at DESC NULLS LAST) FILTER (WHERE t.ai_conversation <> ''))[1] AS ai_conversation
    FROM unnest($2::text[], $3::timestamptz[], $4::text[]) AS t (phone, at, ai_conversation)
        JOIN address AS a ON a.business_id = $1::text AND a.kind = 'phone' AND a.scope = ''
            AND a.value = t.phone
    GROUP BY a.conversation_id
), seen AS (
    SELECT home.*, c.last_customer_at AS own_at, c.openai_conversation_id AS own_id,
        EXISTS (SELECT FROM turn AS t
            WHERE t.business_id = $1::text AND t.conversation_id = c.id) AS has_turns,
        EXISTS (SELECT FROM message AS m WHERE m.business_id = $1::text AND m.conversation_id = c.id
            AND m.author = 'customer' AND m.source <> 'import'
            AND m.event_at <= home.at + $5::interval) AS overtaken
    FROM home JOIN conversation AS c ON c.business_id = $1::text AND c.id = home.id
), wanted AS (
    SELECT seen.*,
        CASE WHEN overtaken OR (has_turns AND own_at IS NOT NULL) THEN own_at
            ELSE greatest(own_at, at) END AS new_at,
        CASE WHEN has_turns THEN own_id ELSE coalesce(own_id, ai_conversation) END AS new_id
    FROM seen
), kept AS (
    INSERT INTO ai_conversation (business_id, id, conversation_id, created_at)
    SELECT $1::text, wanted.new_id, wanted.id, $6::timestamptz FROM wanted
    WHERE wanted.new_id IS NOT NULL
    ON CONFLICT DO NOTHING
), changed AS (
    UPDATE conversation AS c
    SET version = c.version + 1, last_customer_at = wanted.new_at,
        openai_conversation_id = wanted.new_id
    FROM wanted
    WHERE c.business_id = $1::text AND c.id = wanted.id
        AND (wanted.new_at IS DISTINCT FROM wanted.own_at
            OR wanted.new_id IS DISTINCT FROM wanted.own_id)
    RETURNING c.created_at
)
SELECT (SELECT count(*) FROM changed WHERE created_at <> $6::timestamptz) AS changed,
    (SELECT count(*) FROM wanted WHERE overtaken AND own_at IS NULL) AS overtaken;
