-- Bodies that could not be read or stored. Runs as relevo_app, under the tenant setting.

-- name: bodies
-- Newest first, without the bodies.
SELECT business_id, id, channel_id, reason, received_at, octet_length(body) AS size_bytes, replayed_at
FROM quarantine
WHERE business_id = $1::text AND (replayed_at IS NULL OR $2::boolean) AND id < $4::bigint
ORDER BY id DESC
LIMIT $3::int;

-- name: body
SELECT business_id, id, channel_id, reason, received_at, octet_length(body) AS size_bytes,
    replayed_at, body
FROM quarantine
WHERE business_id = $1::text AND id = $2::bigint;

-- name: waiting_ids
SELECT id FROM quarantine
WHERE business_id = $1::text AND replayed_at IS NULL
ORDER BY id
LIMIT $2::int;

-- name: mark_replayed
UPDATE quarantine SET replayed_at = $3::timestamptz
WHERE business_id = $1::text AND id = $2::bigint AND replayed_at IS NULL;
