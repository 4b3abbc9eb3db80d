-- Dead letters, for the people who look after them. Runs as relevo_app, under the tenant setting.

-- name: letters
-- Newest first. `waiting`: how many of the turn's messages nobody has answered or been told;
-- `under_way`: an open turn has some of them.
SELECT d.business_id, d.turn_id, d.conversation_id, c.canonical_key, d.stage, d.reason,
    d.created_at, d.closed_at, d.closed_as, coalesce(t.purpose, 'reply') AS purpose, (
        SELECT count(*) FROM untold AS u
        WHERE u.business_id = t.business_id AND u.conversation_id = t.conversation_id
            AND u.message_id = ANY (t.message_ids) AND u.state IN ('unread', 'failed', 'held')
    ) AS waiting, EXISTS (
        SELECT FROM turn AS o
        WHERE o.business_id = t.business_id AND o.conversation_id = t.conversation_id
            AND o.stage <> 'ended' AND o.message_ids && t.message_ids
    ) AS under_way
FROM dead_letter AS d
    JOIN turn AS t ON t.business_id = d.business_id AND t.id = d.turn_id
    JOIN conversation AS c ON c.business_id = d.business_id AND c.id = d.conversation_id
WHERE d.business_id = $1::text AND d.turn_id BETWEEN $2::bigint AND $3::bigint
    AND (d.closed_at IS NULL OR $4::boolean)
ORDER BY d.turn_id DESC
LIMIT $5::int;

-- name: open_ids
SELECT turn_id FROM dead_letter
WHERE business_id = $1::text AND closed_at IS NULL
ORDER BY turn_id
LIMIT $2::int;

-- name: turn_of
SELECT * FROM turn WHERE business_id = $1::text AND id = $2::bigint;

-- name: close
UPDATE dead_letter SET closed_at = $3::timestamptz, closed_as = $4::text
WHERE business_id = $1::text AND turn_id = $2::bigint AND closed_at IS NULL;

-- name: forget_failed
-- What a dropped letter waited with. The fate of its messages stays.
DELETE FROM untold AS u USING turn AS t
WHERE t.business_id = $1::text AND t.id = $2::bigint AND u.business_id = t.business_id
    AND u.conversation_id = t.conversation_id AND u.message_id = ANY (t.message_ids)
    AND u.state = 'failed';
