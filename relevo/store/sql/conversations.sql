-- The list of conversations, by who has spoken last, and single ones. Runs as relevo_app, under the
-- tenant setting. Nothing marks who has spoken last: it is read off the messages that had come when a
-- list was begun (`as_of`), so that its pages stay in order while others come. A part of a reply that
-- was cancelled was never said.

-- name: walk
-- The newest messages before a place, each if it is the newest of its conversation. The innermost part
-- bounds the work, whatever one flood has written.
SELECT w.conversation_id, w.event_at AS at, w.id AS message_id
FROM (
    SELECT m.conversation_id, m.event_at, m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.author <> 'system' AND m.received_at <= $2::timestamptz
        AND (m.event_at, m.id) < ($3::timestamptz, $4::bigint)
    ORDER BY m.event_at DESC, m.id DESC
    LIMIT $6::int
) AS w
    CROSS JOIN LATERAL (
        SELECT n.id FROM message AS n
        WHERE n.business_id = $1::text AND n.conversation_id = w.conversation_id
            AND n.author <> 'system' AND n.received_at <= $2::timestamptz
            AND (n.source <> 'turn' OR NOT EXISTS (SELECT FROM outbox AS o
                WHERE o.business_id = n.business_id AND o.message_id = n.id
                    AND o.state = 'cancelled'))
        ORDER BY n.event_at DESC, n.id DESC
        LIMIT 1
    ) AS newest
WHERE newest.id = w.id
ORDER BY w.event_at DESC, w.id DESC
LIMIT $5::int;

-- name: walked_to
-- Where a walk of so many messages ends; nothing if it came to the end of them.
SELECT m.event_at AS at, m.id FROM message AS m
WHERE m.business_id = $1::text AND m.author <> 'system' AND m.received_at <= $2::timestamptz
    AND (m.event_at, m.id) < ($3::timestamptz, $4::bigint)
ORDER BY m.event_at DESC, m.id DESC
OFFSET $5::int - 1
LIMIT 1;

-- name: heads
-- The newest message of each of these conversations, newest first, below a place. One that nobody has
-- spoken in stands where it was made.
SELECT c.id AS conversation_id, coalesce(newest.event_at, c.created_at) AS at,
    coalesce(newest.id, 0) AS message_id
FROM conversation AS c
    LEFT JOIN LATERAL (
        SELECT n.event_at, n.id FROM message AS n
        WHERE n.business_id = $1::text AND n.conversation_id = c.id AND n.author <> 'system'
            AND n.received_at <= $3::timestamptz
            AND (n.source <> 'turn' OR NOT EXISTS (SELECT FROM outbox AS o
                WHERE o.business_id = n.business_id AND o.message_id = n.id
                    AND o.state = 'cancelled'))
        ORDER BY n.event_at DESC, n.id DESC
        LIMIT 1
    ) AS newest ON true
WHERE c.business_id = $1::text AND c.id = ANY ($2::bigint[])
    AND (coalesce(newest.event_at, c.created_at), coalesce(newest.id, 0), c.id)
        < ($4::timestamptz, $5::bigint, $6::bigint)
ORDER BY at DESC, message_id DESC, conversation_id DESC
LIMIT $7::int;

-- name: found
-- Whose address begins or ends so, or who has the tag. Bytes are compared, which is leakproof: under row
-- security too the indexes serve. Each is limited by itself, so that each is looked up by itself.
SELECT found.id
FROM unnest($2::text[], $3::text[]) AS p (first, past)
    CROSS JOIN LATERAL (
        SELECT a.conversation_id AS id FROM address AS a
        WHERE a.business_id = $1::text AND a.value COLLATE "C" >= p.first
            AND a.value COLLATE "C" < p.past
        LIMIT $7::int
    ) AS found
UNION
(SELECT a.conversation_id FROM address AS a
WHERE a.business_id = $1::text AND a.reversed >= $4::text AND a.reversed < $5::text
LIMIT $7::int)
UNION
(SELECT c.id FROM conversation AS c
WHERE c.business_id = $1::text AND c.tags <> '{}' AND $6::text = ANY (c.tags)
LIMIT $7::int)
LIMIT $7::int;

-- name: tagged
SELECT c.id FROM conversation AS c
WHERE c.business_id = $1::text AND c.tags <> '{}' AND $2::text = ANY (c.tags)
LIMIT $3::int;

-- name: holding
-- Who may be held at an instant: too many rather than too few, `shown` looks closer.
SELECT c.id FROM conversation AS c
WHERE c.business_id = $1::text
    AND greatest(c.hold_until, c.last_agent_at) > $2::timestamptz - make_interval(secs => $3::float8)
UNION
SELECT u.conversation_id
FROM untold AS u JOIN message AS m ON m.business_id = u.business_id AND m.id = u.message_id
WHERE u.business_id = $1::text AND m.author = 'agent' AND $3::float8 > 0
LIMIT $4::int;

-- name: shown
-- Everything that is told of conversations, each with a message of it, in the order given; those that
-- do not fit the filters are left out.
SELECT c.id, c.canonical_key, c.version, c.tags, c.created_at, c.last_customer_at,
    c.last_assistant_at, c.last_agent_at, closing.closed, nullif(hold.until, '9999-12-31+00') AS until,
    hold.until IS NOT NULL AS held, k.n, (
        SELECT count(*) FROM untold AS u
        WHERE u.business_id = c.business_id AND u.conversation_id = c.id
            AND u.state IN ('unread', 'failed', 'held')
    ) AS waiting, (
        SELECT coalesce(jsonb_agg(jsonb_build_object('kind', a.kind, 'scope', a.scope,
            'value', a.value) ORDER BY a.kind, a.scope, a.value), '[]')
        FROM address AS a
        WHERE a.business_id = c.business_id AND a.conversation_id = c.id
    )::text AS addresses,
    m.id AS message_id, m.author, m.author_name, m.kind, m.event_at, m.revoked_at,
    CASE WHEN m.revoked_at IS NULL THEN left(m.body, $7::int) ELSE '' END AS body
FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (conversation_id, message_id, n)
    JOIN conversation AS c ON c.business_id = $1::text AND c.id = k.conversation_id
    LEFT JOIN message AS m ON m.business_id = $1::text AND m.id = k.message_id
    CROSS JOIN LATERAL (
        -- Reopened by whatever was received since, though it may have been said before: providers
        -- deliver late, for a week at most.
        SELECT c.closed_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM message AS r
            WHERE r.business_id = c.business_id AND r.conversation_id = c.id
                AND r.author IN ('customer', 'agent') AND r.source NOT IN ('history', 'import')
                AND r.event_at > c.closed_at - interval '7 days' AND r.received_at > c.closed_at
        ) AS closed
    ) AS closing
    CROSS JOIN LATERAL (
        -- When a colleague wrote last: told, which the mark knows, or not yet.
        SELECT greatest(c.last_agent_at, (
            SELECT max(least(w.event_at, w.received_at))
            FROM untold AS u
                JOIN message AS w ON w.business_id = u.business_id AND w.id = u.message_id
            WHERE u.business_id = c.business_id AND u.conversation_id = c.id
                AND w.author = 'agent' AND w.timed
        )) AS wrote_at
        OFFSET 0  -- looked for once, not wherever it is asked for
    ) AS colleague
    CROSS JOIN LATERAL (
        SELECT nullif(greatest(
            c.hold_until,
            CASE WHEN $5::float8 > 0 AND (c.hold_released_at > colleague.wrote_at) IS NOT TRUE
                THEN colleague.wrote_at + make_interval(secs => $5::float8) END,
            $4::timestamptz
        ), $4::timestamptz) AS until
        OFFSET 0
    ) AS hold
WHERE ($6::boolean IS NULL OR closing.closed = $6::boolean)
    AND ($8::text IS NULL OR $8::text = ANY (c.tags))
    AND ($9::boolean IS NULL OR (hold.until IS NOT NULL) = $9::boolean)
ORDER BY k.n;
