-- What was said in one conversation, and the turns it went by. Runs as relevo_app, under the tenant
-- setting. Requests of people are no part of it, nor is a part of a reply that was cancelled: nobody
-- has said either.

-- name: is_known
SELECT id FROM conversation WHERE business_id = $1::text AND id = $2::bigint;

-- name: older
-- Newest first: the page before a place.
SELECT m.id, m.author, m.author_name, m.kind, m.media, m.source, m.event_at, m.received_at,
    m.status, m.fate, m.edits, m.edited_at, m.revoked_at, m.channel_id, u.state AS waits_as,
    CASE WHEN m.revoked_at IS NULL THEN m.body ELSE '' END AS body,
    o.turn_id AS sent_by_turn, o.state AS part_state, o.reason AS part_reason
FROM message AS m
    LEFT JOIN outbox AS o ON o.business_id = m.business_id AND o.message_id = m.id
    LEFT JOIN untold AS u ON u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint AND m.author <> 'system'
    AND o.state IS DISTINCT FROM 'cancelled'
    AND (m.event_at, m.id) < ($3::timestamptz, $4::bigint)
ORDER BY m.event_at DESC, m.id DESC
LIMIT $5::int;

-- name: newer
-- Oldest first: the page after a place, and before another.
SELECT m.id, m.author, m.author_name, m.kind, m.media, m.source, m.event_at, m.received_at,
    m.status, m.fate, m.edits, m.edited_at, m.revoked_at, m.channel_id, u.state AS waits_as,
    CASE WHEN m.revoked_at IS NULL THEN m.body ELSE '' END AS body,
    o.turn_id AS sent_by_turn, o.state AS part_state, o.reason AS part_reason
FROM message AS m
    LEFT JOIN outbox AS o ON o.business_id = m.business_id AND o.message_id = m.id
    LEFT JOIN untold AS u ON u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint AND m.author <> 'system'
    AND o.state IS DISTINCT FROM 'cancelled'
    AND (m.event_at, m.id) > ($3::timestamptz, $4::bigint)
    AND (m.event_at, m.id) < ($6::timestamptz, $7::bigint)
ORDER BY m.event_at, m.id
LIMIT $5::int;

-- name: turns_about
-- The turns that messages from a place on may be of, or were missed by. A turn's id is that of its
-- newest message, so they are looked for under the ids of what was said there, some before and some
-- after: nobody's turn has more messages, its own and missed ones, than are looked at. Oldest first;
-- `first_id` is what the customer said first in it.
SELECT t.id, t.verdict, t.silence_seconds, t.threshold_seconds, t.recall, t.message_ids,
    t.missed_ids, (
        SELECT m.id FROM message AS m
        WHERE m.business_id = t.business_id AND m.id = ANY (t.message_ids) AND m.author = 'customer'
        ORDER BY m.event_at, m.id
        LIMIT 1
    ) AS first_id
FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint AND t.id IN ((
        SELECT m.id FROM message AS m
        WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
            AND (m.event_at, m.id) < ($3::timestamptz, $4::bigint)
        ORDER BY m.event_at DESC, m.id DESC
        LIMIT $5::int
    ) UNION ALL (
        SELECT m.id FROM message AS m
        WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
            AND (m.event_at, m.id) >= ($3::timestamptz, $4::bigint)
        ORDER BY m.event_at, m.id
        LIMIT $6::int
    ))
ORDER BY t.id;

-- name: turns
SELECT t.* FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint AND t.id < $3::bigint
ORDER BY t.id DESC
LIMIT $4::int;
