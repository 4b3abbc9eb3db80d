"""What each kind of channel can do: declared, told in docs/channels.md, and so."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from fuzz.targets import samples
from relevo.config import load
from relevo.http.channels import ChannelAdapter
from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from relevo.messages import (
    Address,
    AddressChange,
    Arrival,
    Author,
    Edit,
    InboundMessage,
    Revocation,
    StatusUpdate,
)
from relevo.metrics.contract import OTHER, PROVIDERS
from relevo.turns import RecallStatus
from tests.channels_table import TOLD, rewritten
from tests.every_line import KINDS, NOWHERE, SECRETS, configuration, named
from tests.fakes.clock import ManualClock
from tests.manychat_rig import NOW

Lines = Mapping[str, ChannelAdapter]

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[Lines]:
    """A line of each kind, at the time of the samples; no provider is there."""
    path = tmp_path / "relevo.toml"
    path.write_text(configuration({}))
    async with open_session() as session:
        own = OwnLine(NOWHERE, "made-up")
        opened = open_channels(load(path, SECRETS), session, ManualClock(NOW), own)
        yield {kind: opened[named(kind)] for kind in KINDS}


def read(kind: str, lines: Lines) -> list[Arrival]:
    """Read every sample of a kind."""
    bodies = [path.read_bytes() for path in samples(f"{kind}/webhook")]
    return [arrival for body in bodies for arrival in lines[kind].parse(body)]


def messages(kind: str, lines: Lines) -> list[InboundMessage]:
    return [arrival for arrival in read(kind, lines) if isinstance(arrival, InboundMessage)]


def test_the_document_tells_what_the_adapters_declare() -> None:
    told = TOLD.read_text(encoding="utf-8")
    assert told == rewritten(told), "run: python -m tests.channels_table"
    assert all(told.count(f"\n| `{kind}` |") == 2 for kind in KINDS)


def test_every_kind_has_metrics_of_its_own() -> None:
    assert {*KINDS} == {*PROVIDERS} - {OTHER}


@each_kind
async def test_every_address_that_samples_carry_is_declared_in_its_order(
    kind: str, lines: Lines
) -> None:
    order = lines[kind].abilities.addresses
    carried = [[address.kind for address in each.addresses] for each in messages(kind, lines)]
    assert {kind for kinds in carried for kind in kinds} == {*order}
    assert all(kinds == sorted(kinds, key=order.index) for kinds in carried)


@each_kind
async def test_what_is_told_of_messages_and_people_is_declared_where_samples_have_it(
    kind: str, lines: Lines
) -> None:
    can, found = lines[kind].abilities, read(kind, lines)
    said = messages(kind, lines)
    assert any(each.event_at is not None for each in said) == bool(can.clock)
    assert any(isinstance(arrival, StatusUpdate) for arrival in found) == bool(can.statuses)
    assert any(isinstance(arrival, Edit | Revocation) for arrival in found) == bool(can.changes)
    assert any(isinstance(arrival, AddressChange) for arrival in found) == bool(can.moves)
    seen = any(each.author is Author.AGENT for each in said)
    assert seen == bool(can.colleagues and not can.colleagues.startswith("only in the history"))


@each_kind
async def test_a_provider_is_asked_for_a_history_only_where_there_is_one(
    kind: str, lines: Lines
) -> None:
    asked = Address("phone", "+15550101234")
    history = await lines[kind].history(asked, NOW, urgent=True)
    has_one = history.status is not RecallStatus.UNAVAILABLE
    assert has_one == bool(lines[kind].abilities.history)
