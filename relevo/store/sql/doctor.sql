-- What should not be, and can be mended. Runs as the owner. A statement that finds returns a row for
-- each conversation (NULL: for none) with how many `messages`, and since when. The one that mends has the
-- same name and `mend_` before it, looks again under the lock of that conversation, and returns how many
-- it mended.

-- name: lock
SELECT version FROM conversation
WHERE business_id = $1::text AND id = $2::bigint
FOR NO KEY UPDATE;

-- name: raise_version
UPDATE conversation SET version = version + 1 WHERE business_id = $1::text AND id = $2::bigint;

-- name: processes
-- How many processes of Relevo are alive on this database.
SELECT count(*) FROM pg_locks AS l
WHERE l.locktype = 'advisory' AND l.classid = 1919511158
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: bad_ids
SELECT c.business_id, c.id AS conversation_id, 1 AS messages,
    coalesce(c.last_customer_at, c.created_at) AS since
FROM conversation AS c
WHERE c.openai_conversation_id !~ '^conv_[A-Za-z0-9_-]{1,200}$';

-- name: mend_bad_ids
WITH mended AS (
    UPDATE conversation SET openai_conversation_id = NULL
    WHERE business_id = $1::text AND id = $2::bigint
        AND openai_conversation_id !~ '^conv_[A-Za-z0-9_-]{1,200}$'
    RETURNING id
)
SELECT count(*) FROM mended;

-- name: lost_flags
SELECT u.business_id, u.conversation_id, count(*) AS messages, min(u.received_at) AS since
FROM untold AS u
WHERE NOT EXISTS (SELECT FROM message AS m
    WHERE m.business_id = u.business_id AND m.id = u.message_id)
GROUP BY u.business_id, u.conversation_id;

-- name: mend_lost_flags
WITH mended AS (
    DELETE FROM untold AS u
    WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint
        AND NOT EXISTS (SELECT FROM message AS m
            WHERE m.business_id = u.business_id AND m.id = u.message_id)
    RETURNING u.message_id
)
SELECT count(*) FROM mended;

-- name: told_flags
-- A turn has ended with its message, which waits to be told all the same.
SELECT u.business_id, u.conversation_id, count(*) AS messages, min(u.received_at) AS since
FROM untold AS u JOIN message AS m ON m.business_id = u.business_id AND m.id = u.message_id
WHERE m.fate IN ('answered', 'no_reply', 'refused')
    AND EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
        AND t.conversation_id = m.conversation_id AND m.id = ANY (t.message_ids)
        AND t.outcome = m.fate)
GROUP BY u.business_id, u.conversation_id;

-- name: mend_told_flags
WITH mended AS (
    DELETE FROM untold AS u USING message AS m
    WHERE u.business_id = $1::text AND u.conversation_id = $2::bigint
        AND m.business_id = u.business_id AND m.id = u.message_id
        AND m.fate IN ('answered', 'no_reply', 'refused')
        AND EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
            AND t.conversation_id = m.conversation_id AND m.id = ANY (t.message_ids)
            AND t.outcome = m.fate)
    RETURNING u.message_id
)
SELECT count(*) FROM mended;

-- name: unfinished_parts
SELECT o.business_id, t.conversation_id, count(*) AS messages, min(o.created_at) AS since
FROM outbox AS o JOIN turn AS t ON t.business_id = o.business_id AND t.id = o.turn_id
WHERE o.state IN ('pending', 'sending', 'unknown') AND t.stage = 'ended'
GROUP BY o.business_id, t.conversation_id;

-- name: mend_unfinished_parts
-- What is proven was taken; what may have left is not sent again, for its turn is over.
WITH mended AS (
    UPDATE outbox AS o SET reason = 'doctor', deadline_at = NULL,
        state = CASE
            WHEN m.status IN ('sent', 'delivered', 'read') OR EXISTS (
                SELECT FROM message_key AS k WHERE k.business_id = o.business_id
                    AND k.message_id = o.message_id AND k.key NOT LIKE 'local:%') THEN 'accepted'
            WHEN o.state = 'pending' THEN 'cancelled'
            ELSE 'dead' END
    FROM turn AS t, message AS m
    WHERE o.business_id = $1::text AND t.business_id = o.business_id AND t.id = o.turn_id
        AND t.conversation_id = $2::bigint AND t.stage = 'ended'
        AND m.business_id = o.business_id AND m.id = o.message_id
        AND o.state IN ('pending', 'sending', 'unknown')
    RETURNING o.message_id
)
SELECT count(*) FROM mended;

-- name: stranded
-- In flight, and nothing will look at them: neither untold nor in an open turn (as `audit` counts).
SELECT m.business_id, m.conversation_id, count(*) AS messages, min(m.received_at) AS since
FROM message AS m
WHERE m.author = 'customer' AND m.source = 'webhook' AND m.fate = 'in_flight'
    AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id)
    AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
        AND t.conversation_id = m.conversation_id AND t.stage <> 'ended'
        AND m.id = ANY (t.message_ids))
GROUP BY m.business_id, m.conversation_id;

-- name: mend_stranded
-- Whose turn has ended gets the fate of that turn, and waits as that outcome lets wait; the others are
-- unread again, as if they had come now, so that a sweep sees them.
WITH lost AS (
    SELECT m.id, (SELECT t.outcome FROM turn AS t WHERE t.business_id = m.business_id
            AND t.conversation_id = m.conversation_id AND m.id = ANY (t.message_ids)
            AND t.outcome IN ('answered', 'answered_by_human', 'no_reply', 'held', 'refused',
                'failed')
        ORDER BY t.ended_at DESC LIMIT 1) AS outcome
    FROM message AS m
    WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint
        AND m.author = 'customer' AND m.source = 'webhook' AND m.fate = 'in_flight'
        AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = m.business_id
            AND u.conversation_id = m.conversation_id AND u.message_id = m.id)
        AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
            AND t.conversation_id = m.conversation_id AND t.stage <> 'ended'
            AND m.id = ANY (t.message_ids))
), fated AS (
    UPDATE message AS m
    SET fate = CASE lost.outcome WHEN 'failed' THEN 'dead' ELSE lost.outcome END
    FROM lost
    WHERE m.business_id = $1::text AND m.id = lost.id AND lost.outcome IS NOT NULL
), waiting AS (
    INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
    SELECT $1::text, $2::bigint, lost.id, CASE lost.outcome WHEN 'failed' THEN 'failed'
        WHEN 'held' THEN 'held' WHEN 'answered_by_human' THEN 'context' ELSE 'unread' END,
        $3::timestamptz
    FROM lost
    WHERE lost.outcome IS NULL OR lost.outcome IN ('failed', 'held', 'answered_by_human')
)
SELECT count(*) FROM lost;

-- name: unseen
-- Older than a sweep looks, in no open turn. At a start everything is seen.
SELECT u.business_id, u.conversation_id, count(*) AS messages, min(u.received_at) AS since
FROM untold AS u
WHERE u.state IN ('unread', 'asked', 'due')
    AND EXISTS (SELECT FROM message AS m
        WHERE m.business_id = u.business_id AND m.id = u.message_id
            AND (m.fate IS NULL OR m.fate NOT IN ('answered', 'no_reply', 'refused')))
    AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = u.business_id
        AND t.conversation_id = u.conversation_id AND t.stage <> 'ended')
GROUP BY u.business_id, u.conversation_id
HAVING max(u.received_at) < $1::timestamptz;

-- name: mend_unseen
-- A sweep wakes the customer for one row, and he reads them all.
WITH mended AS (
    UPDATE untold AS u SET received_at = $3::timestamptz
    WHERE (u.business_id, u.conversation_id, u.message_id) = (
        SELECT n.business_id, n.conversation_id, n.message_id FROM untold AS n
        WHERE n.business_id = $1::text AND n.conversation_id = $2::bigint
            AND n.state IN ('unread', 'asked', 'due')
        ORDER BY n.received_at DESC, n.message_id DESC LIMIT 1)
    RETURNING u.conversation_id
)
SELECT count(*) FROM untold AS u JOIN mended USING (conversation_id)
WHERE u.business_id = $1::text AND u.state IN ('unread', 'asked', 'due');

-- name: left_turns
-- Open, every deadline long over, nobody alive holds them, and no sweep is about to wake the customer.
SELECT t.business_id, t.conversation_id, cardinality(t.message_ids) AS messages, t.closed_at AS since
FROM turn AS t
WHERE t.stage IN ('recalling', 'ensuring', 'answering', 'reconciling')
    AND greatest(t.closed_at, t.deadline_at, t.wait_until, t.effect_deadline_at, t.answer_ends_at)
        < $1::timestamptz
    AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory'
        AND l.classid = 1919511158 AND l.objid = t.incarnation::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND EXISTS (SELECT FROM untold AS u WHERE u.business_id = t.business_id
        AND u.conversation_id = t.conversation_id AND u.state IN ('unread', 'asked', 'due')
        HAVING max(u.received_at) < $1::timestamptz);

-- name: mend_left_turns
-- The process that is woken for this row takes the turn over, as it does at a start.
WITH mended AS (
    UPDATE untold AS u SET received_at = $3::timestamptz
    WHERE (u.business_id, u.conversation_id, u.message_id) = (
        SELECT n.business_id, n.conversation_id, n.message_id FROM untold AS n
        WHERE n.business_id = $1::text AND n.conversation_id = $2::bigint
            AND n.state IN ('unread', 'asked', 'due')
        ORDER BY n.received_at DESC, n.message_id DESC LIMIT 1)
    RETURNING u.conversation_id
)
SELECT cardinality(t.message_ids) FROM turn AS t JOIN mended USING (conversation_id)
WHERE t.business_id = $1::text AND t.stage <> 'ended';

-- name: late_turns
-- The same where no sweep can wake the customer: nothing of his is unread, or a living process has it.
SELECT t.business_id, t.conversation_id, cardinality(t.message_ids) AS messages, t.closed_at AS since
FROM turn AS t
WHERE t.stage <> 'ended'
    AND greatest(t.closed_at, t.deadline_at, t.wait_until, t.effect_deadline_at, t.answer_ends_at)
        < $1::timestamptz
    AND (EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory'
            AND l.classid = 1919511158 AND l.objid = t.incarnation::oid
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
        OR NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = t.business_id
            AND u.conversation_id = t.conversation_id AND u.state IN ('unread', 'asked', 'due')));

-- name: told_letters
-- Nothing of a failed turn waits any more, nor is dead, and a later one was answered.
SELECT d.business_id, d.conversation_id, count(*) AS messages, min(d.created_at) AS since
FROM dead_letter AS d JOIN turn AS t ON t.business_id = d.business_id AND t.id = d.turn_id
WHERE d.closed_at IS NULL AND t.outcome = 'failed' AND coalesce(t.purpose, 'reply') = 'reply'
    AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = d.business_id
        AND u.conversation_id = d.conversation_id AND u.message_id = ANY (t.message_ids))
    AND NOT EXISTS (SELECT FROM message AS m WHERE m.business_id = d.business_id
        AND m.id = ANY (t.message_ids) AND m.fate = 'dead')
    AND EXISTS (SELECT FROM turn AS l WHERE l.business_id = d.business_id
        AND l.conversation_id = d.conversation_id AND l.outcome IN ('answered', 'no_reply')
        AND l.closed_at > d.created_at)
GROUP BY d.business_id, d.conversation_id;

-- name: mend_told_letters
WITH mended AS (
    UPDATE dead_letter AS d SET closed_at = $3::timestamptz, closed_as = 'superseded'
    FROM turn AS t
    WHERE d.business_id = $1::text AND d.conversation_id = $2::bigint AND d.closed_at IS NULL
        AND t.business_id = d.business_id AND t.id = d.turn_id AND t.outcome = 'failed'
        AND coalesce(t.purpose, 'reply') = 'reply'
        AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = d.business_id
            AND u.conversation_id = d.conversation_id AND u.message_id = ANY (t.message_ids))
        AND NOT EXISTS (SELECT FROM message AS m WHERE m.business_id = d.business_id
            AND m.id = ANY (t.message_ids) AND m.fate = 'dead')
        AND EXISTS (SELECT FROM turn AS l WHERE l.business_id = d.business_id
            AND l.conversation_id = d.conversation_id AND l.outcome IN ('answered', 'no_reply')
            AND l.closed_at > d.created_at)
    RETURNING d.turn_id
)
SELECT count(*) FROM mended;

-- name: unfounded_letters
-- Open, and their turn has not failed: it ended otherwise.
SELECT d.business_id, d.conversation_id, count(*) AS messages, min(d.created_at) AS since
FROM dead_letter AS d JOIN turn AS t ON t.business_id = d.business_id AND t.id = d.turn_id
WHERE d.closed_at IS NULL AND t.outcome <> 'failed'
GROUP BY d.business_id, d.conversation_id;

-- name: mend_unfounded_letters
WITH mended AS (
    UPDATE dead_letter AS d SET closed_at = $3::timestamptz, closed_as = 'superseded'
    FROM turn AS t
    WHERE d.business_id = $1::text AND d.conversation_id = $2::bigint AND d.closed_at IS NULL
        AND t.business_id = d.business_id AND t.id = d.turn_id AND t.outcome <> 'failed'
    RETURNING d.turn_id
)
SELECT count(*) FROM mended;

-- name: early_letters
-- Open, while their turn goes on: should it fail, there would be no letter of that.
SELECT d.business_id, d.conversation_id, count(*) AS messages, min(d.created_at) AS since
FROM dead_letter AS d JOIN turn AS t ON t.business_id = d.business_id AND t.id = d.turn_id
WHERE t.outcome IS NULL
GROUP BY d.business_id, d.conversation_id;

-- name: mend_early_letters
WITH mended AS (
    DELETE FROM dead_letter AS d USING turn AS t
    WHERE d.business_id = $1::text AND d.conversation_id = $2::bigint
        AND t.business_id = d.business_id AND t.id = d.turn_id AND t.outcome IS NULL
    RETURNING d.turn_id
)
SELECT count(*) FROM mended;

-- name: without_address
-- Nothing leads to them; the key of a phone says what should.
SELECT c.business_id, c.id AS conversation_id, 1 AS messages, c.created_at AS since
FROM conversation AS c
WHERE starts_with(c.canonical_key, 'phone:' || c.business_id || ':')
    AND length(c.canonical_key) > length('phone:' || c.business_id || ':')
    AND NOT EXISTS (SELECT FROM address AS a
        WHERE a.business_id = c.business_id AND a.conversation_id = c.id)
    AND NOT EXISTS (SELECT FROM address AS a WHERE a.business_id = c.business_id
        AND a.kind = 'phone' AND a.scope = ''
        AND a.value = substr(c.canonical_key, length('phone:' || c.business_id || ':') + 1));

-- name: mend_without_address
WITH mended AS (
    INSERT INTO address (business_id, kind, scope, value, conversation_id)
    SELECT c.business_id, 'phone', '',
        substr(c.canonical_key, length('phone:' || c.business_id || ':') + 1), c.id
    FROM conversation AS c
    WHERE c.business_id = $1::text AND c.id = $2::bigint
        AND NOT EXISTS (SELECT FROM address AS a
            WHERE a.business_id = c.business_id AND a.conversation_id = c.id)
    ON CONFLICT DO NOTHING
    RETURNING conversation_id
)
SELECT count(*) FROM mended;

-- name: out_of_reach
SELECT c.business_id, c.id AS conversation_id, 1 AS messages, c.created_at AS since
FROM conversation AS c
WHERE NOT EXISTS (SELECT FROM address AS a
        WHERE a.business_id = c.business_id AND a.conversation_id = c.id)
    AND (NOT starts_with(c.canonical_key, 'phone:' || c.business_id || ':')
        OR EXISTS (SELECT FROM address AS a WHERE a.business_id = c.business_id
            AND a.kind = 'phone' AND a.scope = ''
            AND a.value = substr(c.canonical_key, length('phone:' || c.business_id || ':') + 1)));

-- name: early_statuses
SELECT s.business_id, NULL::bigint AS conversation_id, count(*) AS messages,
    min(s.received_at) AS since
FROM early_status AS s
WHERE s.received_at < $1::timestamptz
GROUP BY s.business_id;

-- name: mend_early_statuses
-- They are of no conversation.
WITH mended AS (
    DELETE FROM early_status
    WHERE $2::bigint IS NULL AND business_id = $1::text
        AND received_at < $3::timestamptz - interval '1 hour'
    RETURNING key
)
SELECT count(*) FROM mended;

-- name: orphans
-- Rows whose foreign key was off when what they hang on went away.
SELECT o.business_id, o.conversation_id, count(*) AS messages, min(o.since) AS since
FROM (
    SELECT m.business_id, m.conversation_id, m.received_at AS since FROM message AS m
    WHERE NOT EXISTS (SELECT FROM conversation AS c
        WHERE c.business_id = m.business_id AND c.id = m.conversation_id)
    UNION ALL
    SELECT a.business_id, a.conversation_id, NULL FROM address AS a
    WHERE NOT EXISTS (SELECT FROM conversation AS c
        WHERE c.business_id = a.business_id AND c.id = a.conversation_id)
    UNION ALL
    SELECT t.business_id, t.conversation_id, t.opened_at FROM turn AS t
    WHERE NOT EXISTS (SELECT FROM conversation AS c
        WHERE c.business_id = t.business_id AND c.id = t.conversation_id)
    UNION ALL
    SELECT k.business_id, NULL, NULL FROM message_key AS k
    WHERE NOT EXISTS (SELECT FROM message AS m
        WHERE m.business_id = k.business_id AND m.id = k.message_id)
    UNION ALL
    SELECT o.business_id, NULL, o.created_at FROM outbox AS o
    WHERE NOT EXISTS (SELECT FROM message AS m
            WHERE m.business_id = o.business_id AND m.id = o.message_id)
        OR NOT EXISTS (SELECT FROM turn AS t
            WHERE t.business_id = o.business_id AND t.id = o.turn_id)
    UNION ALL
    SELECT d.business_id, d.conversation_id, d.created_at FROM dead_letter AS d
    WHERE NOT EXISTS (SELECT FROM turn AS t
        WHERE t.business_id = d.business_id AND t.id = d.turn_id)
) AS o
GROUP BY o.business_id, o.conversation_id;
