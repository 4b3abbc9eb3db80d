"""Looking for a customer in every column of every table, whatever its type."""

import asyncpg

from relevo.store.embedded import DatabaseUrls

COLUMNS = (
    "SELECT c.relname AS table, array_agg(CASE WHEN a.atttypid = 'bytea'::regtype"
    " THEN format('encode(%1$I, ''escape'') AS %1$I', a.attname)"
    " ELSE format('%1$I::text', a.attname) END) AS columns"
    " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
    " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
    " AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1 ORDER BY 1"
)


async def traces(urls: DatabaseUrls, *canaries: str) -> set[str]:
    """Return where any of these stands, as table.column."""
    found = set()
    connection = await asyncpg.connect(urls.owner_url)
    try:
        for table, columns in await connection.fetch(COLUMNS):
            for row in await connection.fetch(f"SELECT {', '.join(columns)} FROM {table}"):
                texts = ((name, text) for name, text in row.items() if text is not None)
                found |= {f"{table}.{n}" for n, t in texts if any(c in t for c in canaries)}
    finally:
        await connection.close()
    return found
