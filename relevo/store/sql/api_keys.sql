-- Keys of the API. `holders` runs as relevo_sweep, which does not know yet whose a key is; everything
-- else as relevo_app, under the tenant setting.

-- name: holders
SELECT id, business_id, scopes, hash, expires_at, revoked_at FROM api_key
WHERE id = ANY ($1::text[]);

-- name: lock
-- Keys of one business are made one after the other, so that their number can be bounded.
SELECT pg_advisory_xact_lock(hashtextextended('relevo api keys of ' || $1::text, 0));

-- name: living
SELECT id, name FROM api_key
WHERE business_id = $1::text AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > $2::timestamptz);

-- name: put
INSERT INTO api_key (business_id, id, name, scopes, hash, created_at, expires_at)
VALUES ($1::text, $2::text, $3::text, $4::text[], $5::bytea, $6::timestamptz, $7::timestamptz);

-- name: keys
SELECT business_id, id, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM api_key
WHERE business_id = $1::text AND ($2::timestamptz IS NULL
    OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2::timestamptz)))
ORDER BY created_at DESC, id
LIMIT $3::int;

-- name: revoke
-- Revoking twice leaves the first time.
UPDATE api_key SET revoked_at = coalesce(revoked_at, $3::timestamptz)
WHERE business_id = $1::text AND id = $2::text
RETURNING id;

-- name: use
-- At most once a minute, whichever process sees it.
UPDATE api_key SET last_used_at = $3::timestamptz
WHERE business_id = $1::text AND id = $2::text
    AND (last_used_at IS NULL OR last_used_at <= $3::timestamptz - interval '1 minute');
