"""What has to be remembered when something fails: holds, requests, sends of our own, doubts."""

from collections.abc import Callable

revision = "0003"
down_revision = "0002"


def upgrade(load: Callable[[str], None]) -> None:
    """Go forward."""
    load("0003_survival.up.sql")


def downgrade(load: Callable[[str], None]) -> None:
    """Go back."""
    load("0003_survival.down.sql")
