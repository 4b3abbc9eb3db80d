"""${message}."""

from collections.abc import Callable

revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if down_revision else None}


def upgrade(load: Callable[[str], None]) -> None:
    """Go forward."""
    load("${up_revision}_${message.lower().replace(' ', '_')}.up.sql")


def downgrade(load: Callable[[str], None]) -> None:
    """Go back."""
    load("${up_revision}_${message.lower().replace(' ', '_')}.down.sql")
