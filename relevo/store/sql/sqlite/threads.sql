-- The file of the systems replaced, spoken to in SQLite's SQL. Read in pages by rowid, so that nobody
-- who writes to the file waits for us between two pages.

-- name: columns
SELECT name FROM pragma_table_info('threads');

-- name: count
SELECT count(*) FROM threads;

-- name: page
SELECT rowid AS row_number, * FROM threads WHERE rowid > ? ORDER BY rowid LIMIT ?;

-- name: clear
UPDATE threads SET conversation_id = NULL WHERE rowid = ?;
