"""One line of every kind of channel, each of a business of its own. All secrets are made up."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from relevo.clock import Clock
from relevo.config import load
from relevo.http.channels import ChannelAdapter
from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from relevo.settings import Channel
from tests.fakes.cloud_api import LINE
from tests.fakes.evolution import INSTANCE
from tests.fakes.twilio import ACCOUNT, SENDER
from tests.house import SECRET, TOKEN

KINDS: tuple[str, ...] = get_args(Channel.model_fields["kind"].annotation)

PUBLIC_URL = "https://relevo.example.com/webhooks"
SECRETS = {"WATI_TOKEN": TOKEN, "WATI_SECRET": SECRET}
"""Named as in the house, which has a line at WATI of its own."""

NOWHERE = "http://127.0.0.1:9"
_OF_A_PROVIDER = {"token_env": "WATI_TOKEN", "webhook_secret_env": "WATI_SECRET"}
_OWN: Mapping[str, Mapping[str, str]] = {
    "sandbox": {},
    "wati": {**_OF_A_PROVIDER, "assistant_operator": "ai@example.com"},
    "manychat": _OF_A_PROVIDER,
    "360dialog": _OF_A_PROVIDER,
    "evolution": {**_OF_A_PROVIDER, "instance": INSTANCE},
    "cloud_api": {**_OF_A_PROVIDER, "phone_number_id": LINE, "verify_token_env": "WATI_SECRET"},
    "twilio": {
        "token_env": "WATI_TOKEN",
        "account_sid": ACCOUNT,
        "sender": SENDER,
        "public_url": f"{PUBLIC_URL}/twilio",
    },
}


def configuration(
    urls: Mapping[str, str], region: str = "IL", kinds: Iterable[str] = KINDS, **settings: float
) -> str:
    """Return a line of each kind as TOML; see `named` for its id, and its business's.

    `urls` are where the providers are; a kind without one has a provider that is never called.
    """
    tables = []
    for kind in kinds:
        business = {"id": named(kind), "region": region, **settings}
        channel = {"id": named(kind), "business": named(kind), "kind": kind, **_OWN[kind]}
        if kind != "sandbox":
            channel["base_url"] = urls.get(kind, NOWHERE)
        tables += [f"[[business]]\n{_toml(business)}", f"[[channel]]\n{_toml(channel)}"]
    return "\n".join(tables)


def named(kind: str) -> str:
    """Return the id of the line of a kind, and of its business."""
    return kind.replace("_", "-")


async def adapters(folder: Path, clock: Clock) -> Mapping[str, ChannelAdapter]:
    """Make the adapter of every kind, to read with; their session is closed already."""
    path = folder / "relevo.toml"
    path.write_text(configuration({}))
    async with open_session() as session:
        own = OwnLine(NOWHERE, "made-up")
        lines = open_channels(load(path, SECRETS), session, clock, own)
    return {kind: lines[named(kind)] for kind in KINDS}


def _toml(table: Mapping[str, object]) -> str:
    return "\n".join(
        f"{name} = {value}" if isinstance(value, int | float) else f'{name} = "{value}"'
        for name, value in table.items()
    )
