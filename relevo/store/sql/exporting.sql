-- Everything that is known of a customer, a row a JSON object. Runs as relevo_app, under the tenant
-- setting, all in one snapshot. One statement a section; the names are those of the export.

-- name: conversation
SELECT to_jsonb(c)::text FROM conversation AS c
WHERE c.business_id = $1::text AND c.id = $2::bigint;

-- name: addresses
SELECT (to_jsonb(a) - 'reversed')::text FROM address AS a
WHERE a.business_id = $1::text AND a.conversation_id = $2::bigint
ORDER BY a.kind, a.scope, a.value;

-- name: messages
-- In the order of the thread, each with every id that it was seen under.
SELECT (to_jsonb(m) || jsonb_build_object('keys', ARRAY(SELECT k.key FROM message_key AS k
    WHERE k.business_id = m.business_id AND k.message_id = m.id ORDER BY k.key)))::text
FROM message AS m
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
ORDER BY m.event_at, m.id;

-- name: turns
SELECT to_jsonb(t)::text FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint
ORDER BY t.id;

-- name: sends
SELECT to_jsonb(o)::text
FROM message AS m JOIN outbox AS o ON o.business_id = m.business_id AND o.message_id = m.id
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
ORDER BY o.message_id;

-- name: asked_sends
SELECT to_jsonb(o)::text FROM outgoing AS o
WHERE o.business_id = $1::text AND o.conversation_id = $2::bigint
ORDER BY o.id;

-- name: waiting
SELECT to_jsonb(u)::text FROM untold AS u
WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint
ORDER BY u.message_id;

-- name: dead_letters
SELECT to_jsonb(d)::text
FROM turn AS t JOIN dead_letter AS d ON d.business_id = t.business_id AND d.turn_id = t.id
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint
ORDER BY d.turn_id;

-- name: merges
WITH RECURSIVE once (id) AS (
    SELECT $2::bigint
    UNION
    SELECT m.loser_id FROM merge AS m JOIN once ON m.survivor_id = once.id
    WHERE m.business_id = $1::text AND m.undone_at IS NULL
)
SELECT to_jsonb(m)::text FROM merge AS m
WHERE m.business_id = $1::text
    AND (m.survivor_id IN (SELECT id FROM once) OR m.loser_id IN (SELECT id FROM once))
ORDER BY m.id;

-- name: links
SELECT to_jsonb(l)::text
FROM address AS a JOIN link AS l ON l.business_id = a.business_id
    AND ((l.kind, l.scope, l.value) = (a.kind, a.scope, a.value)
        OR (l.other_kind, l.other_scope, l.other_value) = (a.kind, a.scope, a.value))
WHERE a.business_id = $1::text AND a.conversation_id = $2::bigint
ORDER BY l.wanted_at;

-- name: ai_conversations
SELECT to_jsonb(i)::text FROM ai_conversation AS i
WHERE i.business_id = $1::text AND i.conversation_id = $2::bigint
ORDER BY i.created_at, i.id;

-- name: deliveries
-- What was set aside unread and names him.
SELECT jsonb_build_object('id', q.id, 'channel_id', q.channel_id, 'reason', q.reason,
    'received_at', q.received_at, 'body', encode(q.body, 'escape'))::text
FROM quarantine AS q
WHERE q.business_id = $1::text
    AND EXISTS (SELECT FROM unnest($2::bytea[]) AS n (name) WHERE position(n.name IN q.body) > 0)
ORDER BY q.id;

-- name: staged
-- What an older CRM has under one of his addresses and is nobody's yet; phones by their digits.
SELECT to_jsonb(l)::text FROM legacy_message AS l
WHERE l.business_id = $1::text AND l.message_id IS NULL
    AND (regexp_replace(l.to_number, '[^0-9]', '', 'g') = ANY ($2::text[])
        OR l.lead_id = ANY ($3::text[]) OR l.lid = ANY ($3::text[]))
ORDER BY l.id;
