"""Carries links out in the background, and has memory follow what was merged anywhere.

At once when ingest says that there is one, else with the next round. What another process has
merged or parted is looked for too: its rows have moved to conversations that nobody wakes else.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.means import Means
from relevo.store.merging import Done, Fulfilled, Reason, Wish, Writer, carry_out
from relevo.store.pools import connected
from relevo.store.settling import settle_for_ever
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.turns import Turn

WISHES_MAX = 500
"""Links of a business that are looked at in one round, the oldest first."""

TOUCHED_BACK = timedelta(seconds=60)
"""How far back merges of others are looked for: their clocks differ, their commits take a while."""


class MergeProbe(Protocol):
    """Observes merges, and never changes anything."""

    def link_fulfilled(self, outcome: str) -> None:
        """A link was looked at; outcomes are those of `Fulfilled`."""

    def turn_ended(self, business_id: str, conversation_id: int, turn: "Turn") -> None:
        """A turn has ended, here because its conversation was merged."""


class Merger:
    """Merges conversations of the businesses that this process serves."""

    def __init__(
        self,
        means: Means,
        regions: Mapping[str, str],
        incarnation: Callable[[], int],
        wake: Callable[[ConversationKey], None],
        probe: MergeProbe,
    ) -> None:
        """Take the regions of phones by business; `wake` has a conversation's rows read again."""
        self._means = means
        self._regions = regions
        self._incarnation = incarnation
        self._wake = wake
        self._probe = probe
        self._sweep = statements("sweep")
        self._wanted = False
        self._touched: dict[tuple[ConversationKey, datetime], None] = {}
        self.busy = False
        self.waiting = 0
        """Links that the last round had to postpone."""

    def soon(self) -> None:
        """Carry out what there is at once: ingest has just stored a link."""
        self._wanted = True
        if not self.busy:
            self.busy = True
            self._means.tasks.spawn(self._while_wanted(), "merge")

    async def merge_for_ever(self, every_seconds: float) -> None:
        """Look now and then, as long as the process lives."""
        await settle_for_ever(self._means, self._round, every_seconds, "merge")

    async def _round(self) -> None:
        await self.settle()
        await self.follow()

    async def settle(self) -> None:
        """Carry out every link there is, the oldest first; one that cannot be stops no other.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        async with connected(self._means.pools.sweep) as connection:
            rows = await connection.fetch(self._sweep["wishing"])
        waiting, bugs = 0, []
        for business_id in [row["business_id"] for row in rows]:
            for wish in await self._wishes(business_id):
                try:
                    done = await self._carry_out(wish)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001  (told when the others have been tried)
                    bugs.append(error)
                else:
                    waiting += done.fulfilled is Fulfilled.POSTPONED
        self.waiting = waiting + len(bugs)
        if bugs:
            raise bugs[0]

    async def follow(self) -> None:
        """Wake whom anybody has merged or parted lately, once each.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        since = self._means.clock.now() - TOUCHED_BACK
        async with connected(self._means.pools.sweep) as connection:
            rows = await connection.fetch(self._sweep["touched"], since)
        seen = self._touched
        self._touched = {
            (ConversationKey(row["business_id"], row[name]), row["at"]): None
            for row in rows
            if row["business_id"] in self._regions
            for name in ("survivor_id", "loser_id")
        }
        for touched in self._touched:
            if touched not in seen:
                self._wake(touched[0])

    async def _while_wanted(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self.settle()
        except StoreUnavailableError:
            return  # the next round finds them
        finally:
            self.busy = False

    async def _wishes(self, business_id: str) -> list[Wish]:
        if business_id not in self._regions:
            return []
        async with self._means.pools.tenant(business_id) as connection:
            rows = await connection.fetch(statements("merging")["wishes"], business_id, WISHES_MAX)
        return [
            Wish(
                business_id,
                (row["kind"], row["scope"], row["value"]),
                (row["other_kind"], row["other_scope"], row["other_value"]),
                Reason(row["reason"]),
            )
            for row in rows
        ]

    async def _carry_out(self, wish: Wish) -> Done:
        region = self._regions[wish.business_id]
        writer = Writer(self._means.pools, region, self._incarnation())
        with self._means.timed("merge"):
            done = await carry_out(writer, wish, self._means.clock.now())
        self._probe.link_fulfilled(done.fulfilled)
        for conversation_id, turn in done.ended:
            self._probe.turn_ended(wish.business_id, conversation_id, turn)
        for conversation_id in done.touched:
            # Also of a postponed one: what it waits for may have been left by a dead process.
            self._wake(ConversationKey(wish.business_id, conversation_id))
        return done
