"""The sandbox of a process: a simulated provider that reaches us, and the page that shows it."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from relevo.clock import Clock
from relevo.http.sandbox_page import PageSettings
from relevo.http.sandbox_provider import FIRST_NUMBER, SandboxProvider, WebhookDelivery
from relevo.http.session import Session
from relevo.lines import OwnLine
from relevo.settings import Config
from relevo.store.database import Database
from relevo.store.inspection import why
from relevo.tasks import Tasks

NUMBERS = 9000
"""From how many the sandbox's first made-up phone number is drawn."""


def own_line(host: str, port: int) -> OwnLine:
    """Return how this process reaches itself, with a secret that nobody else knows."""
    return OwnLine(f"http://{_reachable(host)}:{port}", secrets.token_urlsafe(32))


def open_provider(
    config: Config, session: Session, clock: Clock, tasks: Tasks, own: OwnLine
) -> SandboxProvider | None:
    """Return the simulated provider, if a channel is its line."""
    line = next((c for c in config.channels if c.kind == "sandbox"), None)
    if line is None:
        return None
    url = f"{own.url}/webhooks/{line.id}"
    deliver = WebhookDelivery(clock, session, url, own.secret)
    # Another process's customers are not known to this one's provider, so they get new numbers.
    first_number = FIRST_NUMBER + secrets.randbelow(NUMBERS)
    return SandboxProvider(clock, deliver, tasks, first_number=first_number)


def page_settings(config: Config, database: Database, own_secret: str) -> PageSettings:
    """Return what the sandbox's page shows of the business behind it."""
    line = next(c for c in config.channels if c.kind == "sandbox")
    business = config.business(line.business)

    async def explain(phone: str) -> Sequence[Mapping[str, Any]]:
        told = await why(database.pools, business.id, phone, business.region, 20)
        return [_explained(turn) for conversation in told for turn in conversation["turns"]]

    return PageSettings(
        secret=own_secret,
        quiet_seconds=business.quiet_seconds,
        gap_seconds=business.gap_seconds,
        explain=explain,
        host=config.server.host,
    )


def _reachable(host: str) -> str:
    """Return an address under which this process reaches itself."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not bound)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _explained(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn as the sandbox page shows it."""
    return {
        "at": turn["closed_at"],
        "verdict": turn["verdict"],
        "silence_seconds": turn["silence_seconds"],
        "recall": turn["recall"],
        "recalled": turn["recalled"],
        "missed": len(turn["missed"]) + turn["missed_left_out"],
        "outcome": turn["outcome"],
        "reason": turn["reason"],
    }
