-- Everything that webhooks bring. Runs as relevo_ingest: it may insert for any business, and read
-- ids and keys only. Batches come deduplicated and sorted from Python; every INSERT that can meet
-- another process's is ordered by its unique key, for unordered ones deadlock.

-- name: line_up
-- Who shares an address meets one after the other: the second batch's statements see the addresses of
-- the first. Lanes come sorted, so nobody waits in a circle, and nothing else is locked before them.
SELECT pg_advisory_xact_lock(1919511159, t.lane) FROM unnest($1::int[]) AS t (lane);

-- name: meet
-- First contacts, before their messages: one conversation a person, however many arrive at once. Who
-- is reached under any of his addresses has one already, perhaps since a moment ago.
-- The loser of a race waits for the winner and then locks nothing: whoever updates, or locks, rows
-- that are there deadlocks with `deliver` and with turn commits, which come to them in another order.
WITH reach AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        AS t (business_id, canonical_key, kind, scope, value)
)
INSERT INTO conversation (business_id, canonical_key, created_at)
SELECT DISTINCT reach.business_id, reach.canonical_key, $6::timestamptz
FROM reach
WHERE NOT EXISTS (SELECT FROM reach AS other JOIN address AS a USING (business_id, kind, scope, value)
    WHERE other.business_id = reach.business_id AND other.canonical_key = reach.canonical_key)
ORDER BY reach.business_id, reach.canonical_key
ON CONFLICT DO NOTHING;

-- name: lead
-- Their addresses lead to them. A statement of its own, which sees the conversations of the winners.
WITH reach AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[])
        AS t (business_id, canonical_key, kind, scope, value, rank)
), home AS (
    SELECT DISTINCT ON (reach.business_id, reach.canonical_key)
        reach.business_id, reach.canonical_key, a.conversation_id
    FROM reach JOIN address AS a USING (business_id, kind, scope, value)
    ORDER BY reach.business_id, reach.canonical_key, reach.rank
)
INSERT INTO address (business_id, kind, scope, value, conversation_id)
SELECT DISTINCT ON (reach.business_id, reach.kind, reach.scope, reach.value)
    reach.business_id, reach.kind, reach.scope, reach.value, coalesce(home.conversation_id, c.id)
FROM reach
    LEFT JOIN home USING (business_id, canonical_key)
    LEFT JOIN conversation AS c USING (business_id, canonical_key)
WHERE coalesce(home.conversation_id, c.id) IS NOT NULL
ORDER BY reach.business_id, reach.kind, reach.scope, reach.value, reach.rank
ON CONFLICT DO NOTHING;

-- name: deliver
-- One batch of messages, in one statement: places each by its addresses, drops what any of its ids
-- names already, stores the rest, and tells what became of each.
-- `unplaced` ones have an address that nobody has yet: they have to `meet` first. `raced` ones were
-- stored, or merged into another conversation, by a transaction that this statement waited for and
-- cannot see; the next one can. `torn` ones have to be mended.
-- A column of texts is one text, each element after a U+001F: the driver looks at the elements of an
-- array one by one, and asks each whether it is an array.
WITH item AS (
    SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[],
        (string_to_array($4, E'\x1f'))[2:], (string_to_array($5, E'\x1f'))[2:],
        (string_to_array($6, E'\x1f'))[2:], (string_to_array($7, E'\x1f'))[2:],
        (string_to_array($8, E'\x1f'))[2:], (string_to_array($9, E'\x1f'))[2:],
        (string_to_array($10, E'\x1f'))[2:], (string_to_array($11, E'\x1f'))[2:],
        (string_to_array($12, E'\x1f'))[2:], (string_to_array($13, E'\x1f'))[2:])
    AS t (ordinal, event_at, received_at, business_id, channel_id, key, address_kind, address_value,
        author, author_name, kind, body, media)
), alias AS (
    SELECT t.ordinal, item.business_id, item.channel_id, t.key
    FROM unnest($14::int[], (string_to_array($15, E'\x1f'))[2:]) AS t (ordinal, key)
        JOIN item USING (ordinal)
), reach AS (
    SELECT t.ordinal, item.business_id, t.rank, t.kind, t.scope, t.value
    FROM unnest($16::int[], $17::int[], (string_to_array($18, E'\x1f'))[2:],
        (string_to_array($19, E'\x1f'))[2:], (string_to_array($20, E'\x1f'))[2:])
        AS t (ordinal, rank, kind, scope, value) JOIN item USING (ordinal)
), reached AS (
    SELECT reach.*, a.conversation_id
    FROM reach LEFT JOIN address AS a USING (business_id, kind, scope, value)
), known AS (
    SELECT DISTINCT ON (alias.ordinal) alias.ordinal, k.business_id, k.message_id,
        m.conversation_id AS home
    FROM alias JOIN message_key AS k USING (business_id, channel_id, key)
        JOIN message AS m ON m.business_id = k.business_id AND m.id = k.message_id
    ORDER BY alias.ordinal, k.message_id
), homes AS (
    -- Where each belongs: to whom its most lasting address leads.
    SELECT DISTINCT ON (ordinal) ordinal, conversation_id
    FROM reached WHERE conversation_id IS NOT NULL
    ORDER BY ordinal, rank
), torn AS (
    -- Another address leads to somebody else, or its phone is learned only now, or it is stored with
    -- somebody else.
    SELECT r.ordinal FROM reached AS r JOIN homes AS h USING (ordinal)
    WHERE (r.rank > 0 OR r.conversation_id IS NULL) AND (r.conversation_id <> h.conversation_id
        OR r.conversation_id IS NULL AND r.kind = 'phone')
    UNION
    SELECT known.ordinal FROM known JOIN homes AS h USING (ordinal)
    WHERE known.home <> h.conversation_id
), placed AS (
    SELECT item.*, homes.conversation_id
    FROM item JOIN homes USING (ordinal)
    WHERE homes.conversation_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM known WHERE known.ordinal = item.ordinal)
), numbered AS (
    SELECT placed.*, nextval('message_id') AS id FROM placed ORDER BY ordinal
), won AS (
    INSERT INTO message_key (business_id, channel_id, key, message_id)
    SELECT business_id, channel_id, key, id FROM numbered ORDER BY business_id, channel_id, key
    ON CONFLICT DO NOTHING
    RETURNING message_id AS id
), fresh AS (
    SELECT * FROM numbered JOIN won USING (id)
), stored AS (
    INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
        author, author_name, kind, body, media, source, event_at, received_at, fate)
    SELECT business_id, id, conversation_id, channel_id, address_kind, address_value, author,
        author_name, kind, body, media, 'webhook', event_at, received_at,
        CASE WHEN author <> 'customer' THEN NULL WHEN kind = 'reaction' THEN 'context'
            ELSE 'in_flight' END
    FROM fresh
), aliased AS (
    INSERT INTO message_key (business_id, channel_id, key, message_id)
    SELECT DISTINCT ON (alias.business_id, alias.channel_id, alias.key)
        alias.business_id, alias.channel_id, alias.key, coalesce(known.message_id, fresh.id)
    FROM alias LEFT JOIN known USING (ordinal) LEFT JOIN fresh USING (ordinal)
    WHERE coalesce(known.message_id, fresh.id) IS NOT NULL
        AND (fresh.key IS NULL OR fresh.key <> alias.key)
        AND NOT EXISTS (SELECT FROM message_key AS k WHERE k.business_id = alias.business_id
            AND k.channel_id = alias.channel_id AND k.key = alias.key)
    ORDER BY alias.business_id, alias.channel_id, alias.key
    ON CONFLICT DO NOTHING
), linked AS (
    -- Addresses that were learned later. One that leads to somebody else stays there.
    INSERT INTO address (business_id, kind, scope, value, conversation_id)
    SELECT DISTINCT ON (reached.business_id, reached.kind, reached.scope, reached.value)
        reached.business_id, reached.kind, reached.scope, reached.value,
        coalesce(placed.conversation_id, known.home)
    FROM reached
        LEFT JOIN placed USING (ordinal)
        LEFT JOIN known USING (ordinal)
    WHERE reached.conversation_id IS NULL
        AND coalesce(placed.conversation_id, known.home) IS NOT NULL
    ORDER BY reached.business_id, reached.kind, reached.scope, reached.value, reached.rank,
        reached.ordinal
    ON CONFLICT DO NOTHING
), waiting AS (
    -- A reaction opens no turn. An echo of our own under an id of its own waits until the core has
    -- found which reply it is.
    INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
    SELECT business_id, conversation_id, id,
        CASE author WHEN 'customer' THEN 'unread' ELSE 'context' END, received_at
    FROM fresh
    WHERE kind <> 'reaction'
        AND author IN ('customer', 'agent', 'automation', 'unknown', 'assistant')
), revivable AS (
    -- A webhook for a row known only from history, neither told nor joined to a turn.
    SELECT item.ordinal, item.received_at, u.business_id, u.conversation_id, u.message_id
    FROM known
        JOIN item USING (ordinal)
        JOIN message AS m ON m.business_id = known.business_id AND m.id = known.message_id
        JOIN untold AS u ON u.business_id = m.business_id
            AND u.conversation_id = m.conversation_id AND u.message_id = m.id
    WHERE u.state = 'context' AND m.source = 'history' AND m.author = 'customer'
        AND item.author = 'customer'
), echoed AS (
    -- The echo of a send of ours that has not ended proves that the provider has it.
    SELECT item.ordinal, m.business_id, m.conversation_id, m.id
    FROM known
        JOIN item USING (ordinal)
        JOIN message AS m ON m.business_id = known.business_id AND m.id = known.message_id
        JOIN outbox AS o ON o.business_id = m.business_id AND o.message_id = m.id
    WHERE item.author <> 'customer' AND m.source IN ('turn', 'schedule', 'api') AND m.status = ''
        AND o.state IN ('pending', 'sending', 'unknown')
), forbidding AS (
    -- Whatever can forbid a reply raises the version, in the order in which commits lock. So does
    -- what is unread again, for an answer that is being committed would mark it as told, and what
    -- resolves a doubt, for memory would go on doubting.
    SELECT c.business_id, c.id
    FROM conversation AS c
    WHERE (c.business_id, c.id) IN (
        SELECT business_id, conversation_id FROM fresh WHERE author IN ('agent', 'unknown')
        UNION ALL
        SELECT business_id, conversation_id FROM revivable
        UNION ALL
        SELECT business_id, conversation_id FROM echoed)
    ORDER BY c.business_id, c.id
    FOR NO KEY UPDATE
), raised AS (
    UPDATE conversation AS c SET version = c.version + 1
    FROM forbidding AS f WHERE c.business_id = f.business_id AND c.id = f.id
), revived AS (
    -- The conversation is locked first, as commits do; what they told meanwhile is not revived.
    UPDATE untold AS u SET state = 'unread', received_at = r.received_at
    FROM revivable AS r
        JOIN forbidding AS f ON f.business_id = r.business_id AND f.id = r.conversation_id
    WHERE u.business_id = r.business_id AND u.conversation_id = r.conversation_id
        AND u.message_id = r.message_id AND u.state = 'context'
    RETURNING r.ordinal, u.business_id, u.conversation_id, u.message_id, u.received_at
), proven AS (
    -- The conversation is locked first here too: the commits that date a reply hold it. Where it was
    -- merged or parted before it was locked, whoever doubts would not hear of it: not yet.
    UPDATE message AS m SET status = 'sent'
    FROM echoed AS e
        JOIN forbidding AS f ON f.business_id = e.business_id AND f.id = e.conversation_id
    WHERE m.business_id = e.business_id AND m.id = e.id AND m.status = ''
        AND m.conversation_id = e.conversation_id
    RETURNING e.ordinal, m.conversation_id
), seen AS (
    UPDATE message AS m
    SET source = 'webhook', fate = 'in_flight', received_at = revived.received_at
    FROM revived WHERE m.business_id = revived.business_id AND m.id = revived.message_id
), counted AS (
    INSERT INTO accepted (business_id, writer, messages)
    SELECT business_id, $21::int, count(*)
    FROM (
        SELECT business_id FROM fresh WHERE author = 'customer'
        UNION ALL
        SELECT business_id FROM revived
    ) AS came
    GROUP BY business_id
    ORDER BY business_id
    ON CONFLICT (business_id, writer)
        DO UPDATE SET messages = accepted.messages + EXCLUDED.messages
), looked AS (
    -- What was there before. What was moved meanwhile has not been touched.
    SELECT r.ordinal, v.conversation_id,
        CASE WHEN v.ordinal IS NULL THEN 'raced' ELSE 'revived' END AS outcome
    FROM revivable AS r LEFT JOIN revived AS v USING (ordinal)
    UNION ALL
    SELECT e.ordinal, p.conversation_id,
        CASE WHEN p.ordinal IS NULL THEN 'raced' ELSE 'duplicate' END
    FROM echoed AS e LEFT JOIN proven AS p USING (ordinal)
)
SELECT item.ordinal,
    coalesce(fresh.conversation_id, looked.conversation_id) AS conversation_id,
    torn.ordinal IS NOT NULL AS torn,
    CASE
        WHEN fresh.id IS NOT NULL THEN 'stored'
        WHEN looked.ordinal IS NOT NULL THEN looked.outcome
        WHEN known.ordinal IS NOT NULL THEN 'duplicate'
        WHEN numbered.ordinal IS NOT NULL THEN 'raced'
        ELSE 'unplaced'
    END AS outcome
FROM item
    LEFT JOIN torn USING (ordinal)
    LEFT JOIN fresh USING (ordinal)
    LEFT JOIN looked USING (ordinal)
    LEFT JOIN known USING (ordinal)
    LEFT JOIN numbered USING (ordinal);

-- name: mend
-- Messages that are torn: one message is one person's, so its addresses lead to one, and so does the
-- conversation that has it. The links say so, and the merger carries them out. Stored before the
-- provider is answered, which else delivers again.
WITH reach AS (
    SELECT t.*, a.conversation_id
    FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[])
            AS t (ordinal, rank, business_id, kind, scope, value)
        JOIN address AS a USING (business_id, kind, scope, value)
), said AS (
    SELECT DISTINCT t.ordinal, m.business_id, m.conversation_id
    FROM unnest($7::int[], $8::text[], $9::text[], $10::text[])
            AS t (ordinal, business_id, channel_id, key)
        JOIN message_key AS k USING (business_id, channel_id, key)
        JOIN message AS m ON m.business_id = k.business_id AND m.id = k.message_id
), torn AS (
    SELECT one.business_id, one.kind, one.scope, one.value, other.kind, other.scope, other.value
    FROM reach AS one JOIN reach AS other ON other.ordinal = one.ordinal AND other.rank > one.rank
    WHERE other.conversation_id <> one.conversation_id OR one.kind = 'phone'
    UNION
    SELECT reach.business_id, a.kind, a.scope, a.value, reach.kind, reach.scope, reach.value
    FROM said JOIN reach USING (ordinal)
        CROSS JOIN LATERAL (
            SELECT kind, scope, value FROM address
            WHERE business_id = said.business_id AND conversation_id = said.conversation_id
            ORDER BY kind, scope, value LIMIT 1
        ) AS a
    WHERE reach.conversation_id <> said.conversation_id
)
INSERT INTO link (business_id, kind, scope, value, other_kind, other_scope, other_value, reason,
    wanted_at)
SELECT torn.*, 'message', $11::timestamptz FROM torn
ORDER BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT DO NOTHING
RETURNING business_id;

-- name: greet
-- Contacts that the provider calls new: there is no history to look back at. Memory has to hear of
-- it too, which may have read the rows of a first message already, so the version is raised.
UPDATE conversation AS c SET new_contact = true, version = c.version + 1
FROM (
    SELECT locked.business_id, locked.id FROM conversation AS locked
    WHERE (locked.business_id, locked.id) IN (
        SELECT a.business_id, a.conversation_id
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
                AS t (business_id, kind, scope, value)
            JOIN address AS a USING (business_id, kind, scope, value))
    ORDER BY locked.business_id, locked.id
    FOR NO KEY UPDATE
) AS found
WHERE c.business_id = found.business_id AND c.id = found.id AND NOT c.new_contact
RETURNING c.business_id, c.id;

-- name: note_statuses
-- Monotone: a late lower status changes nothing. Takes no version, but for a send that has not ended:
-- the first status proves that the provider has it, and whoever doubts it has to hear of that.
-- Rows are locked in the order in which turn commits lock them, conversations before messages,
-- whatever the plan. What names nothing that is known waits, after all that was locked: but not our
-- own ids, which are known before anything is sent.
WITH told AS (
    SELECT t.*, k.message_id
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
            AS t (ordinal, business_id, channel_id, key, status)
        LEFT JOIN LATERAL (
            SELECT k.message_id FROM message_key AS k
            WHERE k.business_id = t.business_id AND k.channel_id = t.channel_id AND k.key = t.key
            OFFSET 0
        ) AS k ON true
), news AS (
    SELECT DISTINCT ON (business_id, message_id) business_id, message_id, status
    FROM told WHERE message_id IS NOT NULL
    ORDER BY business_id, message_id,
        array_position(ARRAY['sent', 'delivered', 'read', 'failed'], status) DESC
), doubted AS (
    SELECT m.business_id, m.id AS message_id, m.conversation_id
    FROM news
        JOIN message AS m ON m.business_id = news.business_id AND m.id = news.message_id
        JOIN outbox AS o ON o.business_id = m.business_id AND o.message_id = m.id
    WHERE news.status <> 'failed' AND m.source IN ('turn', 'schedule', 'api') AND m.status = ''
        AND o.state IN ('pending', 'sending', 'unknown')
), resolving AS (
    SELECT c.business_id, c.id FROM conversation AS c
    WHERE (c.business_id, c.id) IN (SELECT business_id, conversation_id FROM doubted)
    ORDER BY c.business_id, c.id
    FOR NO KEY UPDATE
), raised AS (
    UPDATE conversation AS c SET version = c.version + 1
    FROM resolving AS r WHERE c.business_id = r.business_id AND c.id = r.id
), locked AS (
    SELECT m.business_id, m.id AS message_id, m.conversation_id FROM message AS m
    WHERE (m.business_id, m.id) IN (SELECT business_id, message_id FROM news)
        AND (SELECT count(*) FROM resolving) >= 0
    ORDER BY m.business_id, m.id
    FOR NO KEY UPDATE
), moved AS (
    -- Merged or parted before it was locked: whoever doubts it would not hear of this. Next time.
    SELECT d.business_id, d.message_id, l.conversation_id
    FROM doubted AS d JOIN locked AS l USING (business_id, message_id)
    WHERE NOT EXISTS (SELECT FROM resolving AS r
        WHERE r.business_id = l.business_id AND r.id = l.conversation_id)
), noted AS (
    UPDATE message AS m SET status = news.status
    FROM news JOIN locked USING (business_id, message_id)
    WHERE NOT EXISTS (SELECT FROM moved
            WHERE moved.business_id = news.business_id AND moved.message_id = news.message_id)
        AND m.business_id = news.business_id AND m.id = news.message_id
        AND coalesce(array_position(ARRAY['sent', 'delivered', 'read', 'failed'], m.status), 0)
            < array_position(ARRAY['sent', 'delivered', 'read', 'failed'], news.status)
), waiting AS (
    INSERT INTO early_status (business_id, channel_id, key, status, received_at)
    SELECT DISTINCT business_id, channel_id, key, status, $6::timestamptz
    FROM told
    WHERE key NOT LIKE 'local:%' AND (SELECT count(*) FROM locked) >= 0
        AND ordinal NOT IN (SELECT ordinal FROM told WHERE message_id IS NOT NULL)
    ORDER BY business_id, channel_id, key, status
    ON CONFLICT DO NOTHING
)
SELECT business_id, id, false AS moved FROM resolving
UNION ALL
SELECT business_id, conversation_id, true FROM moved;

-- name: early_waiting
SELECT EXISTS (SELECT FROM early_status);

-- name: early_known
-- Statuses that came before their message, and whose message is known by now.
SELECT e.business_id, e.channel_id, e.key, e.status
FROM early_status AS e
    CROSS JOIN LATERAL (
        -- By its index for each: the planner knows nothing of a table that is mostly empty.
        SELECT FROM message_key AS k
        WHERE k.business_id = e.business_id AND k.channel_id = e.channel_id AND k.key = e.key
        OFFSET 0
    ) AS k
ORDER BY e.business_id, e.channel_id, e.key, e.status;

-- name: forget_early
-- Those that were applied just now, those that are too old, and those that are too many; counted by
-- why they went. One process at a time: two would delete in different orders.
WITH alone AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(1919511160) AS granted
), applied AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        AS t (business_id, channel_id, key, status)
), waiting AS (
    SELECT e.ctid AS place, e.received_at < $5::timestamptz AS too_old,
        row_number() OVER (PARTITION BY e.business_id ORDER BY e.received_at DESC) AS number,
        (e.business_id, e.channel_id, e.key, e.status) IN (SELECT * FROM applied) AS is_applied
    FROM early_status AS e JOIN alone ON alone.granted
), gone AS (
    DELETE FROM early_status AS e USING waiting AS w
    WHERE e.ctid = w.place AND (w.is_applied OR w.too_old OR w.number > $6::int)
    RETURNING CASE WHEN w.is_applied THEN 'settled' WHEN w.too_old THEN 'forgotten'
        ELSE 'dropped' END AS outcome
)
SELECT outcome, count(*)::int AS rows FROM gone GROUP BY outcome;

-- name: wish
-- Links of addresses that somebody is known under: a number that was changed, a contact's addresses.
INSERT INTO link (business_id, kind, scope, value, other_kind, other_scope, other_value, reason,
    wanted_at)
SELECT t.business_id, t.kind, t.scope, t.value, t.other_kind, t.other_scope, t.other_value, t.reason,
    $9::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[])
    AS t (business_id, kind, scope, value, other_kind, other_scope, other_value, reason)
    LEFT JOIN address AS one ON one.business_id = t.business_id AND one.kind = t.kind
        AND one.scope = t.scope AND one.value = t.value
    LEFT JOIN address AS other ON other.business_id = t.business_id AND other.kind = t.other_kind
        AND other.scope = t.other_scope AND other.value = t.other_value
WHERE one.conversation_id IS DISTINCT FROM other.conversation_id
    OR t.reason = 'number_changed' AND one.conversation_id IS NOT NULL
ORDER BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT DO NOTHING
RETURNING business_id;

-- name: set_aside
-- What was delivered and cannot be read or stored: kept raw.
INSERT INTO quarantine (business_id, channel_id, reason, body, received_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[]);
