-- Reading whole conversations, each in one snapshot. Runs as relevo_app, under the tenant setting.

-- name: conversations
SELECT id, version, last_customer_at, last_assistant_at, last_agent_at, known_to, told_to,
    owed_since, new_contact, openai_conversation_id, hold_until, hold_released_at, tags
FROM conversation
WHERE business_id = $1::text AND id = ANY ($2::bigint[]);

-- name: untold
SELECT u.conversation_id, u.state, m.id, m.author, m.author_name, m.kind, m.body, m.source,
    m.event_at, m.timed, u.received_at, m.channel_id, m.address_kind, m.address_value, m.revoked_at
FROM untold AS u JOIN message AS m ON m.business_id = u.business_id AND m.id = u.message_id
WHERE u.business_id = $1::text AND u.conversation_id = ANY ($2::bigint[])
ORDER BY u.conversation_id, m.event_at, m.id;

-- name: witnesses
-- Stored messages that a webhook row which waits may be the same as: near in time, same side, same
-- words. Which one it is, if any, is decided by the core.
SELECT DISTINCT w.conversation_id, u2.state, w.id, w.author, w.author_name, w.kind, w.body,
    w.source, w.event_at, w.timed, w.received_at, w.channel_id, w.address_kind, w.address_value,
    w.revoked_at
FROM untold AS u
    JOIN message AS m ON m.business_id = u.business_id AND m.id = u.message_id
        AND m.source = 'webhook'
    CROSS JOIN LATERAL (
        -- By its index for each, whatever the planner believes of tables it has no statistics of.
        SELECT n.* FROM message AS n
        WHERE n.business_id = m.business_id AND n.conversation_id = m.conversation_id
            AND n.event_at BETWEEN m.event_at - interval '120 seconds'
                AND m.event_at + interval '120 seconds'
            AND n.source <> 'webhook' AND (n.author = 'customer') = (m.author = 'customer')
            AND (btrim(n.body) = btrim(m.body) OR btrim(n.body) = '' OR btrim(m.body) = '')
        OFFSET 0
    ) AS w
    LEFT JOIN untold AS u2 ON u2.business_id = w.business_id
        AND u2.conversation_id = w.conversation_id AND u2.message_id = w.id
WHERE u.business_id = $1::text AND u.conversation_id = ANY ($2::bigint[])
ORDER BY w.conversation_id, w.event_at, w.id;

-- name: open_turns
-- `fenced`: another process that is still alive may be acting on this turn's effect.
SELECT t.*, t.incarnation <> $3::int AND t.effect_deadline_at > $4::timestamptz AND EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.classid = 1919511158 AND l.objid = t.incarnation::oid
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS fenced
FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = ANY ($2::bigint[]) AND t.stage <> 'ended';

-- name: parts
-- `proven`: a status, or an id that only the provider can have given it, says that it has it.
SELECT o.*, m.body, o.state IN ('pending', 'sending', 'unknown') AND (
        m.status IN ('sent', 'delivered', 'read') OR EXISTS (
            SELECT FROM message_key AS k WHERE k.business_id = o.business_id
                AND k.message_id = o.message_id AND k.key NOT LIKE 'local:%')
    ) AS proven
FROM outbox AS o JOIN message AS m ON m.business_id = o.business_id AND m.id = o.message_id
WHERE o.business_id = $1::text AND o.turn_id = ANY ($2::bigint[])
ORDER BY o.turn_id, o.part;

-- name: told_by_turns
-- The own messages of turns whose answer is stored: needed again should the sending fail.
SELECT m.conversation_id, NULL AS state, m.id, m.author, m.author_name, m.kind, m.body, m.source,
    m.event_at, m.timed, m.received_at, m.channel_id, m.address_kind, m.address_value, m.revoked_at
FROM message AS m
WHERE m.business_id = $1::text AND m.id = ANY ($2::bigint[])
ORDER BY m.event_at, m.id;

-- name: window
-- Our messages of a window, with every id they were seen under, to match a history with; and those
-- that the history names by id, wherever and whosever they are: an id is one message, never two.
-- What surely never left is in no history, and its words may be another's.
SELECT m.conversation_id, u.state, m.id, m.author, m.author_name, m.kind, m.body, m.source,
    m.event_at, m.timed, m.received_at, m.channel_id, m.address_kind, m.address_value, m.revoked_at,
    ARRAY(SELECT k.key FROM message_key AS k
        WHERE k.business_id = m.business_id AND k.message_id = m.id ORDER BY k.key) AS keys
FROM (
    SELECT n.id FROM message AS n
    WHERE n.business_id = $1::text AND n.conversation_id = $2::bigint
        AND (n.event_at >= $3::timestamptz OR NOT n.timed)
        AND NOT EXISTS (SELECT FROM outbox AS o WHERE o.business_id = n.business_id
            AND o.message_id = n.id AND o.state IN ('dead', 'cancelled')
            AND NOT o.resent AND o.reason <> 'send_unknown')
    UNION
    SELECT k.message_id FROM message_key AS k
    WHERE k.business_id = $1::text AND k.channel_id = $4::text AND k.key = ANY ($5::text[])
) AS w
    JOIN message AS m ON m.business_id = $1::text AND m.id = w.id
    LEFT JOIN untold AS u ON u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id
ORDER BY m.event_at, m.id;

-- name: told
-- What was told, or said by us, newest first: the seed of a new conversation at the AI. What was given
-- up for good waits for nothing either, and was never told; what was revoked is told no more.
SELECT m.conversation_id, NULL AS state, m.id, m.author, m.author_name, m.kind, m.body, m.source,
    m.event_at, m.timed, m.received_at, m.channel_id, m.address_kind, m.address_value, m.revoked_at
FROM message AS m
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint AND m.timed
    AND m.author IN ('customer', 'agent', 'automation', 'assistant') AND m.kind <> 'reaction'
    AND m.fate IS DISTINCT FROM 'dead' AND m.revoked_at IS NULL
    AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id)
    AND NOT EXISTS (SELECT FROM outbox AS o WHERE o.business_id = m.business_id
        AND o.message_id = m.id AND o.state NOT IN ('accepted', 'unknown', 'sending'))
ORDER BY m.event_at DESC, m.id DESC
LIMIT $3::int;

-- name: reserve
SELECT nextval('message_id') FROM generate_series(1, $1::int);
