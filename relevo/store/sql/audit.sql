-- The conservation law. Runs as the owner, whose maintenance sees every business.

-- name: balance
-- What was accepted, counted by ingest, against what the messages say became of it.
SELECT b.business_id,
    coalesce((SELECT sum(a.messages) FROM accepted AS a
        WHERE a.business_id = b.business_id), 0)::bigint AS accepted,
    coalesce((SELECT jsonb_object_agg(f.fate, f.messages) FROM (
        SELECT m.fate, count(*) AS messages FROM message AS m
        WHERE m.business_id = b.business_id AND m.author = 'customer' AND m.source = 'webhook'
        GROUP BY m.fate) AS f), '{}') AS fates
FROM business AS b
ORDER BY b.business_id;

-- name: stranded
-- In flight, and nothing will ever look at them: neither unread nor in an open turn.
SELECT m.business_id, count(*) AS messages, min(m.received_at) AS since
FROM message AS m
WHERE m.author = 'customer' AND m.source = 'webhook' AND m.fate = 'in_flight'
    AND NOT EXISTS (SELECT FROM untold AS u WHERE u.business_id = m.business_id
        AND u.conversation_id = m.conversation_id AND u.message_id = m.id)
    AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
        AND t.conversation_id = m.conversation_id AND t.stage <> 'ended'
        AND m.id = ANY (t.message_ids))
GROUP BY m.business_id
ORDER BY m.business_id;

-- name: unexplained
-- A fate that only a turn can give, and no turn that gave it; or one that only its author can.
SELECT m.business_id, count(*) AS messages, min(m.received_at) AS since
FROM message AS m
WHERE m.author = 'customer' AND m.source = 'webhook'
    AND (m.fate IN ('answered', 'answered_by_human', 'no_reply', 'refused', 'dead')
        AND NOT EXISTS (SELECT FROM turn AS t WHERE t.business_id = m.business_id
            AND t.conversation_id = m.conversation_id AND m.id = ANY (t.message_ids)
            AND t.outcome = CASE m.fate WHEN 'dead' THEN 'failed' ELSE m.fate END)
        OR m.fate = 'revoked' AND m.revoked_at IS NULL)
GROUP BY m.business_id
ORDER BY m.business_id;

-- name: open_gaps
-- Customers to whom a recall is owed, and when the first of their turns asked in vain.
SELECT count(*) AS customers, min(coalesce((
        SELECT min(t.closed_at) FROM turn AS t
        WHERE t.business_id = c.business_id AND t.conversation_id = c.id
            AND t.recall_reasons <> '{}' AND t.recall <> 'complete'
            AND (c.known_to IS NULL OR t.closed_at > c.known_to)
    ), c.owed_since)) AS oldest_at
FROM conversation AS c
WHERE c.owed_since IS NOT NULL;

-- name: contents
-- What a database without tables would no longer have.
SELECT (SELECT count(*) FROM conversation) AS conversations,
    (SELECT count(*) FROM message) AS messages;
