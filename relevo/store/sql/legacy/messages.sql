-- The tables of an older CRM, in its own database: every row as JSON, for nobody knows its columns.

-- name: there
SELECT to_regclass('whatsapp_message') IS NOT NULL AS messages,
    to_regclass('whatsapp_conversation') IS NOT NULL AS conversations;

-- name: count
SELECT count(*) FROM whatsapp_message;

-- name: alone
SELECT to_jsonb(m) AS message, NULL AS conversation
FROM whatsapp_message AS m
ORDER BY to_jsonb(m) -> 'id';

-- name: joined
SELECT to_jsonb(m) AS message, to_jsonb(c) AS conversation
FROM whatsapp_message AS m
    LEFT JOIN whatsapp_conversation AS c ON to_jsonb(c) ->> 'id' = coalesce(
        to_jsonb(m) ->> 'conversation_id', to_jsonb(m) ->> 'whatsapp_conversation_id')
ORDER BY to_jsonb(m) -> 'id';
