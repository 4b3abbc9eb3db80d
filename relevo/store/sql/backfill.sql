-- Messages of an older CRM: put aside, and then given to whose they are. Runs as relevo_app, under
-- the tenant setting. Strangers meet as a webhook's do, by `line_up`, `meet` and `lead` of ingest.sql.

-- name: stage_alone
-- One import of a business at a time: two of one file would deadlock.
SELECT pg_advisory_xact_lock(1919511171, hashtext($1::text));

-- name: stage
-- Each once, in their own order, which is that of a thread where times are equal.
INSERT INTO legacy_message (business_id, channel_id, legacy_id, to_number, lead_id, lid, author, body,
    created_at, state)
SELECT $1::text, $2::text, t.legacy_id, t.to_number, t.lead_id, t.lid, t.author, t.body,
    t.created_at, 'waiting'
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[])
    WITH ORDINALITY AS t (legacy_id, to_number, lead_id, lid, author, body, created_at, place)
ORDER BY t.place
ON CONFLICT DO NOTHING;

-- name: waiting
-- The next of those that wait. First whose phone is told, for they make known who a lead and a lid
-- are; then who has both of these; then the rest.
SELECT l.id
FROM legacy_message AS l
WHERE l.business_id = $1::text AND l.state = 'waiting' AND l.id > $2::bigint
    AND CASE WHEN l.to_number <> '' THEN 1 WHEN l.lead_id <> '' AND l.lid <> '' THEN 2 ELSE 3 END
        = $3::int
ORDER BY l.id
LIMIT $4::int;

-- name: waiting_count
SELECT count(*) FROM legacy_message WHERE business_id = $1::text AND state = 'waiting';

-- name: try_again
UPDATE legacy_message SET state = 'waiting', reason = ''
WHERE business_id = $1::text AND state = 'refused';

-- name: resolve
-- To whom their addresses lead, and as what they are stored already. Who backfills too waits here.
-- By an index for each row, whatever the planner believes of tables that grow while this runs.
SELECT l.id, l.channel_id, l.legacy_id, l.to_number, l.lead_id, l.lid, l.author, l.body,
    l.created_at, by_lead.conversation_id AS by_lead, by_phone.conversation_id AS by_phone,
    by_lid.conversation_id AS by_lid, k.message_id
FROM legacy_message AS l
    LEFT JOIN LATERAL (
        SELECT a.conversation_id FROM address AS a WHERE a.business_id = l.business_id
            AND a.kind = 'lead' AND a.scope = '' AND a.value = l.lead_id OFFSET 0
    ) AS by_lead ON true
    LEFT JOIN LATERAL (
        SELECT a.conversation_id FROM address AS a WHERE a.business_id = l.business_id
            AND a.kind = 'phone' AND a.scope = '' AND a.value = l.to_number OFFSET 0
    ) AS by_phone ON true
    LEFT JOIN LATERAL (
        SELECT a.conversation_id FROM address AS a WHERE a.business_id = l.business_id
            AND a.kind = 'lid' AND a.scope = l.channel_id AND a.value = l.lid OFFSET 0
    ) AS by_lid ON true
    LEFT JOIN LATERAL (
        SELECT k.message_id FROM message_key AS k WHERE k.business_id = l.business_id
            AND k.channel_id = l.channel_id AND k.key = 'import:' || l.legacy_id OFFSET 0
    ) AS k ON true
WHERE l.business_id = $1::text AND l.id = ANY ($2::bigint[]) AND l.state = 'waiting'
ORDER BY l.id
FOR UPDATE OF l;

-- name: lock
-- Before anything of theirs is read or written, in the order in which turn commits lock.
SELECT id FROM conversation WHERE business_id = $1::text AND id = ANY ($2::bigint[])
ORDER BY business_id, id
FOR NO KEY UPDATE;

-- name: lead_to
-- Addresses that nobody had lead to the conversation of the row that tells them. What does not come
-- back was linked by somebody else meanwhile.
INSERT INTO address (business_id, kind, scope, value, conversation_id)
SELECT $1::text, t.kind, t.scope, t.value, t.conversation_id
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[])
    AS t (kind, scope, value, conversation_id)
ORDER BY t.kind, t.scope, t.value
ON CONFLICT DO NOTHING
RETURNING value;

-- name: name_by_lead
-- A lead is a better name than a phone, which may change. One that has a lead keeps its own.
UPDATE conversation AS c SET canonical_key = 'lead:' || c.business_id || ':' || lead.value
FROM unnest($2::bigint[]) AS t (conversation_id)
    CROSS JOIN LATERAL (
        SELECT a.conversation_id, min(a.value) AS value FROM address AS a
        WHERE a.business_id = $1::text AND a.conversation_id = t.conversation_id
            AND a.kind = 'lead'
        GROUP BY a.conversation_id
    ) AS lead
WHERE c.business_id = $1::text AND c.id = lead.conversation_id
    AND c.canonical_key NOT LIKE 'lead:%'
    AND NOT EXISTS (SELECT FROM conversation AS other WHERE other.business_id = c.business_id
        AND other.canonical_key = 'lead:' || c.business_id || ':' || lead.value OFFSET 0);

-- name: wish
-- Two addresses of one row that lead to two conversations: whoever merges will. A lead overrules what
-- a person has parted, a message does not.
INSERT INTO link (business_id, kind, scope, value, other_kind, other_scope, other_value, reason,
    wanted_at)
SELECT $1::text, t.kind, t.scope, t.value, t.other_kind, t.other_scope, t.other_value,
    CASE t.kind WHEN 'lead' THEN 'lead' ELSE 'message' END, $8::timestamptz
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS t (kind, scope, value, other_kind, other_scope, other_value)
ORDER BY t.kind, t.scope, t.value, t.other_kind, t.other_scope, t.other_value
ON CONFLICT DO NOTHING;

-- name: near
-- What we have from elsewhere that a row may be the same message as: near in time, same side, same
-- words. Which one it is, if any, is decided by the core. One that an imported row has been found to
-- be already is not there for another.
SELECT DISTINCT m.conversation_id, u.state, m.id, m.author, m.author_name, m.kind, m.body, m.source,
    m.event_at, m.timed, m.received_at, m.channel_id, m.address_kind, m.address_value, m.revoked_at
FROM unnest($2::bigint[], $3::bigint[]) AS t (id, conversation_id)
    JOIN legacy_message AS l ON l.business_id = $1::text AND l.id = t.id
    CROSS JOIN LATERAL (
        SELECT n.* FROM message AS n
        WHERE n.business_id = $1::text AND n.conversation_id = t.conversation_id
            AND n.event_at BETWEEN l.created_at - interval '120 seconds'
                AND l.created_at + interval '120 seconds'
            AND n.source <> 'import' AND (n.author = 'customer') = (l.author = 'customer')
            AND btrim(n.body, E' \t\r\n') = btrim(l.body, E' \t\r\n')
        OFFSET 0
    ) AS m
    LEFT JOIN untold AS u ON u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id
WHERE NOT EXISTS (SELECT FROM message_key AS k WHERE k.business_id = $1::text
    AND k.message_id = m.id AND k.key LIKE 'import:%')
ORDER BY m.conversation_id, m.event_at, m.id;

-- name: reached_at
-- Where somebody is reached of whom a row tells only the lead: a phone before a lid.
SELECT DISTINCT ON (a.conversation_id) a.conversation_id, a.kind, a.value
FROM address AS a
WHERE a.business_id = $1::text AND a.conversation_id = ANY ($2::bigint[])
ORDER BY a.conversation_id, array_position(ARRAY['phone', 'lid', 'bsuid'], a.kind), a.value;

-- name: settle
-- What has become a message keeps no text here; what is refused may be tried again.
UPDATE legacy_message AS l
SET state = t.state, reason = t.reason, message_id = t.message_id,
    body = CASE t.state WHEN 'inserted' THEN '' ELSE l.body END
FROM jsonb_to_recordset($2::jsonb) AS t (id bigint, state text, reason text, message_id bigint)
WHERE l.business_id = $1::text AND l.id = t.id;

-- name: date
-- The customer has written before, so he is not new, and the silence is measured from then: from the
-- newest imported message that is not about his first one here, which would hide the silence before
-- it, and so old that its own webhook is not still to come. Who has had a turn keeps his own mark.
-- Memory hears of it by the version; so does a turn that recalls, which would not know these rows and
-- store them again.
WITH seen AS (
    SELECT c.id, c.last_customer_at AS own_at, imported.at,
        EXISTS (SELECT FROM turn AS t WHERE t.business_id = c.business_id
            AND t.conversation_id = c.id) AS has_turns,
        EXISTS (SELECT FROM turn AS t WHERE t.business_id = c.business_id
            AND t.conversation_id = c.id AND t.stage = 'recalling') AS recalls
    FROM conversation AS c
        LEFT JOIN LATERAL (
            SELECT m.event_at AS at FROM message AS m
            WHERE m.business_id = c.business_id AND m.conversation_id = c.id
                AND m.author = 'customer' AND m.source <> 'import'
            ORDER BY m.event_at
            LIMIT 1
        ) AS own ON true
        LEFT JOIN LATERAL (
            SELECT m.event_at AS at FROM message AS m
            WHERE m.business_id = c.business_id AND m.conversation_id = c.id
                AND m.author = 'customer' AND m.source = 'import'
                AND m.event_at < coalesce(own.at, 'infinity') - $3::interval
                AND m.event_at < $4::timestamptz
            ORDER BY m.event_at DESC
            LIMIT 1
        ) AS imported ON true
    WHERE c.business_id = $1::text AND c.id = ANY ($2::bigint[])
), wanted AS (
    SELECT seen.id, seen.recalls, seen.own_at,
        CASE WHEN has_turns AND own_at IS NOT NULL THEN own_at ELSE greatest(own_at, at) END AS at
    FROM seen
)
UPDATE conversation AS c SET version = c.version + 1, last_customer_at = wanted.at
FROM wanted
WHERE c.business_id = $1::text AND c.id = wanted.id
    AND (wanted.recalls OR wanted.at IS DISTINCT FROM wanted.own_at);

-- name: summary
-- What has become of everything that was put aside.
SELECT state, reason, count(*) AS messages FROM legacy_message
WHERE business_id = $1::text
GROUP BY state, reason
ORDER BY state, reason;
