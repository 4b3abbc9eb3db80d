"""PostgreSQL: the truth. Owns asyncpg, the embedded server, the SQL and the migrations."""
