"""`relevo quarantine`: what was delivered and could not be read, and its way back."""

import argparse
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from relevo.commands import opening
from relevo.commands.listing import Listing, show_list
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.replaying import Replayer
    from relevo.settings import Config
    from relevo.store.pools import Pools
    from relevo.store.quarantined import Kept

CHARACTERS_MAX = 20_000
"""Shown of a body; `--raw` gives all of it."""


class Reader(NamedTuple):
    """What it takes to replay."""

    replayer: "Replayer"
    pools: "Pools"


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    what = "deliveries that could not be read: look, and have them read again"
    group = commands.add_parser("quarantine", help=what, allow_abbrev=False)
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    listing = opening.add(inner, "list", "those not replayed yet, newest first", _list)
    opening.add_list(listing, "replayed")
    show = opening.add(inner, "show", "one with its body", _show)
    opening.add_which(show, "a kept delivery")
    show.add_argument("--raw", action="store_true", help="the body's bytes and nothing else")
    replay = opening.add(inner, "replay", "read it again and deliver it", _replay)
    opening.add_which_or_all(
        replay, "a kept delivery", "every one not replayed yet, in the order in which they came"
    )


async def _list(options: argparse.Namespace) -> int:
    from relevo.store.quarantined import bodies

    listing: Listing[Kept] = Listing(
        newest=partial(bodies, replayed=options.all),
        id_of=lambda kept: kept.id,
        nothing="Nothing is in the quarantine.",
        columns=["id", "received", "business", "channel", "reason", "bytes", "replayed"],
        row=_row,
    )
    return await show_list(options, listing)


async def _show(options: argparse.Namespace) -> int:
    from relevo import telling, terminal

    config = opening.config(options)
    async with opening.connected(config) as database:
        found = await _find(options, database.pools)
    if found is None:
        return _nothing(options.id)
    kept, raw = found
    if options.raw:
        telling.show_bytes(raw)
        return WELL
    replayed = "" if kept.replayed_at is None else f", replayed {telling.at(kept.replayed_at)}"
    telling.say(f"Delivery {kept.id} of {kept.business_id}, by channel {kept.channel_id}{replayed}")
    telling.say(f"  received {telling.at(kept.received_at)}: {kept.reason}")
    text = raw[: 4 * CHARACTERS_MAX].decode(errors="backslashreplace")[:CHARACTERS_MAX]
    terminal.quote(terminal.console(), "  ", text)
    left_out = kept.size_bytes - len(text.encode(errors="replace"))
    if left_out > 0:
        telling.say(f"  … and {telling.counted(left_out, 'byte')} more; --raw gives all.")
    return WELL


async def _replay(options: argparse.Namespace) -> int:
    config = opening.config(options)
    async with _reader(config) as reader:
        return await (_replay_all if options.all else _replay_one)(options, reader)


async def _replay_one(options: argparse.Namespace, reader: Reader) -> int:
    from relevo import telling

    found = await _find(options, reader.pools)
    if found is None:
        return _nothing(options.id)
    if (at := found[0].replayed_at) is not None:
        telling.say(f"Delivery {options.id} was replayed {telling.at(at)}.")
        return BAD
    if reasons := await _read_again(reader, found[0].business_id, options.id):
        telling.say(f"Delivery {options.id} is kept: {', '.join(dict.fromkeys(reasons))}.")
        return BAD
    telling.say(f"Delivery {options.id} is replayed; a server that runs begins within seconds.")
    return WELL


async def _replay_all(options: argparse.Namespace, reader: Reader) -> int:
    from relevo import telling
    from relevo.store.quarantined import waiting_ids

    businesses = opening.businesses(opening.config(options), options.business)
    which = [(b.id, kept) for b in businesses for kept in await waiting_ids(reader.pools, b.id)]
    still = Counter[str]()
    done = 0
    for business_id, kept_id in telling.tracked(which, "deliveries"):
        reasons = await _read_again(reader, business_id, kept_id)
        done += not reasons
        still.update(set(reasons))
    telling.say(f"{telling.counted(done, 'delivery', 'deliveries')} replayed.")
    for reason, number in sorted(still.items()):
        telling.say(f"{telling.counted(number, 'delivery', 'deliveries')} kept: {reason}.")
    return BAD if still else WELL


async def _read_again(reader: Reader, business_id: str, kept_id: int) -> list[str]:
    from relevo.clock import SystemClock

    async with reader.pools.tenant(business_id) as connection:
        which = (business_id, kept_id, SystemClock().now())
        return await reader.replayer.replay(connection, *which) or []


@asynccontextmanager
async def _reader(config: "Config") -> AsyncIterator[Reader]:
    """Open what reads and delivers, as a server has it; the servers that run are not disturbed."""
    from relevo.clock import SystemClock
    from relevo.http.session import open_session
    from relevo.lines import OwnLine, open_channels
    from relevo.replaying import Replayer
    from relevo.store.inbox import Inbox
    from relevo.store.means import Means
    from relevo.store.placing import Placer
    from relevo.tasks import Tasks

    tasks, clock = Tasks(opening.report), SystemClock()
    async with opening.connected(config, tasks) as database, open_session() as session:
        inbox = Inbox(
            Means(database.pools, tasks, clock, _Unobserved()),
            placer=Placer(config.regions, config.portfolios),
            writer=database.incarnation.number,
            wake=lambda _key: None,
            sets_aside=False,
        )
        channels = open_channels(config, session, clock, OwnLine("", ""))
        yield Reader(Replayer(channels, inbox), database.pools)
        await tasks.cancel()


class _Unobserved:
    """A command has no metrics."""

    def identity_resolved(self, outcome: str, count: int) -> None:
        """Observe nothing."""

    def changed(self, kind: str, outcome: str, changes: int) -> None:
        """Observe nothing."""

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        """Say nothing."""


async def _find(options: argparse.Namespace, pools: "Pools") -> "tuple[Kept, bytes] | None":
    from relevo.store.quarantined import body

    businesses = opening.businesses(opening.config(options), options.business)
    tried = [await body(pools, business.id, options.id) for business in businesses]
    found = [one for one in tried if one is not None]
    return opening.only_one(found, lambda one: one[0].business_id, f"delivery {options.id}")


def _nothing(kept_id: int) -> int:
    from relevo import telling

    telling.say(f"There is no delivery {kept_id} in the quarantine.")
    return BAD


def _row(kept: "Kept") -> list[str]:
    from relevo import telling

    return [
        str(kept.id),
        telling.at(kept.received_at),
        kept.business_id,
        kept.channel_id,
        kept.reason,
        str(kept.size_bytes),
        "" if kept.replayed_at is None else telling.at(kept.replayed_at),
    ]
