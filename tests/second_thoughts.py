"""People of a simulated world who edit, or take back, what they have said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from relevo.messages import Author, Change, ConversationKey, Edit, Revocation
from relevo.turns import Stage
from tests import facts
from tests.facts import Fact, Said
from tests.fakes.book import Book
from tests.outside import DELIVERY, Timeline

EARLY_TRIES = 5
EARLY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class SecondThoughts:
    time: Timeline
    book: Book
    key: ConversationKey
    facts: list[Fact]
    look: Callable[[], None]

    def change(self, said: Said, *, revokes: bool, tries: int = EARLY_TRIES) -> None:
        """Change a message by webhook; one that is not known yet a little later."""
        if self._changed(said, revokes=revokes):
            self.look()
        elif tries:
            again = partial(self.change, said, revokes=revokes, tries=tries - 1)
            self.time.after(EARLY_SECONDS, DELIVERY, again)

    def slip(self, chat: Sequence[Said], *, revokes: bool) -> None:
        """Change the newest message between a step and its commit."""
        said = [s for s in chat if s.one_id and s.timed and s.event_at <= self.time.now]
        for newest in said[-1:]:
            self._changed(newest, revokes=revokes)

    def _changed(self, said: Said, *, revokes: bool) -> bool:
        now, target = self.time.now, f"id-{said.number}"
        text = f"edit {len(self.facts)} of {said.number}"
        asking = self._asks()
        sides = (Author.CUSTOMER, Author.AGENT)
        writer, other = sides if said.author is Author.CUSTOMER else reversed(sides)
        self.book.change(Revocation(target, other, now), now)
        change: Change = Revocation(target, writer, now)
        if not revokes:
            change = Edit(target, writer, text, now)
        if self.book.change(change, now) is None:
            return False
        self.facts.append(
            facts.Revoked(now, said.number)
            if revokes
            else facts.Edited(now, said.number, text, now, asking)
        )
        return True

    def _asks(self) -> bool:
        """Tell whether the AI is being asked, or perhaps was."""
        turn = self.book.thread(self.key).open_turn
        if turn is None:
            return False
        under_way = turn.stage is Stage.ANSWERING and turn.wait_until is None
        return under_way or turn.stage is Stage.RECONCILING
