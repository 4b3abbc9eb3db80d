-- A person takes a chat, gives it back, or wants it answered. Runs as relevo_app, under the tenant
-- setting. Whatever is changed raises the version, so that no reply is committed past it.

-- name: hold
UPDATE conversation SET hold_until = $3::timestamptz, version = version + 1
WHERE business_id = $1::text AND id = $2::bigint
RETURNING id;

-- name: resume
-- Ends the hold now: what came during it stays held. A chat that was never held is not held until
-- now either, which least() would make of it.
WITH before AS (
    SELECT c.business_id, c.id, c.hold_until FROM conversation AS c
    WHERE c.business_id = $1::text AND c.id = $2::bigint
    FOR NO KEY UPDATE
)
UPDATE conversation AS c
SET hold_until = CASE WHEN c.hold_until > $3::timestamptz THEN $3::timestamptz
        ELSE c.hold_until END,
    hold_released_at = $3::timestamptz, version = c.version + 1
FROM before WHERE c.business_id = before.business_id AND c.id = before.id
RETURNING c.id, before.hold_until;

-- name: waiting
-- What an answer that a person asks for would answer, and whether one is asked for already.
SELECT count(*) FILTER (WHERE state IN ('unread', 'failed', 'held')) AS messages,
    count(*) FILTER (WHERE state = 'held') AS held,
    count(*) FILTER (WHERE state = 'asked') AS requests
FROM untold
WHERE business_id = $1::text AND conversation_id = $2::bigint;
