"""One customer, one thread: links, merges, keys, sends with a time, changes, imports, erasure."""

from collections.abc import Callable

revision = "0004"
down_revision = "0003"


def upgrade(load: Callable[[str], None]) -> None:
    """Go forward."""
    load("0004_identity.up.sql")


def downgrade(load: Callable[[str], None]) -> None:
    """Go back."""
    load("0004_identity.down.sql")
