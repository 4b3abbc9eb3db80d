"""`relevo forget`: a customer, or what is too old, is erased here and at the AI."""

import argparse
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.messages import ConversationKey
    from relevo.settings import Business, Config
    from relevo.store.erasing import Erased
    from relevo.store.forgetting import Counts
    from relevo.store.pools import Pools

DAYS_MAX = 36_500
LOOKS_MAX = 5
"""At whom an address leads to: who is merged or parted meanwhile is somebody else by then."""

EPILOG = (
    "Nothing of it can be brought back. What a backup holds, and what the provider has, is not "
    "touched. Safe to repeat; what the AI could not be asked for is asked for again, also by a "
    "server that runs, once an hour. Exit codes: 0 erased here and at the AI; 1 nobody is known, "
    "or something is left at the AI; 2 it cannot be done."
)


def add(commands: Commands) -> None:
    """Add the command of this module."""
    forget = opening.add(commands, "forget", "erase a customer, here and at the AI", _forget)
    forget.epilog = EPILOG
    which = forget.add_mutually_exclusive_group(required=True)
    opening.add_address(forget, which)
    which.add_argument(
        "--older-than",
        type=opening.whole(1, DAYS_MAX),
        metavar="DAYS",
        help="instead of a customer: what was said before so many days",
    )
    forget.add_argument("--yes", action="store_true", help="do erase")
    forget.add_argument("--json", action="store_true", help="for a script")


async def _forget(options: argparse.Namespace) -> int:
    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        if options.older_than is not None:
            counts = await _outlive(options, businesses, database.pools)
        else:
            counts = await _one(options, businesses, database.pools)
        at_the_ai = await _at_the_ai(config, businesses, database.pools)
    return _tell(options, counts, at_the_ai)


async def _one(
    options: argparse.Namespace, businesses: "list[Business]", pools: "Pools"
) -> "Counts":
    """Forget whoever the address leads to, and what names him where nobody is known."""
    from relevo.clock import SystemClock
    from relevo.identity import PHONE
    from relevo.messages import Address
    from relevo.store.forgetting import Counts, extent, forget, forget_named, named_by
    from relevo.store.holding import known

    async def those_known() -> "list[tuple[Business, ConversationKey]]":
        return [
            (business, one.key)
            for business in businesses
            for one in await known(pools, business.id, options.address, business.region)
        ]

    counts = Counts()
    if not options.yes:
        for _, key in await those_known():
            counts += await extent(pools, key)
        _refuse(f"forgetting this customer erases {_counted(counts)} for good")
    for _ in range(LOOKS_MAX):
        if not (found := await those_known()):
            break
        for business, key in found:
            counts += await forget(pools, key, business.region, SystemClock())
    for business in businesses:
        named = named_by([Address(PHONE, options.address)], business.region)
        counts += await forget_named(pools, business.id, named)
    return counts


async def _outlive(
    options: argparse.Namespace, businesses: "list[Business]", pools: "Pools"
) -> "Counts":
    """Erase what was said too long ago; who has a turn under way keeps it until the next time."""
    from relevo.clock import SystemClock
    from relevo.store.forgetting import Counts
    from relevo.store.retention import cutoff, outlive

    now = SystemClock().now()
    before = cutoff(now, options.older_than)
    if not options.yes:
        _refuse(f"this erases all that was said before {before:%Y-%m-%d} for good")
    counts = Counts()
    for business in businesses:
        erased, _ = await outlive(pools, business.id, before, now)
        counts += erased
    return counts


async def _at_the_ai(
    config: "Config", businesses: "list[Business]", pools: "Pools"
) -> "dict[str, Erased]":
    """Erase what is noted, of these businesses; the AI is reached only where there is something."""
    from relevo.clock import SystemClock
    from relevo.lines import open_assistants
    from relevo.store.erasing import WAITS_SECONDS, businesses_noted, erase_noted

    noted = {business.id for business in businesses}.intersection(await businesses_noted(pools))
    if not noted:
        return {}
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        assistants = open_assistants(config, stack, clock, _Unobserved())
        return {
            business_id: await erase_noted(
                pools, business_id, assistants[business_id], clock, waits_seconds=WAITS_SECONDS
            )
            for business_id in sorted(noted)
        }


def _tell(options: argparse.Namespace, counts: "Counts", at_the_ai: "dict[str, Erased]") -> int:
    from relevo import telling

    done = sum(erased.done for erased in at_the_ai.values())
    left = sum(erased.left for erased in at_the_ai.values())
    reasons = sorted({erased.reason for erased in at_the_ai.values() if erased.reason})
    if options.json:
        telling.show_json({**counts, "ai": {"erased": done, "left": left, "reasons": reasons}})
    elif counts.total() or done:
        telling.say(f"Erased: {_counted(counts)}; {telling.counted(done, 'thing')} at the AI.")
    elif not left:
        telling.say("Nobody is known under this address, and nothing is left to be erased.")
    if left and not options.json:
        why = f" ({', '.join(reasons)})" if reasons else ""
        telling.say(
            f"{telling.counted(left, 'thing')} could not be erased at the AI yet{why}: repeat "
            "this, or leave it to a server that runs, which asks again every hour."
        )
    return WELL if (counts.total() or done) and not left else BAD


def _counted(counts: "Counts") -> str:
    from relevo import telling

    kinds = (
        ("conversations", "conversation", "conversations"),
        ("messages", "message", "messages"),
        ("turns", "turn", "turns"),
        ("deliveries", "delivery of the quarantine", "deliveries of the quarantine"),
    )
    return ", ".join(telling.counted(counts[what], one, more) for what, one, more in kinds)


def _refuse(what: str) -> None:
    from relevo.errors import ConfigError

    raise ConfigError(f"{what}; repeat it with --yes if that is what you want")


class _Unobserved:
    """A command has no metrics."""

    def assistant_braked(self) -> None:
        """Say nothing."""

    def assistant_client_renewed(self) -> None:
        """Say nothing."""

    def assistant_rejected(self, reason: str) -> None:
        """Say nothing."""

    def assistant_circuit(self, before: str, after: str) -> None:
        """Say nothing."""
