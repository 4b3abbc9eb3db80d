-- Rows of our own making that wait in a conversation, and where its customer is reached. Runs as
-- relevo_app, under the tenant setting.

-- name: lock
-- Before anything else is read or written, as turn commits do.
SELECT id FROM conversation WHERE business_id = $1::text AND id = $2::bigint FOR NO KEY UPDATE;

-- name: raise_version
-- Locks too, and has memory read the conversation again.
UPDATE conversation SET version = version + 1
WHERE business_id = $1::text AND id = $2::bigint
RETURNING id;

-- name: reached_at
-- Where the customer wrote last; an edit has no place of its own. Who has never written is reached
-- nowhere.
SELECT m.channel_id, m.address_kind, m.address_value FROM message AS m
WHERE m.business_id = $1::text AND m.conversation_id = $2::bigint AND m.author = 'customer'
    AND m.kind <> 'edit'
ORDER BY m.event_at DESC, m.id DESC
LIMIT 1;

-- name: put_waiting
-- A message that nobody has said yet, with why it waits: `due` to be sent, or `asked` of us. Takes one
-- JSON array of rows; the conversations have been locked by whoever runs it.
WITH news AS (
    SELECT coalesce(t.id, nextval('message_id')) AS id, t.conversation_id, t.channel_id,
        t.address_kind, t.address_value, t.author, coalesce(t.author_name, '') AS author_name,
        t.kind, t.body, t.source, t.state, t.at
    FROM jsonb_to_recordset($2::jsonb) AS t (id bigint, conversation_id bigint, channel_id text,
        address_kind text, address_value text, author text, author_name text, kind text, body text,
        source text, state text, at timestamptz)
), message AS (
    INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
        author, author_name, kind, body, source, event_at, received_at)
    SELECT $1::text, news.id, news.conversation_id, news.channel_id, news.address_kind,
        news.address_value, news.author, news.author_name, news.kind, news.body, news.source,
        news.at, news.at
    FROM news
)
INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
SELECT $1::text, news.conversation_id, news.id, news.state, news.at FROM news
RETURNING message_id;
