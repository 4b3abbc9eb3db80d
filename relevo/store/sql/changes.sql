-- What becomes of messages that are edited or taken back by whoever wrote them. Runs as relevo_ingest:
-- it replaces a text without ever reading one.

-- name: lock
-- The conversations of these messages, in the order in which turn commits lock, and in a statement of
-- its own: the next one sees the turns that were committed meanwhile.
SELECT c.business_id, c.id FROM conversation AS c
WHERE (c.business_id, c.id) IN (
    SELECT m.business_id, m.conversation_id
    FROM unnest($1::text[], $2::text[], $3::text[]) AS t (business_id, channel_id, target)
        CROSS JOIN LATERAL (
            SELECT k.message_id FROM message_key AS k
            WHERE k.business_id = t.business_id AND k.channel_id = t.channel_id AND k.key = t.target
            OFFSET 0
        ) AS k
        JOIN message AS m ON m.business_id = t.business_id AND m.id = k.message_id)
ORDER BY c.business_id, c.id
FOR NO KEY UPDATE;

-- name: apply
-- Monotone: of edits the newest counts, a revocation is final, and only who wrote a message changes it.
-- A text that waits to be told is replaced. What the AI was told, or is being asked, says no other
-- thing any more: its new text becomes a message that waits as context, and later edits change that.
-- A revocation only marks; the core sees to what waits. What nobody knows, or nobody has locked because
-- it has just moved, waits for the next settling.
WITH told AS (
    SELECT t.*
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::timestamptz[], $9::timestamptz[])
        AS t (ordinal, business_id, channel_id, target, kind, author, body, event_at, received_at)
), held AS (
    SELECT * FROM unnest($10::text[], $11::bigint[]) AS t (business_id, conversation_id)
), known AS (
    SELECT told.*, m.id, m.conversation_id, m.author = 'customer' AS inbound, m.revoked_at,
        m.edited_at, told.author = 'unknown' OR (told.author = 'customer') = (m.author = 'customer')
            AS is_own
    FROM told
        CROSS JOIN LATERAL (
            SELECT k.message_id FROM message_key AS k
            WHERE k.business_id = told.business_id AND k.channel_id = told.channel_id
                AND k.key = told.target
            OFFSET 0
        ) AS k
        JOIN message AS m ON m.business_id = told.business_id AND m.id = k.message_id
        JOIN held ON held.business_id = m.business_id AND held.conversation_id = m.conversation_id
), revoking AS (
    SELECT DISTINCT ON (business_id, id) * FROM known
    WHERE kind = 'revocation' AND is_own AND revoked_at IS NULL
    ORDER BY business_id, id, event_at
), editing AS (
    SELECT DISTINCT ON (business_id, id) * FROM known
    WHERE kind = 'edit' AND is_own AND revoked_at IS NULL
        AND (edited_at IS NULL OR edited_at < event_at)
        AND (business_id, id) NOT IN (SELECT business_id, id FROM revoking)
    ORDER BY business_id, id, event_at DESC
), version AS (
    -- The rows that say what one message says: its own, and those of its edits.
    SELECT c.ordinal, m.business_id, m.id
    FROM (SELECT * FROM revoking UNION ALL SELECT * FROM editing) AS c
        JOIN message AS m ON m.business_id = c.business_id AND m.conversation_id = c.conversation_id
            AND (m.id = c.id OR m.edits = c.id)
), locked AS (
    SELECT m.business_id, m.id FROM message AS m
    WHERE (m.business_id, m.id) IN (SELECT business_id, id FROM version)
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
), replaced AS (
    -- The newest of them that waits, unless the AI is being asked with it.
    SELECT DISTINCT ON (editing.ordinal) editing.*, version.id AS version_id
    FROM editing
        JOIN version USING (ordinal, business_id)
        JOIN untold AS u ON u.business_id = editing.business_id
            AND u.conversation_id = editing.conversation_id AND u.message_id = version.id
    WHERE NOT EXISTS (SELECT FROM turn AS t
        WHERE t.business_id = editing.business_id AND t.conversation_id = editing.conversation_id
            AND version.id = ANY (t.message_ids || t.missed_ids)
            AND (t.stage = 'reconciling' OR t.stage = 'answering' AND t.wait_until IS NULL))
    ORDER BY editing.ordinal, version.id DESC
), rewritten AS (
    UPDATE message AS m
    SET body = r.body, edited_at = CASE WHEN m.id = r.id THEN r.event_at ELSE m.edited_at END
    FROM replaced AS r JOIN locked ON locked.business_id = r.business_id AND locked.id = r.version_id
    WHERE m.business_id = r.business_id AND m.id = r.version_id
), dated AS (
    UPDATE message AS m SET edited_at = e.event_at
    FROM editing AS e JOIN locked USING (business_id, id)
    WHERE m.business_id = e.business_id AND m.id = e.id
        AND NOT EXISTS (SELECT FROM replaced AS r WHERE r.ordinal = e.ordinal AND r.version_id = e.id)
), revoked AS (
    UPDATE message AS m SET revoked_at = r.event_at
    FROM revoking AS r JOIN version USING (ordinal, business_id)
        JOIN locked ON locked.business_id = version.business_id AND locked.id = version.id
    WHERE m.business_id = version.business_id AND m.id = version.id
), added AS (
    SELECT e.*, nextval('message_id') AS edit_id,
        CASE WHEN e.inbound THEN 'customer' ELSE 'agent' END AS writer
    FROM editing AS e WHERE e.ordinal NOT IN (SELECT ordinal FROM replaced)
), stored AS (
    INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
        author, kind, body, source, event_at, received_at, fate, edits)
    SELECT a.business_id, a.edit_id, a.conversation_id, a.channel_id, coalesce(reached.kind, ''),
        coalesce(reached.value, ''), a.writer, 'edit', a.body, 'webhook', a.event_at, a.received_at,
        CASE WHEN a.inbound THEN 'context' END, a.id
    FROM added AS a LEFT JOIN LATERAL (
        SELECT of.kind, of.value FROM address AS of
        WHERE of.business_id = a.business_id AND of.conversation_id = a.conversation_id
        ORDER BY of.kind <> 'phone', of.kind, of.value
        LIMIT 1
    ) AS reached ON true
), waiting AS (
    INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
    SELECT business_id, conversation_id, edit_id, 'context', received_at FROM added
), counted AS (
    INSERT INTO accepted (business_id, writer, messages)
    SELECT business_id, $12::int, count(*) FROM added WHERE inbound
    GROUP BY business_id
    ORDER BY business_id
    ON CONFLICT (business_id, writer)
        DO UPDATE SET messages = accepted.messages + EXCLUDED.messages
), raised AS (
    UPDATE conversation AS c SET version = c.version + 1
    WHERE (c.business_id, c.id) IN (
        SELECT business_id, conversation_id FROM editing
        UNION ALL
        SELECT business_id, conversation_id FROM revoking)
), early AS (
    INSERT INTO early_change (business_id, channel_id, target, kind, author, body, event_at, received_at)
    SELECT DISTINCT ON (business_id, channel_id, target, kind, author)
        business_id, channel_id, target, kind, author, body, event_at, received_at
    FROM told
    WHERE ordinal NOT IN (SELECT ordinal FROM known)
    ORDER BY business_id, channel_id, target, kind, author, event_at DESC
    ON CONFLICT (business_id, channel_id, target, kind, author)
        DO UPDATE SET body = EXCLUDED.body, event_at = EXCLUDED.event_at
        WHERE early_change.event_at < EXCLUDED.event_at
)
SELECT told.ordinal, known.conversation_id,
    CASE
        WHEN known.ordinal IS NULL THEN 'early'
        WHEN told.ordinal IN (SELECT ordinal FROM added) THEN 'context'
        WHEN told.ordinal IN (SELECT ordinal FROM editing UNION ALL SELECT ordinal FROM revoking)
            THEN 'applied'
        ELSE 'ignored'
    END AS outcome
FROM told LEFT JOIN known USING (ordinal)
ORDER BY told.ordinal;

-- name: early_waiting
SELECT EXISTS (SELECT FROM early_change);

-- name: early_known
-- Changes that came before their message, and whose message is known by now.
SELECT e.business_id, e.channel_id, e.target, e.kind, e.author, e.body, e.event_at, e.received_at
FROM early_change AS e
    CROSS JOIN LATERAL (
        -- By its index for each: the planner knows nothing of a table that is mostly empty.
        SELECT FROM message_key AS k
        WHERE k.business_id = e.business_id AND k.channel_id = e.channel_id AND k.key = e.target
        OFFSET 0
    ) AS k
ORDER BY e.business_id, e.channel_id, e.target, e.kind, e.author
LIMIT $1::int;

-- name: forget_early
-- Those that were settled just now, those that are too old, and those that are too many; counted by
-- why they went. One process at a time: two would delete in different orders.
WITH alone AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(1919511161) AS granted
), settled AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS t (business_id, channel_id, target, kind, author, event_at)
), waiting AS (
    SELECT e.ctid AS place, e.received_at < $7::timestamptz AS too_old,
        row_number() OVER (PARTITION BY e.business_id ORDER BY e.received_at DESC) AS number,
        (e.business_id, e.channel_id, e.target, e.kind, e.author, e.event_at)
            IN (SELECT * FROM settled) AS is_settled
    FROM early_change AS e JOIN alone ON alone.granted
), gone AS (
    DELETE FROM early_change AS e USING waiting AS w
    WHERE e.ctid = w.place AND (w.is_settled OR w.too_old OR w.number > $8::int)
    RETURNING e.kind, CASE WHEN w.is_settled THEN 'settled' WHEN w.too_old THEN 'forgotten'
        ELSE 'dropped' END AS outcome
)
SELECT kind, outcome, count(*)::int AS rows FROM gone GROUP BY kind, outcome;
