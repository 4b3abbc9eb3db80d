"""How a turn ends (rules 9, 12, 13): one outcome, its messages' fates, what the AI forgets."""

from dataclasses import dataclass, replace
from datetime import datetime

from relevo.messages import Fate, Message, Untold
from relevo.people import colleagues, unread
from relevo.states import Gathering, Idle, State
from relevo.turns import (
    Conversation,
    Marks,
    Outcome,
    Part,
    Purpose,
    RecallStatus,
    Rules,
    Stage,
    Turn,
)
from relevo.writes import DeadLetter, Writes

FATES = {
    Outcome.ANSWERED: Fate.ANSWERED,
    Outcome.ANSWERED_BY_HUMAN: Fate.ANSWERED_BY_HUMAN,
    Outcome.NO_REPLY: Fate.NO_REPLY,
    Outcome.HELD: Fate.HELD,
    Outcome.REFUSED: Fate.REFUSED,
    Outcome.FAILED: Fate.DEAD,
}
"""The fate of a turn's own messages. MERGED comes with merges, SENT has no messages."""

WAITS = {
    Outcome.ANSWERED_BY_HUMAN: Untold.CONTEXT,
    Outcome.HELD: Untold.HELD,
    Outcome.FAILED: Untold.FAILED,
}
"""How the messages wait that a turn leaves untold."""

AI_REMEMBERS = frozenset({Outcome.ANSWERED, Outcome.NO_REPLY})
ASKED = frozenset({Stage.ANSWERING, Stage.RECONCILING, Stage.SENDING})


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything a turn's end is made of.

    `own` are its messages; those that are still untold are in `untold` too.
    """

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn
    own: tuple[Message, ...]
    outcome: Outcome
    now: datetime
    reason: str = ""
    parts: tuple[Part, ...] = ()
    answered_at: datetime | None = None
    gives_up: frozenset[int] = frozenset()
    """Messages of a failed turn that no later one offers again."""


def end(ending: Ending, writes: Writes) -> tuple[State, Writes]:
    """End a turn: the state after it, and `writes` extended by everything that ends with it."""
    turn = replace(
        ending.turn,
        stage=Stage.ENDED,
        outcome=ending.outcome,
        reason=ending.reason,
        ended_at=ending.now,
        wait_until=None,
        deadline_at=None,
    )
    conversation = with_owed(_forget(ending), ending.turn)
    untold, changed, dropped = _returned(ending)
    conversation = replace(
        conversation, marks=_moved(conversation.marks, ending.untold, ending.answered_at)
    )
    failed = ending.outcome is Outcome.FAILED
    state = settle(ending.rules, conversation, untold)
    return state, replace(
        writes,
        conversation=conversation,
        turn=turn,
        parts=writes.parts or ending.parts,
        fates=(*writes.fates, *_fates(ending)),
        untold=(*writes.untold, *changed),
        told=tuple(dict.fromkeys((*writes.told, *dropped))),
        # What waited after a failed turn was told with this one, as its own or as context.
        supersedes=writes.supersedes or ending.outcome in AI_REMEMBERS,
        dead_letter=DeadLetter(turn.id, ending.turn.stage, ending.reason) if failed else None,
    )


def settle(rules: Rules, conversation: Conversation, untold: tuple[Message, ...]) -> State:
    """Return the state between turns: gathering while anything is unread, else idle."""
    if unread(untold):
        return Gathering(rules, conversation, untold)
    return Idle(rules, conversation, untold)


def with_agents_seen(conversation: Conversation, untold: tuple[Message, ...]) -> Conversation:
    """Move the agent's mark to the newest colleague's message among these."""
    return replace(conversation, marks=_moved(conversation.marks, untold, None))


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants; marks only move forward."""
    if one is None or other is None:
        return one or other
    return max(one, other)


def _fates(ending: Ending) -> tuple[tuple[int, Fate], ...]:
    """Say what became of the turn's messages; what was taken back waits for nothing any more."""
    fate = FATES.get(ending.outcome)
    if fate is None:
        return ()
    revoked = Fate.REVOKED if ending.outcome in WAITS else fate
    return tuple((m.id, revoked if m.revoked else fate) for m in ending.own if m.inbound)


def _forget(ending: Ending) -> Conversation:
    """Rule 13: a discarded answer leaves no trace in the AI, nor does one to what was revoked."""
    if ending.turn.purpose is Purpose.SEND:
        return ending.conversation
    asked = ending.turn.stage in ASKED or ending.turn.tries > 0
    about_nothing = not any(m.inbound for m in ending.own)
    discarded = asked and (about_nothing or ending.outcome not in AI_REMEMBERS)
    return replace(ending.conversation, ai_conversation=None) if discarded else ending.conversation


def with_owed(conversation: Conversation, turn: Turn) -> Conversation:
    """Rule 4: a recall that was needed and is not over when its turn ends is owed."""
    not_over = turn.stage is Stage.RECALLING and turn.recall is RecallStatus.NOT_NEEDED
    if not turn.recall_reasons or not not_over:
        return conversation
    return replace(conversation, owed_since=turn.recall_since)


def _returned(
    ending: Ending,
) -> tuple[tuple[Message, ...], tuple[tuple[int, Untold], ...], tuple[int, ...]]:
    """Give back what the turn leaves untold, how it waits, and what nobody will look at again.

    A person's request has been heard, however its turn ends.
    """
    waits = WAITS.get(ending.outcome)
    back: dict[int, Message] = {}
    changed: tuple[tuple[int, Untold], ...] = ()
    if waits is not None:
        left = [m for m in ending.own if m.inbound and not m.revoked]
        wait = [m for m in left if m.id not in ending.gives_up]
        back = {m.id: replace(m, untold=waits) for m in wait}
        changed = tuple((m.id, waits) for m in wait)
    requests = {m.id for m in ending.own if not m.inbound}
    dropped = tuple(m.id for m in ending.untold if m.id in requests | ending.gives_up)
    kept = [m for m in ending.untold if m.id not in back and m.id not in dropped]
    untold = tuple(sorted([*kept, *back.values()], key=lambda m: m.order))
    return untold, changed, dropped


def _moved(marks: Marks, untold: tuple[Message, ...], answered_at: datetime | None) -> Marks:
    # What a person wants to be said has been once it leaves; it may never do.
    agents = [m.written_at for m in colleagues(untold) if m.untold is not Untold.DUE]
    return replace(
        marks,
        last_agent_at=later(marks.last_agent_at, max(agents, default=None)),
        last_assistant_at=later(marks.last_assistant_at, answered_at),
    )
