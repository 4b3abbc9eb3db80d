-- Links and what comes of them: conversations merged and parted. Runs as relevo_app, under the tenant
-- setting. Conversations are locked before anything of theirs, as everywhere;
-- FOR UPDATE, so that whoever is about to insert for one waits, and finds it gone or in order.

-- name: patience
-- Nobody waits long for anything while holding a conversation: so no circle of waits ever closes.
SELECT set_config('lock_timeout', '200ms', true);

-- name: wish
-- A stronger reason takes the place of a weaker one.
INSERT INTO link (business_id, kind, scope, value, other_kind, other_scope, other_value, reason,
    wanted_at)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text,
    $9::timestamptz)
ON CONFLICT (business_id, kind, scope, value, other_kind, other_scope, other_value)
    DO UPDATE SET reason = EXCLUDED.reason WHERE link.reason = 'message';

-- name: wishes
SELECT kind, scope, value, other_kind, other_scope, other_value, reason FROM link
WHERE business_id = $1::text
ORDER BY wanted_at, kind, scope, value, other_kind, other_scope, other_value
LIMIT $2::int;

-- name: fulfilled
DELETE FROM link
WHERE business_id = $1::text AND kind = $2::text AND scope = $3::text AND value = $4::text
    AND other_kind = $5::text AND other_scope = $6::text AND other_value = $7::text;

-- name: home
-- Whose an address is.
SELECT conversation_id FROM address
WHERE business_id = $1::text AND kind = $2::text AND scope = $3::text AND value = $4::text;

-- name: lock
SELECT c.id, c.canonical_key, c.closed_at, to_jsonb(c)::text AS before FROM conversation AS c
WHERE c.business_id = $1::text AND c.id = ANY ($2::bigint[])
ORDER BY c.business_id, c.id
FOR UPDATE;

-- name: named
-- Whom these texts name, in whatever kind of address.
SELECT DISTINCT ON (conversation_id) kind, scope, value, conversation_id FROM address
WHERE business_id = $1::text AND value = ANY ($2::text[])
ORDER BY conversation_id, kind, scope, value;

-- name: parted_before
-- Whether a person has parted these two, or any that were merged into them since.
WITH RECURSIVE one (id) AS (
    SELECT $2::bigint
    UNION
    SELECT m.loser_id FROM merge AS m JOIN one ON m.survivor_id = one.id
    WHERE m.business_id = $1::text AND m.undone_at IS NULL
), other (id) AS (
    SELECT $3::bigint
    UNION
    SELECT m.loser_id FROM merge AS m JOIN other ON m.survivor_id = other.id
    WHERE m.business_id = $1::text AND m.undone_at IS NULL
)
SELECT EXISTS (
    SELECT FROM merge AS m
    WHERE m.business_id = $1::text AND m.undone_at IS NOT NULL
        AND (m.survivor_id IN (SELECT id FROM one) AND m.loser_id IN (SELECT id FROM other)
            OR m.survivor_id IN (SELECT id FROM other) AND m.loser_id IN (SELECT id FROM one)));

-- name: join_portfolio
-- BSUIDs that a channel knows as its own, a page of them, lead to the same people in its portfolio;
-- who is somebody else there is linked. Returns the last one of the page. Who is met under one at the
-- same moment is linked at the next start.
WITH page AS (
    SELECT value, conversation_id FROM address
    WHERE business_id = $1::text AND kind = 'bsuid' AND scope = $2::text AND value > $4::text
    ORDER BY value
    LIMIT $5::int
), joined AS (
    INSERT INTO address (business_id, kind, scope, value, conversation_id)
    SELECT $1::text, 'bsuid', $3::text, value, conversation_id FROM page
    ORDER BY value
    ON CONFLICT DO NOTHING
), linked AS (
    INSERT INTO link (business_id, kind, scope, value, other_kind, other_scope, other_value, reason,
        wanted_at)
    SELECT $1::text, 'bsuid', $2::text, page.value, 'bsuid', $3::text, page.value, 'message',
        $6::timestamptz
    FROM page JOIN address AS a ON a.business_id = $1::text AND a.kind = 'bsuid'
        AND a.scope = $3::text AND a.value = page.value
    WHERE a.conversation_id <> page.conversation_id
    ORDER BY page.value
    ON CONFLICT DO NOTHING
)
SELECT max(value) FROM page;

-- name: addresses
SELECT kind, scope, value FROM address
WHERE business_id = $1::text AND conversation_id = ANY ($2::bigint[])
ORDER BY kind, scope, value;

-- name: lead
-- An address that nobody has yet. Returns nothing if somebody has it by now.
INSERT INTO address (business_id, kind, scope, value, conversation_id)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint)
ON CONFLICT DO NOTHING
RETURNING conversation_id;

-- name: end_turns
-- They give up their ids: their messages will open a turn of that name.
UPDATE turn SET id = nextval('message_id'), stage = 'ended', outcome = t.outcome, reason = t.reason,
    ended_at = t.ended_at, wait_until = NULL, deadline_at = NULL, effect_deadline_at = NULL
FROM jsonb_to_recordset($2::jsonb) AS t (id bigint, outcome text, reason text, ended_at timestamptz)
WHERE turn.business_id = $1::text AND turn.id = t.id AND turn.stage <> 'ended';

-- name: move
-- Everything of a conversation becomes another one's. Messages are locked in the order in which
-- statuses lock them.
WITH said AS (
    SELECT m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.conversation_id = $3::bigint
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
), moved_messages AS (
    UPDATE message AS m SET conversation_id = $2::bigint
    FROM said WHERE m.business_id = $1::text AND m.id = said.id
), moved_waiting AS (
    UPDATE untold SET conversation_id = $2::bigint
    WHERE business_id = $1::text AND conversation_id = $3::bigint
), moved_turns AS (
    UPDATE turn SET conversation_id = $2::bigint
    WHERE business_id = $1::text AND conversation_id = $3::bigint
    RETURNING id
), moved_letters AS (
    UPDATE dead_letter AS d SET conversation_id = $2::bigint
    FROM moved_turns AS t WHERE d.business_id = $1::text AND d.turn_id = t.id
), moved_addresses AS (
    UPDATE address SET conversation_id = $2::bigint
    WHERE business_id = $1::text AND conversation_id = $3::bigint
    RETURNING kind, scope, value
), moved_memories AS (
    UPDATE ai_conversation SET conversation_id = $2::bigint
    WHERE business_id = $1::text AND conversation_id = $3::bigint
    RETURNING id
), moved_outgoing AS (
    UPDATE outgoing SET conversation_id = $2::bigint
    WHERE business_id = $1::text AND conversation_id = $3::bigint
    RETURNING id
)
INSERT INTO merge (business_id, survivor_id, loser_id, reason, survivor, loser, addresses,
    message_ids, turn_ids, merged_at)
SELECT $1::text, $2::bigint, $3::bigint, $4::text, $5::jsonb, $6::jsonb || jsonb_build_object(
        'ai_conversations', (SELECT coalesce(jsonb_agg(id), '[]') FROM moved_memories),
        'outgoing', (SELECT coalesce(jsonb_agg(id), '[]') FROM moved_outgoing)),
    (SELECT coalesce(jsonb_agg(jsonb_build_array(kind, scope, value)), '[]') FROM moved_addresses),
    ARRAY(SELECT id FROM said), ARRAY(SELECT id FROM moved_turns), $7::timestamptz
RETURNING id;

-- name: forget
DELETE FROM conversation WHERE business_id = $1::text AND id = $2::bigint;

-- name: key
SELECT canonical_key FROM conversation WHERE business_id = $1::text AND id = $2::bigint;

-- name: free_key
-- Who has nothing but a key has met nobody: two first contacts raced, and the other address won.
DELETE FROM conversation AS c
WHERE c.business_id = $1::text AND c.canonical_key = $2::text AND c.id <> $3::bigint
    AND NOT EXISTS (SELECT FROM address AS a
        WHERE a.business_id = c.business_id AND a.conversation_id = c.id)
    AND NOT EXISTS (SELECT FROM message AS m
        WHERE m.business_id = c.business_id AND m.conversation_id = c.id)
    AND NOT EXISTS (SELECT FROM outgoing AS o
        WHERE o.business_id = c.business_id AND o.conversation_id = c.id);

-- name: rename
-- A key that another one has is left to him.
UPDATE conversation AS c SET canonical_key = $3::text
WHERE c.business_id = $1::text AND c.id = $2::bigint AND c.canonical_key <> $3::text
    AND NOT EXISTS (SELECT FROM conversation AS o
        WHERE o.business_id = c.business_id AND o.canonical_key = $3::text);

-- name: put
UPDATE conversation AS c
SET version = n.version, last_customer_at = n.last_customer_at,
    last_assistant_at = n.last_assistant_at, last_agent_at = n.last_agent_at,
    known_to = n.known_to, told_to = n.told_to, owed_since = n.owed_since,
    new_contact = n.new_contact, openai_conversation_id = NULL, hold_until = n.hold_until,
    hold_released_at = n.hold_released_at, tags = n.tags, closed_at = n.closed_at
FROM jsonb_populate_record(NULL::conversation, $3::jsonb) AS n
WHERE c.business_id = $1::text AND c.id = $2::bigint;

-- name: merge
SELECT m.business_id, m.id, m.survivor_id, m.loser_id, m.reason, m.survivor::text AS survivor,
    m.loser::text AS loser, m.addresses::text AS addresses, m.message_ids, m.turn_ids, m.merged_at,
    m.undone_at
FROM merge AS m
WHERE m.business_id = $1::text AND m.id = $2::bigint
FOR UPDATE;

-- name: merged_since
-- The newest merge that one of them has been in since: it has to be undone first.
SELECT max(id) FROM merge
WHERE business_id = $1::text AND id > $2::bigint AND undone_at IS NULL
    AND (survivor_id = $3::bigint OR loser_id = $3::bigint);

-- name: past
-- A row that was kept as JSON, as a row.
SELECT n.* FROM jsonb_populate_record(NULL::conversation, $1::jsonb) AS n;

-- name: turns_since
SELECT t.id, t.stage, t.outcome, t.closed_at, t.address_kind, t.address_value, t.message_ids
FROM turn AS t
WHERE t.business_id = $1::text AND t.conversation_id = $2::bigint
    AND (t.stage <> 'ended' OR t.ended_at >= $3::timestamptz)
ORDER BY t.closed_at, t.id;

-- name: reached_since
SELECT DISTINCT address_kind, address_value FROM message
WHERE business_id = $1::text AND conversation_id = $2::bigint AND received_at >= $3::timestamptz
    AND edits IS NULL;

-- name: restore
INSERT INTO conversation OVERRIDING SYSTEM VALUE
SELECT n.* FROM jsonb_populate_record(NULL::conversation, $1::jsonb) AS n;

-- name: part
-- What is the loser's becomes his again. $4: his messages as they were; $5 and $6: those of turns
-- since, which stay or go with their turn; $7 and $8: how he was reached, for what came since. An
-- edit goes with what it edits, and a send that has become a message with that.
WITH said AS (
    SELECT m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint AND m.edits IS NULL
        AND m.id <> ALL ($5::bigint[]) AND (m.id = ANY ($4::bigint[]) OR m.id = ANY ($6::bigint[])
            OR m.received_at >= $9::timestamptz AND (m.address_kind, m.address_value) IN (
                SELECT * FROM unnest($7::text[], $8::text[])))
), his AS (
    SELECT m.id FROM message AS m
    WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
        AND coalesce(m.edits, m.id) IN (SELECT id FROM said)
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
), moved_messages AS (
    UPDATE message AS m SET conversation_id = $3::bigint
    FROM his WHERE m.business_id = $1::text AND m.id = his.id
), moved_waiting AS (
    UPDATE untold AS u SET conversation_id = $3::bigint
    FROM his WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint
        AND u.message_id = his.id
), moved_turns AS (
    UPDATE turn SET conversation_id = $3::bigint
    WHERE business_id = $1::text AND conversation_id = $2::bigint AND id = ANY ($10::bigint[])
), moved_letters AS (
    UPDATE dead_letter SET conversation_id = $3::bigint
    WHERE business_id = $1::text AND turn_id = ANY ($10::bigint[])
        AND conversation_id = $2::bigint
), moved_memories AS (
    UPDATE ai_conversation SET conversation_id = $3::bigint
    WHERE business_id = $1::text AND conversation_id = $2::bigint AND id = ANY ($11::text[])
), moved_outgoing AS (
    UPDATE outgoing SET conversation_id = $3::bigint
    WHERE business_id = $1::text AND conversation_id = $2::bigint
        AND CASE WHEN message_id IS NULL THEN id = ANY ($12::bigint[])
            ELSE message_id IN (SELECT id FROM his) END
)
UPDATE address AS a SET conversation_id = $3::bigint
FROM jsonb_array_elements($13::jsonb) AS t (his)
WHERE a.business_id = $1::text AND a.conversation_id = $2::bigint AND a.kind = t.his ->> 0
    AND a.value = t.his ->> 2 AND (a.scope = t.his ->> 1
        -- Or what his BSUID is in a portfolio that its channel has joined since, if it is only his.
        OR a.kind = 'bsuid' AND NOT EXISTS (
            SELECT FROM address AS o
            WHERE o.business_id = $1::text AND o.conversation_id = $2::bigint AND o.kind = a.kind
                AND o.value = a.value AND o.scope <> a.scope
                AND NOT $13::jsonb @> jsonb_build_array(
                    jsonb_build_array(o.kind, o.scope, o.value))));

-- name: renew
-- The same row once more: who waits to write for whoever was in it finds it gone, and looks again whose
-- his address is. A row that had only been changed would take what is not its any more.
WITH was AS (
    DELETE FROM conversation WHERE business_id = $1::text AND id = $2::bigint RETURNING *
)
INSERT INTO conversation OVERRIDING SYSTEM VALUE SELECT * FROM was;

-- name: undone
UPDATE merge SET undone_at = $3::timestamptz WHERE business_id = $1::text AND id = $2::bigint;

-- name: merges_of
-- The merges in which a conversation was, newest first.
SELECT id, survivor_id AS survivor, loser_id AS loser, loser ->> 'canonical_key' AS loser_key, reason,
    cardinality(message_ids) AS messages, merged_at, undone_at
FROM merge
WHERE business_id = $1::text AND (survivor_id = $2::bigint OR loser_id = $2::bigint)
ORDER BY id DESC
LIMIT $3::int;

-- name: survivor_of
-- Where a conversation is now that was merged into another one.
WITH RECURSIVE home (id) AS (
    SELECT $2::bigint
    UNION
    SELECT m.survivor_id FROM merge AS m JOIN home ON m.loser_id = home.id
    WHERE m.business_id = $1::text AND m.undone_at IS NULL
)
SELECT c.id FROM conversation AS c JOIN home USING (id) WHERE c.business_id = $1::text;
