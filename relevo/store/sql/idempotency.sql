-- What requests with an Idempotency-Key were answered. `businesses` runs as relevo_sweep, the rest as
-- relevo_app, under the tenant setting.

-- name: forget_old
-- A key that is used again after its time is a new one.
DELETE FROM idempotency
WHERE business_id = $1::text AND key = $2::text AND created_at < $3::timestamptz;

-- name: claim
-- Waits for whoever claims the same key at this moment, until that request has ended. The answer is
-- written by the same transaction, so nobody ever sees a claim without one.
INSERT INTO idempotency (business_id, key, request, status, body, created_at)
VALUES ($1::text, $2::text, $3::bytea, 0, '', $4::timestamptz)
ON CONFLICT (business_id, key) DO NOTHING
RETURNING key;

-- name: answered
SELECT request, status, body FROM idempotency WHERE business_id = $1::text AND key = $2::text;

-- name: keep
UPDATE idempotency SET status = $3::int, body = $4::bytea
WHERE business_id = $1::text AND key = $2::text;

-- name: businesses
SELECT DISTINCT business_id FROM idempotency;

-- name: forget
-- In bounded pieces, oldest first; how many were forgotten tells whether there may be more.
WITH old AS (
    SELECT key FROM idempotency
    WHERE business_id = $1::text AND created_at < $2::timestamptz
    ORDER BY created_at
    LIMIT $3::int
), gone AS (
    DELETE FROM idempotency AS i USING old WHERE i.business_id = $1::text AND i.key = old.key
    RETURNING i.key
)
SELECT count(*) FROM gone;
