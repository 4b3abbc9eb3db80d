"""A list of what the businesses have of one kind: newest first, bounded, for people or a script."""

import argparse
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from relevo.commands import opening
from relevo.commands.opening import WELL

if TYPE_CHECKING:
    from relevo.store.pools import Pools

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """What is listed, and how a line of it reads. Things are dataclasses."""

    newest: "Callable[[Pools, str, int], Awaitable[Sequence[T]]]"
    """Read so many of one business."""
    id_of: Callable[[T], int]
    """The newest has the highest."""
    nothing: str
    columns: Sequence[str]
    """Their titles; the last is shown only with --all."""
    row: Callable[[T], Sequence[str]]


async def show_list(options: argparse.Namespace, listing: Listing[Any]) -> int:
    """List what the named business has, or every one; raises what reading it raises."""
    from relevo import telling

    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        found = [
            thing
            for business in businesses
            for thing in await listing.newest(database.pools, business.id, options.limit + 1)
        ]
    found.sort(key=listing.id_of, reverse=True)
    shown = found[: options.limit]
    if options.json:
        telling.show_json([asdict(thing) for thing in shown])
        return WELL
    if not shown:
        telling.say(listing.nothing)
        return WELL
    last = len(listing.columns) - (not options.all)
    telling.table(listing.columns[:last], (listing.row(thing)[:last] for thing in shown))
    if len(found) > len(shown):
        telling.say(f"There are more; these are the newest {options.limit} (--limit).")
    return WELL
