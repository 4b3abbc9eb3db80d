"""How a turn ends (rules 9, 12, 13): one outcome, its messages' fates, what the AI forgets."""

from dataclasses import dataclass, replace
from datetime import datetime

from relevo.messages import Author, Fate, Message, Untold
from relevo.states import Gathering, Idle, State, unread
from relevo.turns import Conversation, Marks, Outcome, Part, RecallStatus, Rules, Stage, Turn
from relevo.writes import DeadLetter, Writes

FATES = {
    Outcome.ANSWERED: Fate.ANSWERED,
    Outcome.ANSWERED_BY_HUMAN: Fate.ANSWERED_BY_HUMAN,
    Outcome.NO_REPLY: Fate.NO_REPLY,
    Outcome.REFUSED: Fate.REFUSED,
    Outcome.FAILED: Fate.DEAD,
}
"""The fate of a turn's own messages. HELD and MERGED come with holds and merges."""

AI_REMEMBERS = frozenset({Outcome.ANSWERED, Outcome.NO_REPLY})
ASKED = frozenset({Stage.ANSWERING, Stage.SENDING})


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
    conversation = _with_owed(_forget(ending), ending.turn)
    untold, changed = _returned(ending)
    conversation = replace(
        conversation, marks=_moved(conversation.marks, ending.untold, ending.answered_at)
    )
    fate = FATES[ending.outcome]
    failed = ending.outcome is Outcome.FAILED
    state = settle(ending.rules, conversation, untold)
    return state, replace(
        writes,
        conversation=conversation,
        turn=turn,
        parts=writes.parts or ending.parts,
        fates=(*writes.fates, *((m.id, fate) for m in ending.own)),
        untold=(*writes.untold, *changed),
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


def _forget(ending: Ending) -> Conversation:
    """Rule 13: a discarded answer leaves no trace in the AI."""
    asked = ending.turn.stage in ASKED or ending.turn.tries > 0
    discarded = asked and ending.outcome not in AI_REMEMBERS
    return replace(ending.conversation, ai_conversation=None) if discarded else ending.conversation


def _with_owed(conversation: Conversation, turn: Turn) -> Conversation:
    """Rule 4: a recall that was needed and is not over when its turn ends is owed."""
    not_over = turn.stage is Stage.RECALLING and turn.recall is RecallStatus.NOT_NEEDED
    if not turn.recall_reasons or not not_over:
        return conversation
    return replace(conversation, owed_since=turn.recall_since)


def _returned(
    ending: Ending,
) -> tuple[tuple[Message, ...], tuple[tuple[int, Untold], ...]]:
    """Give back what a failed turn, or one answered by a colleague, leaves untold."""
    if ending.outcome is Outcome.FAILED:
        waits = Untold.FAILED
    elif ending.outcome is Outcome.ANSWERED_BY_HUMAN:
        waits = Untold.CONTEXT
    else:
        return ending.untold, ()
    back = {m.id: replace(m, untold=waits) for m in ending.own}
    kept = [m for m in ending.untold if m.id not in back]
    untold = tuple(sorted([*kept, *back.values()], key=lambda m: m.order))
    return untold, tuple((message_id, waits) for message_id in back)


def _moved(marks: Marks, untold: tuple[Message, ...], answered_at: datetime | None) -> Marks:
    agents = [m.event_at for m in untold if m.author is Author.AGENT and m.timed]
    return replace(
        marks,
        last_agent_at=later(marks.last_agent_at, max(agents, default=None)),
        last_assistant_at=later(marks.last_assistant_at, answered_at),
    )
