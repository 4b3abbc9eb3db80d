-- For people who ask why. Runs as relevo_app, under the tenant setting.

-- name: conversations_of
SELECT DISTINCT c.id, c.canonical_key, c.version, c.last_customer_at, c.last_assistant_at,
    c.last_agent_at, c.known_to, c.told_to, c.owed_since, c.hold_until, c.openai_conversation_id,
    c.tags
FROM address AS a
    JOIN conversation AS c ON c.business_id = a.business_id AND c.id = a.conversation_id
WHERE a.business_id = $1::text AND a.value = ANY ($2::text[])
ORDER BY c.id;

-- name: turns_of
SELECT t.* FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint
ORDER BY t.closed_at DESC, t.id DESC
LIMIT $3::int;

-- name: messages_by_id
-- What its author has taken back has no text any more.
SELECT m.id, m.author, m.author_name, m.kind, m.source, m.event_at, m.received_at, m.fate,
    CASE WHEN m.revoked_at IS NULL THEN m.body ELSE '' END AS body, m.edited_at, m.revoked_at
FROM message AS m
WHERE m.business_id = $1::text AND m.id = ANY ($2::bigint[]);

-- name: replies_of
SELECT o.turn_id, o.part, o.state, o.reason, o.resent, o.started_at, m.body, m.status
FROM outbox AS o JOIN message AS m ON m.business_id = o.business_id AND m.id = o.message_id
WHERE o.business_id = $1::text AND o.turn_id = ANY ($2::bigint[])
ORDER BY o.turn_id, o.part;

-- name: waiting_of
SELECT u.state, m.id, m.author, m.author_name, m.kind, m.source, m.event_at, m.received_at, m.fate,
    CASE WHEN m.revoked_at IS NULL THEN m.body ELSE '' END AS body, m.edited_at, m.revoked_at
FROM untold AS u JOIN message AS m ON m.business_id = u.business_id AND m.id = u.message_id
WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint
ORDER BY m.event_at, m.id;
