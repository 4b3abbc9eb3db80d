"""The first schema."""

from collections.abc import Callable

revision = "0001"
down_revision = None


def upgrade(load: Callable[[str], None]) -> None:
    """Go forward."""
    load("0001_first.up.sql")


def downgrade(load: Callable[[str], None]) -> None:
    """Go back."""
    load("0001_first.down.sql")
