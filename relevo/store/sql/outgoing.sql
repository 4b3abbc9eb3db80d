-- Sends that somebody asks for, now or at a time. Runs as relevo_app, under the tenant setting, but
-- for `first_due`. Conversations are locked before what is to be sent in them.

-- name: waiting
-- How much has to be said in a conversation that has not begun to leave.
SELECT (
        SELECT count(*) FROM outgoing AS o
        WHERE o.business_id = $1::text AND o.conversation_id = $2::bigint AND o.state = 'scheduled'
    ) + (
        SELECT count(*) FROM untold AS u
        WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint AND u.state = 'due'
    );

-- name: ask
INSERT INTO outgoing (business_id, conversation_id, author, author_name, body, due_at, state,
    created_by, created_at)
VALUES ($1::text, $2::bigint, $3::text, $4::text, $5::text, $6::timestamptz, 'scheduled', $7::text,
    $8::timestamptz)
RETURNING id;

-- name: cancel
UPDATE outgoing SET state = 'cancelled', ended_at = $3::timestamptz
WHERE business_id = $1::text AND id = $2::bigint AND state = 'scheduled'
RETURNING id;

-- name: known
SELECT id FROM conversation WHERE business_id = $1::text AND id = $2::bigint;

-- name: ids_of
-- Of one conversation, newest first.
SELECT id FROM outgoing
WHERE business_id = $1::text AND conversation_id = $2::bigint AND id < $3::bigint
ORDER BY id DESC
LIMIT $4::int;

-- name: outgoing
-- Newest first. What has become of a send is written where sends are, so it is computed: a status
-- that the provider told outweighs what we believe.
SELECT o.id, o.conversation_id, o.author, o.author_name AS name, o.body AS text, o.due_at,
    o.created_at, o.message_id, CASE
        WHEN o.state <> 'queued' THEN o.state
        WHEN u.state = 'due' THEN 'queued'
        WHEN m.status IN ('delivered', 'read') THEN m.status
        WHEN x.state IN ('pending', 'sending', 'unknown') THEN 'sending'
        WHEN x.state = 'accepted' AND m.status <> 'failed' THEN 'sent'
        WHEN t.outcome = 'refused' THEN 'refused'
        ELSE 'failed'
    END AS status, CASE
        WHEN o.state <> 'queued' THEN o.reason
        WHEN x.state = 'dead' AND m.status NOT IN ('delivered', 'read') THEN x.reason
        WHEN x.state = 'accepted' AND m.status = 'failed' THEN 'not_delivered'
        ELSE ''
    END AS reason, CASE WHEN x.state = 'accepted' THEN x.started_at END AS sent_at
FROM outgoing AS o
    LEFT JOIN message AS m ON m.business_id = o.business_id AND m.id = o.message_id
    LEFT JOIN outbox AS x ON x.business_id = o.business_id AND x.message_id = o.message_id
    LEFT JOIN turn AS t ON t.business_id = o.business_id AND t.id = x.turn_id
    LEFT JOIN untold AS u ON u.business_id = o.business_id
        AND u.conversation_id = o.conversation_id AND u.message_id = o.message_id
WHERE o.business_id = $1::text AND o.id = ANY ($2::bigint[])
ORDER BY o.id DESC;

-- name: first_due
-- When each of these businesses has something to say next. Runs as relevo_sweep.
SELECT b.business_id, (
        SELECT min(o.due_at) FROM outgoing AS o
        WHERE o.business_id = b.business_id AND o.state = 'scheduled'
    ) AS due_at
FROM unnest($1::text[]) AS b (business_id);

-- name: due
-- What is due, in the order in which it is, its conversations locked. Who is at work in one will see
-- to what it finds there, or leaves it to the next look: nobody waits here, so no order of locks can
-- be wrong. What has been taken meanwhile is found out by `take`.
SELECT o.id, o.conversation_id
FROM outgoing AS o JOIN conversation AS c ON c.business_id = o.business_id AND c.id = o.conversation_id
WHERE o.business_id = $1::text AND o.state = 'scheduled' AND o.due_at <= $2::timestamptz
ORDER BY o.due_at, o.id
LIMIT $3::int
FOR NO KEY UPDATE OF c SKIP LOCKED;

-- name: take
-- Those of these that still wait for their time, with where their customer wrote last; an edit has no
-- place of its own. One that has gone to another conversation meanwhile is taken if that can be locked.
SELECT o.id, o.conversation_id, o.author, o.author_name, o.body, o.due_at, o.created_at,
    r.channel_id, r.address_kind, r.address_value
FROM outgoing AS o
    JOIN conversation AS c ON c.business_id = o.business_id AND c.id = o.conversation_id
    LEFT JOIN LATERAL (
        SELECT m.channel_id, m.address_kind, m.address_value FROM message AS m
        WHERE m.business_id = o.business_id AND m.conversation_id = o.conversation_id
            AND m.author = 'customer' AND m.kind <> 'edit'
        ORDER BY m.event_at DESC, m.id DESC
        LIMIT 1
    ) AS r ON true
WHERE o.business_id = $1::text AND o.id = ANY ($2::bigint[]) AND o.state = 'scheduled'
ORDER BY o.due_at, o.id
FOR NO KEY UPDATE OF c SKIP LOCKED
FOR UPDATE OF o;

-- name: queued
UPDATE outgoing AS o SET state = 'queued', message_id = t.message_id
FROM unnest($2::bigint[], $3::bigint[]) AS t (id, message_id)
WHERE o.business_id = $1::text AND o.id = t.id;

-- name: refused
UPDATE outgoing AS o SET state = 'refused', reason = t.reason, ended_at = $4::timestamptz
FROM unnest($2::bigint[], $3::text[]) AS t (id, reason)
WHERE o.business_id = $1::text AND o.id = t.id;

-- name: raise_versions
-- Of conversations that are locked already.
UPDATE conversation SET version = version + 1
WHERE business_id = $1::text AND id = ANY ($2::bigint[]);

-- name: queued_of
-- How much of a business is due and has not begun to leave.
SELECT count(*) FROM untold WHERE business_id = $1::text AND state = 'due';
