-- Before anything else on a connection.

-- name: become_tenant
SELECT set_config('relevo.business_id', $1::text, true);

-- name: fitness
-- Whether the login role may serve: neither it nor a group role may see past row-level security, and
-- it must be a member of the three of them. And whether there is a schema to work on.
SELECT r.rolname, to_regclass('message') IS NOT NULL AS migrated,
    EXISTS (SELECT FROM pg_roles AS b WHERE (b.rolsuper OR b.rolbypassrls)
        AND b.rolname IN (r.rolname, 'relevo_app', 'relevo_ingest', 'relevo_sweep')) AS bypasses,
    EXISTS (SELECT FROM pg_tables AS t WHERE t.schemaname = current_schema()
        AND t.tableowner = r.rolname) AS owns,
    (SELECT count(*) = 3 AND bool_and(pg_has_role(r.oid, g.oid, 'MEMBER'))
        FROM pg_roles AS g
        WHERE g.rolname IN ('relevo_app', 'relevo_ingest', 'relevo_sweep')) AS serves
FROM pg_roles AS r
WHERE r.rolname = current_user;

-- name: put_business
INSERT INTO business (business_id) VALUES ($1::text) ON CONFLICT DO NOTHING;

-- name: put_channel
INSERT INTO channel (business_id, id, kind) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (business_id, id) DO UPDATE SET kind = EXCLUDED.kind;

-- name: ping
SELECT 1;
