"""`relevo identity`: who an address is, and a person's word on who is whom."""

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.settings import Business, Config
    from relevo.store.database import Database
    from relevo.store.linking import Named
    from relevo.store.merging import Done, Writer
    from relevo.store.parting import Undone

LEAD_CHARS_MAX = 200

WAIT_SECONDS_MAX = 30
"""How long a command waits for what is being sent; then a server that runs does the rest."""

RETRY_SECONDS = 1.0

FULFILLED = {
    "merged": "Both were known: their conversations are one now",
    "led": "Both lead to one conversation now",
    "needless": "Both lead to one conversation",
    "postponed": "Something is being sent at this moment; a server that runs merges them after it",
}
"""By `store.merging.Fulfilled`."""

WHY_NOT = {
    "unknown": "there is none",
    "undone_before": "it is undone already",
    "merged_since": "one of the two was merged again since; undo merge {first} first",
    "postponed": "something is being sent at this moment; try again",
}
"""By `store.parting.Undoing`."""

T = TypeVar("T")


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    what = "who an address is; link addresses and leads; undo a merge"
    group = commands.add_parser("identity", help=what, allow_abbrev=False)
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    show = opening.add(inner, "show", "how a customer is reached, and what was merged", _show)
    opening.add_address(show)
    show.add_argument("--json", action="store_true", help="for a script")
    link = opening.add(inner, "link", "have two addresses, or a lead, be one customer", _link)
    opening.add_address(link)
    link.add_argument(
        "other", metavar="OTHER", nargs="?", type=opening.address, help="another address of his"
    )
    link.add_argument("--lead", type=_lead, metavar="ID", help="his id in your CRM, instead")
    link.add_argument("--json", action="store_true", help="for a script")
    undo = opening.add(inner, "undo", "make two customers of one again", _undo)
    undo.add_argument(
        "id", metavar="MERGE", type=opening.whole(1, opening.ID_MAX), help="a merge (see `show`)"
    )
    undo.add_argument("--business", help="whose it is, should several have this id")
    undo.add_argument("--json", action="store_true", help="for a script")


async def _show(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store.linking import show

    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        found = [
            who
            for business in businesses
            for who in await show(database.pools, business.id, options.address, business.region)
        ]
    if options.json:
        telling.show_json({"address": options.address, "conversations": found})
    elif not found:
        telling.say(f"Nobody is known under {options.address}.")
    for who in found if not options.json else ():
        _tell(who)
    return WELL if found else BAD


async def _link(options: argparse.Namespace) -> int:
    from relevo.errors import ConfigError
    from relevo.store.linking import Named, lead_address, link
    from relevo.store.merging import Fulfilled, Reason, Wish

    if (options.other is None) == (options.lead is None):
        raise ConfigError("identity link: give either another address, or --lead with his id")
    config = opening.config(options)
    async with opening.connected(config) as database:
        business = await _business_of(options, config, database)
        one = await _named(database, business, options.address)
        if options.lead is None:
            reason, other = Reason.PERSON, await _named(database, business, options.other)
        else:
            reason, other = Reason.LEAD, Named(lead_address(options.lead), None)
        writer = _writer(database, business)
        wish = Wish(business.id, one.address, other.address, reason)
        done = await _patiently(
            lambda now: link(writer, wish, now),
            lambda done: done.fulfilled is Fulfilled.POSTPONED,
        )
    return _told(options, done)


async def _undo(options: argparse.Namespace) -> int:
    from relevo.store.linking import knows_merge
    from relevo.store.parting import Undoing, Undone, undo

    config = opening.config(options)
    async with opening.connected(config) as database:
        having = [
            business
            for business in opening.businesses(config, options.business)
            if await knows_merge(database.pools, business.id, options.id)
        ]
        business = opening.only_one(having, lambda one: one.id, f"merge {options.id}")
        if business is None:
            return _told_undone(options, Undone(Undoing.UNKNOWN))
        writer, business_id = _writer(database, business), business.id
        undone = await _patiently(
            lambda now: undo(writer, business_id, options.id, now),
            lambda undone: undone.undoing is Undoing.POSTPONED,
        )
    return _told_undone(options, undone)


async def _patiently(
    deed: "Callable[[datetime], Awaitable[T]]", is_postponed: Callable[[T], bool]
) -> T:
    """Do it, again and again while it has to wait, within bounds."""
    from relevo.clock import SystemClock, sleep

    clock = SystemClock()
    until = clock.monotonic() + WAIT_SECONDS_MAX
    done = await deed(clock.now())
    while is_postponed(done) and clock.monotonic() < until:
        await sleep(clock, RETRY_SECONDS)
        done = await deed(clock.now())
    return done


def _writer(database: "Database", business: "Business") -> "Writer":
    from relevo.store.merging import Writer

    return Writer(database.pools, business.region, database.incarnation.number())


async def _named(database: "Database", business: "Business", text: str) -> "Named":
    """Return the one address that a text names.

    Raises:
        ConfigError: if it names nobody, or several.
    """
    from relevo.errors import ConfigError
    from relevo.store.linking import named

    found = await named(database.pools, business.id, text, business.region)
    if not found:
        raise ConfigError(
            f"nobody is known under {text} at {business.id}, and it is no phone number; who is not "
            "known yet can only be named by a phone"
        )
    if len(found) > 1:
        raise ConfigError(f"{text} is the address of several customers of {business.id}")
    return found[0]


async def _business_of(
    options: argparse.Namespace, config: "Config", database: "Database"
) -> "Business":
    """Return whose customer the address is: the named business's, or the only one that knows him.

    Raises:
        ConfigError: if that leaves several, or none.
    """
    from relevo.errors import ConfigError
    from relevo.store.linking import named

    businesses = opening.businesses(config, options.business)
    if len(businesses) == 1:
        return businesses[0]
    knowing = [
        business
        for business in businesses
        for who in await named(database.pools, business.id, options.address, business.region)
        if who.conversation_id is not None
    ]
    one = opening.only_one(knowing, lambda business: business.id, options.address)
    if one is None:
        raise ConfigError(f"--business: name one; none knows {options.address} yet")
    return one


def _told(options: argparse.Namespace, done: "Done") -> int:
    from relevo import telling

    if options.json:
        found = {"conversation": done.conversation_id, "merge": done.merge_id}
        telling.show_json({"outcome": done.fulfilled, **found, "reason": done.reason})
    else:
        undo = f"; `relevo identity undo {done.merge_id}` parts them"
        telling.say(f"{FULFILLED[done.fulfilled]}{undo if done.merge_id is not None else ''}.")
    return BAD if done.fulfilled == "postponed" else WELL


def _told_undone(options: argparse.Namespace, undone: "Undone") -> int:
    from relevo import telling

    well = undone.undoing == "undone"
    if options.json:
        telling.show_json({"outcome": undone.undoing, "first": undone.first})
    elif well:
        telling.say(
            f"Merge {options.id} is undone: these are two customers again, and no message merges "
            "them; `relevo identity link` does."
        )
    else:
        why = WHY_NOT[undone.undoing].format(first=undone.first)
        telling.say(f"Merge {options.id} cannot be undone: {why}.")
    return WELL if well else BAD


def _tell(who: dict[str, Any]) -> None:
    from relevo import telling

    telling.say(f"{who['canonical_key']} (conversation {who['conversation']})")
    for address in who["addresses"]:
        where = f" on {address['scope']}" if address["scope"] else ""
        telling.say(f"  {address['kind']} {address['value']}{where}")
    for merge in who["merges"]:
        was = f"{merge['loser_key']}, {telling.counted(merge['messages'], 'message')}"
        undone = f", undone {telling.at(merge['undone_at'])}" if merge["undone_at"] else ""
        when = telling.at(merge["merged_at"])
        telling.say(f"  merge {merge['id']}, {when} ({merge['reason']}): {was}{undone}")


def _lead(text: str) -> str:
    lead = opening.address(text).strip()
    if not 0 < len(lead) <= LEAD_CHARS_MAX or not lead.isprintable():
        raise argparse.ArgumentTypeError(f"should be 1 to {LEAD_CHARS_MAX} printable characters")
    return lead
