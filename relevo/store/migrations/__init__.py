"""The schema's history: Alembic scripts, each a name for a pair of plain SQL files."""
