-- What a person notes about a chat. Runs as relevo_app, under the tenant setting.

-- name: tag
-- The rules of a turn depend on tags, so memory has to read them again.
UPDATE conversation SET tags = $3::text[], version = version + 1
WHERE business_id = $1::text AND id = $2::bigint
RETURNING id;

-- name: close
UPDATE conversation SET closed_at = $3::timestamptz
WHERE business_id = $1::text AND id = $2::bigint
RETURNING id;
