-- What a sweep may see: ids, no bodies. Runs as relevo_sweep.

-- name: unread_since
-- Conversations with unread rows of the last minutes, with how many, and whether any is pressing: a
-- person's request, or something of ours to be sent, which waits for no burst.
SELECT business_id, conversation_id, count(*) AS unread, bool_or(state <> 'unread') AS pressing
FROM untold
WHERE state IN ('unread', 'asked', 'due') AND received_at > $1::timestamptz
GROUP BY business_id, conversation_id;

-- name: unread_all
-- Everything that wants to go on: unread rows of any age, and open turns. For taking over: first
-- whoever waits for nothing but a send, then whoever has waited longest.
SELECT business_id, conversation_id, count(state) AS unread,
    coalesce(bool_or(state <> 'unread'), false) AS pressing
FROM (
    SELECT business_id, conversation_id, received_at, state FROM untold
    WHERE state IN ('unread', 'asked', 'due')
    UNION ALL
    SELECT business_id, conversation_id, NULL, NULL FROM turn WHERE stage <> 'ended'
) AS waiting
GROUP BY business_id, conversation_id
ORDER BY min(received_at) NULLS FIRST;

-- name: crowded
-- Conversations with more unread rows than one customer may have, whatever their age.
SELECT business_id, conversation_id FROM untold
WHERE state IN ('unread', 'asked', 'due')
GROUP BY business_id, conversation_id HAVING count(*) > $1::int
ORDER BY count(*) DESC
LIMIT $2::int;

-- name: addresses_of
-- How these conversations are reached. Runs as relevo_ingest: a sweep sees no address.
SELECT a.business_id, a.kind, a.scope, a.value
FROM unnest($1::text[], $2::bigint[]) AS c (business_id, conversation_id)
    JOIN address AS a
        ON a.business_id = c.business_id AND a.conversation_id = c.conversation_id;

-- name: wishing
-- Businesses with links to carry out.
SELECT DISTINCT business_id FROM link;

-- name: touched
-- Conversations that were merged or parted lately, perhaps by another process: rows have moved there
-- that are older than what a sweep looks for.
SELECT business_id, survivor_id, loser_id, greatest(merged_at, undone_at) AS at FROM merge
WHERE greatest(merged_at, undone_at) > $1::timestamptz;

-- name: erasing
-- Businesses of which something is left to be erased at the AI.
SELECT DISTINCT business_id FROM ai_erasure;

-- name: channels_of_others
SELECT id, business_id FROM channel
WHERE id = ANY ($1::text[]) AND business_id <> $2::text
ORDER BY id;

-- name: incarnate
SELECT nextval('incarnation_id')::int;

-- name: hold_incarnation
-- Held for as long as the session lives; kill -9 frees it at once.
SELECT pg_try_advisory_lock(1919511158, $1::int);
