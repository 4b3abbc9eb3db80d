"""What ingest and sweeps may see besides."""

from collections.abc import Callable

revision = "0002"
down_revision = "0001"


def upgrade(load: Callable[[str], None]) -> None:
    """Go forward."""
    load("0002_proofs.up.sql")


def downgrade(load: Callable[[str], None]) -> None:
    """Go back."""
    load("0002_proofs.down.sql")
