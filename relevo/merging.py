"""Two conversations of one person become one, and two again if that was wrong (design §7).

Pure: it decides from the rows of both, read under lock; the store writes what it says. Merging may
come at any moment of a turn:

* A turn that has nothing on its way to the customer ends as `merged`. Its messages are still
  untold, so they open a turn of the survivor, with all that the other conversation brings. What the
  turn had done to the marks is taken back with it: its messages must not hide their own gap.
* A turn whose answer is stored goes on in the survivor: the customer gets it, once.
* Two such turns cannot be one; and what is on the wire from the loser would come home to nobody.
  Both end within bounds, so the merge waits.

Rule 13 holds for both: the AI's conversations are given up, and the next turn seeds a new one.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from relevo.ending import later, with_owed
from relevo.identity import rank
from relevo.turns import Conversation, Marks, Outcome, PartState, Stage, Turn
from relevo.writes import Rows

REASON = "one_person"
"""Of a turn that ends because its conversation is merged, or parted."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two conversations: its rows, and what no turn needs to know."""

    rows: Rows
    canonical_key: str
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A conversation without its turns: as it is to be, or was."""

    conversation: Conversation
    tags: tuple[str, ...] = ()
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be stored.

    `survivor` is his row with its new version; `ended` are the turns that end, each with the
    conversation it was in: their messages wait as they are. `pasts` are the rows to go back to, the
    survivor's first: as they were, but for what the turns that end had done to them.
    """

    survivor: Past
    ended: tuple[tuple[int, Turn], ...]
    pasts: tuple[Past, Past]


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not now: something is on its way that both would have to know of. Ends within bounds."""

    reason: str


@dataclass(frozen=True, slots=True)
class Since:
    """Whose turns have been had since a merge, those included that are being sent."""

    survivors: bool = False
    losers: bool = False
    open_is_losers: bool = False
    """The turn that is open now is one of the loser's."""


@dataclass(frozen=True, slots=True)
class Parted:
    """What is to be stored: both rows with their new version, and the turns that end."""

    survivor: Past
    loser: Past
    ended: tuple[Turn, ...]


def in_order(one: Side, other: Side) -> tuple[Side, Side]:
    """Return who survives and who does not: the better key stays, of equal ones the older row."""

    def lasting(side: Side) -> tuple[int, int]:
        return rank(side.canonical_key), side.rows.conversation.key.conversation_id

    survivor, loser = sorted((one, other), key=lasting)
    return survivor, loser


def merged(survivor: Side, loser: Side, now: datetime) -> Merged | Postponed:
    """Make one conversation of two, or say why not yet."""
    turns = [side.rows.turn for side in (survivor, loser)]
    if all(turn is not None and turn.stage is Stage.SENDING for turn in turns):
        return Postponed("two_sends")
    if on_the_wire(loser.rows, now):
        return Postponed("on_the_wire")
    pasts = (_past(survivor), _past(loser))
    one, other = (past.conversation for past in pasts)
    conversation = Conversation(
        key=one.key,
        version=max(one.version, other.version) + 1,
        marks=_together(one.marks, other.marks),
        owed_since=_earlier(one.owed_since, other.owed_since),
        new_contact=one.new_contact and other.new_contact,
        ai_conversation=None,
        hold_until=later(one.hold_until, other.hold_until),
        hold_released_at=later(one.hold_released_at, other.hold_released_at),
    )
    ended = tuple(
        (side.rows.conversation.key.conversation_id, ended_turn(side.rows.turn, now))
        for side in (survivor, loser)
        if side.rows.turn is not None and side.rows.turn.stage is not Stage.SENDING
    )
    return Merged(Past(conversation, _tags(*pasts), _closed(*pasts)), ended, pasts)


def parted(
    current: Side, pasts: tuple[Past, Past], since: Since, now: datetime
) -> Parted | Postponed:
    """Undo a merge, given the survivor as it is now and both (he first) as they were.

    Who has had no turn since is exactly as before; else what the turns have moved stays moved. A
    hold, tags and a closing that were changed since hold for both.
    """
    if since.open_is_losers and on_the_wire(current.rows, now):
        return Postponed("on_the_wire")
    survivor, loser = pasts
    now_is = without_turn(current.rows)
    version = max(p.conversation.version for p in (*pasts, Past(now_is))) + 1
    held = now_is.hold_until != later(
        survivor.conversation.hold_until, loser.conversation.hold_until
    )
    reclosed = current.closed_at != _closed(survivor, loser)
    retagged = set(current.rows.tags) != set(_tags(survivor, loser))

    def back(past: Past, *, had_turn: bool) -> Past:
        was = past.conversation
        row = replace(was, marks=now_is.marks, owed_since=now_is.owed_since) if had_turn else was
        row = replace(row, version=version, ai_conversation=None)
        if held:
            row = replace(
                row, hold_until=now_is.hold_until, hold_released_at=now_is.hold_released_at
            )
        return Past(
            row,
            current.rows.tags if retagged else past.tags,
            current.closed_at if reclosed else past.closed_at,
        )

    turn = current.rows.turn
    ends = turn is not None and turn.stage is not Stage.SENDING
    return Parted(
        back(survivor, had_turn=since.survivors),
        back(loser, had_turn=since.losers),
        (ended_turn(turn, now),) if turn is not None and ends else (),
    )


def on_the_wire(rows: Rows, now: datetime) -> bool:
    """Tell whether a part may be leaving at this instant; its deadline bounds that."""
    return any(
        part.state is PartState.SENDING and part.deadline_at is not None and now < part.deadline_at
        for part in rows.parts
    )


def without_turn(rows: Rows) -> Conversation:
    """Return a conversation as it is without its open turn, if that has nothing on its way.

    The snapshot is what the mark was before the turn: nothing else has moved it since. A recall
    that was needed and is not over is owed.
    """
    conversation, turn = rows.conversation, rows.turn
    if turn is None or turn.stage is Stage.SENDING:
        return conversation
    marks = replace(conversation.marks, last_customer_at=turn.previous_customer_at)
    return with_owed(replace(conversation, marks=marks), turn)


def ended_turn(turn: Turn, now: datetime) -> Turn:
    """End a turn whose messages will open another one."""
    return replace(
        turn,
        stage=Stage.ENDED,
        outcome=Outcome.MERGED,
        reason=REASON,
        ended_at=now,
        wait_until=None,
        deadline_at=None,
    )


def _together(one: Marks, other: Marks) -> Marks:
    """Return the newest of what was said, and of what is known only what is known of both."""
    return Marks(
        last_customer_at=later(one.last_customer_at, other.last_customer_at),
        last_assistant_at=later(one.last_assistant_at, other.last_assistant_at),
        last_agent_at=later(one.last_agent_at, other.last_agent_at),
        known_to=_earlier(_horizon(one), _horizon(other)),
        told_to=later(one.told_to, other.told_to),
    )


def _horizon(marks: Marks) -> datetime | None:
    """Return from where the next recall would ask (rule 4); None: a stranger, who has no past."""
    return marks.known_to or marks.last_assistant_at


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two instants; one that is missing says nothing."""
    if one is None or other is None:
        return one or other
    return min(one, other)


def _past(side: Side) -> Past:
    return Past(without_turn(side.rows), side.rows.tags, side.closed_at)


def _tags(one: Past, other: Past) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one.tags, *other.tags)))


def _closed(one: Past, other: Past) -> datetime | None:
    """Who is open stays open, also by what came after the earlier closing."""
    if one.closed_at is None or other.closed_at is None:
        return None
    return min(one.closed_at, other.closed_at)
