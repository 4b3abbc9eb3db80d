"""The rows in memory: what PostgreSQL holds, and what ingest and turn commits do with it.

Plain dictionaries: stories and properties of the core use it as it is, `tests/fakes/journal.py`
gives it to actors. It passes the same contract as PostgreSQL. `before_commit` is called with what
is about to be committed: a test may deliver something there, so that the commit loses its race.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

from relevo.messages import (
    CLOCK_SKEW_MAX,
    Author,
    Change,
    ConversationKey,
    Fate,
    InboundMessage,
    Message,
    Source,
    Untold,
    correlation_key,
)
from relevo.turns import PARTS_TERMINAL, Conversation, Part, Stage, Turn
from relevo.writes import Absorbed, Rows, Unread, Writes
from tests.fakes import changing
from tests.fakes.thread import Thread, reply

BUSINESS = "hotel"
CHANNEL = "hotel-line"

WITNESS_WITHIN = timedelta(seconds=120)

FORBIDS_A_REPLY = frozenset({Author.AGENT, Author.UNKNOWN})
WANTS_A_TURN = frozenset({Untold.UNREAD, Untold.ASKED, Untold.DUE})
WAITS_TO_BE_TOLD = frozenset(Author) - {Author.SYSTEM}


class Book:
    """The rows, and what ingest and turn commits do with them."""

    def __init__(self, *, business_id: str = BUSINESS, channel_id: str = CHANNEL) -> None:
        self.business_id = business_id
        self.channel_id = channel_id
        self.before_commit: Callable[[Writes], None] = lambda _: None
        self._threads: dict[ConversationKey, Thread] = {}
        self._reached: dict[str, ConversationKey] = {}
        self._keys: dict[tuple[str, str], int] = {}
        self._message_ids = itertools.count(1)

    def thread(self, key: ConversationKey) -> Thread:
        return self._threads[key]

    def knows(self, key: ConversationKey) -> bool:
        return key in self._threads

    def meet(self, phone: str, *, new_contact: bool = False) -> ConversationKey:
        """Return the conversation with this phone, made at the first contact."""
        key = self._reached.get(phone)
        if key is None:
            key = ConversationKey(self.business_id, len(self._reached) + 1)
            self._reached[phone] = key
            self._threads[key] = Thread(Conversation(key))
        thread = self._threads[key]
        if new_contact and not thread.conversation.new_contact:
            thread.conversation = replace(thread.conversation, new_contact=True)
            thread.raise_version()
        return key

    def deliver(
        self, phone: str, message: InboundMessage, received_at: datetime
    ) -> ConversationKey:
        """Keep what a webhook told: once, under all its ids."""
        key = self.meet(phone)
        thread = self._threads[key]
        names = [(self.channel_id, name) for name in message.keys]
        known = next((self._keys[name] for name in names if name in self._keys), None)
        if known is None:
            known = self._stored(thread, message, received_at)
        elif message.author is Author.CUSTOMER:
            _revive(thread, known, received_at)
        else:
            thread.hear_echo(known)
        for name in names:
            self._keys.setdefault(name, known)
        return key

    def change(self, change: Change, received_at: datetime) -> ConversationKey | None:
        """Edit or revoke a message, as who wrote it did; None: nobody knows it."""
        message_id = self._keys.get((self.channel_id, change.target))
        whose = next((k for k, t in self._threads.items() if message_id in t.messages), None)
        if whose is not None and message_id is not None:
            changing.apply(self._threads[whose], message_id, change, received_at, self._message_ids)
        return whose

    def put_waiting(
        self,
        key: ConversationKey,
        says: tuple[Author, str, Untold],
        now: datetime | None,
        source: Source = Source.SCHEDULE,
    ) -> int:
        """Keep a message of our own making that waits, where the customer wrote last."""
        assert now is not None
        author, body, untold = says
        thread = self._threads[key]
        message_id = next(self._message_ids)
        said = (m for m in thread.messages.values() if m.inbound and not m.is_edit)
        newest = max(said, key=lambda m: m.order)
        thread.messages[message_id] = Message(
            id=message_id,
            author=author,
            kind="request" if author is Author.SYSTEM else "text",
            body=body,
            event_at=now,
            received_at=now,
            source=source,
            channel_id=newest.channel_id,
            address=newest.address,
        )
        thread.untold[message_id] = untold
        return message_id

    def rows(self, key: ConversationKey) -> Rows:
        """Read a whole conversation."""
        thread = self._threads[key]
        turn = thread.open_turn
        sending = turn is not None and turn.stage is Stage.SENDING
        own = turn.message_ids if turn is not None and sending else ()
        return Rows(
            conversation=thread.conversation,
            untold=self._untold(thread),
            witnesses=self._witnesses(thread),
            turn=turn,
            parts=self._parts_of(thread, turn) if turn is not None and sending else (),
            told=tuple(self._read(thread, i) for i in own if i in thread.messages),
        )

    def write(self, writes: Writes) -> bool:
        """Commit one step, or nothing of it."""
        self.before_commit(writes)
        thread = self._threads[writes.conversation.key]
        if thread.conversation.version != writes.conversation.version:
            return False
        recalled = {(m.channel_id, key): m.id for m in writes.recalled for key in m.keys}
        if not self._keys.keys().isdisjoint(recalled):
            return False
        self._keys |= recalled
        thread.conversation = replace(
            writes.conversation,
            version=writes.conversation.version + 1,
            new_contact=thread.conversation.new_contact,
        )
        self._write_messages(thread, writes)
        thread.write_untold(writes)
        for pair in writes.absorbed:
            self._absorb(thread, pair)
        _write_turn(thread, writes)
        return True

    def window(
        self, key: ConversationKey, since: datetime, named: Collection[str] = ()
    ) -> tuple[Message, ...]:
        """Read the messages since an instant, and those named by an id, with all their ids."""
        keys = defaultdict[int, tuple[str, ...]](tuple)
        for (_, name), message_id in sorted(self._keys.items()):
            keys[message_id] += (name,)
        found = (
            replace(self._read(thread, i), keys=keys[i])
            for whose, thread in self._threads.items()
            for i, m in thread.messages.items()
            if (whose == key and thread.may_show(m, since)) or {*named} & {*keys[i]}
        )
        return tuple(sorted(found, key=lambda m: m.order))

    def told(self, key: ConversationKey, limit: int) -> tuple[Message, ...]:
        """Read the newest messages that the AI was told, or that we said."""
        thread = self._threads[key]
        found = [m for m in thread.messages.values() if thread.was_told(m)]
        return tuple(sorted(found, key=lambda m: m.order)[-limit:])

    def reserve(self, count: int) -> list[int]:
        return [next(self._message_ids) for _ in range(count)]

    def unread(self, received_after: datetime | None) -> dict[ConversationKey, Unread]:
        """Count unread rows; asked for all of them (None), name open turns too."""
        counted = {}
        for key, thread in self._threads.items():
            want = [
                state
                for i, state in thread.untold.items()
                if state in WANTS_A_TURN
                and (received_after is None or thread.messages[i].received_at > received_after)
            ]
            if want or (received_after is None and thread.open_turn is not None):
                pressing = any(state is not Untold.UNREAD for state in want)
                counted[key] = Unread(len(want), pressing=pressing)
        return counted

    def fates(self) -> dict[int, Fate]:
        """Return what became of every customer message that a webhook has brought."""
        return {
            i: fate
            for thread in self._threads.values()
            for i, fate in thread.fates.items()
            if thread.messages[i].source is Source.WEBHOOK
        }

    def open_dead_letters(self) -> set[int]:
        """Return the turns that were given up and whose messages were not told since."""
        return {
            turn_id
            for thread in self._threads.values()
            for turn_id in thread.dead_letters.keys() - thread.superseded
        }

    def _stored(self, thread: Thread, message: InboundMessage, received_at: datetime) -> int:
        message_id = next(self._message_ids)
        event_at = min(message.event_at or received_at, received_at + CLOCK_SKEW_MAX)
        thread.messages[message_id] = Message(
            id=message_id,
            author=message.author,
            author_name=message.author_name,
            kind=message.kind,
            body=message.body,
            event_at=event_at,
            received_at=received_at,
            source=Source.WEBHOOK,
            channel_id=self.channel_id,
            address=message.addresses[0],
        )
        reaction = message.kind == "reaction"
        if message.author is Author.CUSTOMER:
            thread.accepted += 1
            thread.fates[message_id] = Fate.CONTEXT if reaction else Fate.IN_FLIGHT
        if message.author in WAITS_TO_BE_TOLD and not reaction:
            waits = Untold.UNREAD if message.author is Author.CUSTOMER else Untold.CONTEXT
            thread.untold[message_id] = waits
        if message.author in FORBIDS_A_REPLY:
            thread.raise_version()
        return message_id

    def _read(self, thread: Thread, message_id: int) -> Message:
        waits = thread.untold.get(message_id)
        return replace(thread.messages[message_id], untold=waits)

    def _parts_of(self, thread: Thread, turn: Turn) -> tuple[Part, ...]:
        given = {i for (_, name), i in self._keys.items() if not name.startswith("local:")}
        given |= thread.echoed
        found = (p for p in thread.parts.values() if p.turn_id == turn.id)
        open_ = given - {p.message_id for p in thread.parts.values() if p.state in PARTS_TERMINAL}
        parts = (replace(p, proven=p.message_id in open_) for p in found)
        return tuple(sorted(parts, key=lambda p: p.number))

    def _untold(self, thread: Thread) -> tuple[Message, ...]:
        return tuple(sorted((self._read(thread, i) for i in thread.untold), key=lambda m: m.order))

    def _witnesses(self, thread: Thread) -> tuple[Message, ...]:
        waiting = [thread.messages[i] for i in thread.untold]
        found = (
            self._read(thread, m.id)
            for m in thread.messages.values()
            if m.source is not Source.WEBHOOK
            and any(_near(m, w) for w in waiting if w.source is Source.WEBHOOK)
        )
        return tuple(sorted(found, key=lambda m: m.order))

    def _write_messages(self, thread: Thread, writes: Writes) -> None:
        for message in writes.recalled:
            thread.messages[message.id] = replace(message, keys=(), untold=None)
            if message.inbound:
                thread.fates[message.id] = Fate.CONTEXT
        if writes.fallback_text:
            assert writes.turn is not None
            says = (Author.AUTOMATION, writes.fallback_text, Untold.DUE)
            self.put_waiting(writes.conversation.key, says, writes.turn.ended_at, Source.TURN)
        if writes.answers:
            assert writes.turn is not None
            for part in writes.parts:
                thread.messages[part.message_id] = reply(part, writes.turn)
                name = (writes.turn.channel_id, correlation_key(part.correlation_id))
                self._keys[name] = part.message_id
        channel_id = writes.turn.channel_id if writes.turn is not None else ""
        for message_id, key in writes.keys:
            if message_id in thread.messages:
                self._keys.setdefault((channel_id, key), message_id)

    def _absorb(self, thread: Thread, pair: Absorbed) -> None:
        for name, message_id in self._keys.items():
            if message_id == pair.duplicate:
                self._keys[name] = pair.kept
        thread.messages.pop(pair.duplicate)
        thread.untold.pop(pair.duplicate, None)
        thread.fates.pop(pair.duplicate, None)
        kept = thread.messages[pair.kept]
        if pair.by_webhook and kept.source is Source.HISTORY:
            thread.messages[pair.kept] = replace(kept, source=Source.WEBHOOK)


def _revive(thread: Thread, message_id: int, received_at: datetime) -> None:
    """Rule 5: a webhook for a row known only from history, neither told nor joined."""
    message = thread.messages.get(message_id)
    if message is None or not message.inbound or message.source is not Source.HISTORY:
        return
    if thread.untold.get(message_id) is Untold.CONTEXT:
        thread.messages[message_id] = replace(
            message, source=Source.WEBHOOK, received_at=received_at
        )
        thread.untold[message_id] = Untold.UNREAD
        thread.fates[message_id] = Fate.IN_FLIGHT
        thread.accepted += 1
        thread.raise_version()


def _write_turn(thread: Thread, writes: Writes) -> None:
    if writes.turn is not None:
        thread.turns[writes.turn.id] = writes.turn
    for part in writes.parts:
        thread.parts[part.message_id] = part
        if part.started_at is not None:
            # Dated when it left, so that an echo of a late part is still known as ours.
            reply = thread.messages[part.message_id]
            thread.messages[part.message_id] = replace(reply, event_at=part.started_at)
    if writes.supersedes:
        thread.supersede()
    if writes.dead_letter is not None:
        thread.dead_letters[writes.dead_letter.turn_id] = writes.dead_letter


def _near(row: Message, waiting: Message) -> bool:
    return (
        abs(row.event_at - waiting.event_at) <= WITNESS_WITHIN
        and row.inbound == waiting.inbound
        and (row.body.strip() == waiting.body.strip() or not row.body or not waiting.body)
    )
