"""Sends that answer nobody's turn: what people and schedules say, and what is said when one failed.

They take the same way as replies, one at a time and in order, so that nothing overtakes. Each is a
turn of its own, with the purpose `send` and without messages of the customer. It moves none of the
marks that gaps are measured from (rule 0), forgets nothing, and once it has left the AI is told of
it as of what anybody else has said.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.answering import WINDOW, correlation_id
from relevo.context import holding
from relevo.ending import Ending, end, later
from relevo.messages import Source, Untold, correlation_key
from relevo.people import due
from relevo.sending import Decision, go_on
from relevo.states import Gathering, Idle, Sending
from relevo.turns import Outcome, Part, PartState, Purpose, Stage, Turn, Verdict
from relevo.writes import Writes

TOO_LATE = "too_late"
"""The reason of a send that nobody was there to begin in time."""


def begin(state: Idle | Gathering, now: datetime) -> Decision:
    """Take the oldest of what is due, and have it on its way with this very commit.

    Where the window for free text has closed, or it is as late as an answer may not be, it ends as
    refused instead.
    """
    conversation, message = state.conversation, due(state.untold)[0]
    turn = Turn(
        id=message.id,
        stage=Stage.SENDING,
        purpose=Purpose.SEND,
        channel_id=message.channel_id,
        address=message.address,
        opened_at=message.received_at,
        closed_at=now,
        previous_customer_at=conversation.marks.last_customer_at,
        previous_assistant_at=conversation.marks.last_assistant_at,
        verdict=Verdict.NONE,
        silence_seconds=None,
        threshold_seconds=state.rules.gap_seconds,
        message_ids=(),
        newest_at=message.received_at,
    )
    wrote = [m.event_at for m in state.untold if m.inbound and not m.is_edit]
    wrote_at = later(conversation.marks.last_customer_at, max(wrote, default=None))
    window_ends_at = wrote_at + WINDOW if wrote_at is not None else None
    late_at = message.received_at + timedelta(seconds=state.rules.late_answer_seconds)
    if message.source is Source.TURN:
        # Also while it waits to be repeated: an apology has its moment.
        window_ends_at = min(late_at, window_ends_at or late_at)
    part = Part(
        message_id=message.id,
        turn_id=turn.id,
        number=1,
        text=message.body,
        correlation_id=correlation_id(conversation, turn, 1),
        created_at=now,
        # Who never wrote to us has no window that could be known: the provider decides.
        window_ends_at=window_ends_at,
    )
    if now >= late_at:
        return _refuse(state, turn, part, now)
    told = tuple(replace(m, untold=Untold.CONTEXT) if m is message else m for m in state.untold)
    writes = Writes(
        conversation,
        turn,
        untold=((message.id, Untold.CONTEXT),),
        keys=((message.id, correlation_key(part.correlation_id)),),
    )
    return go_on(Sending(state.rules, conversation, told, turn, (part,), ()), writes, now)


def _refuse(state: Idle | Gathering, turn: Turn, part: Part, now: datetime) -> Decision:
    """End it unsaid: what was to be said then is not said now, and the AI is not told of it."""
    dead = replace(part, state=PartState.DEAD, reason=TOO_LATE)
    untold = tuple(m for m in state.untold if m.id != part.message_id)
    writes = Writes(state.conversation, told=(part.message_id,))
    untold, writes = holding(state.rules, untold, (), writes)
    ending = Ending(
        rules=state.rules,
        conversation=state.conversation,
        untold=untold,
        turn=turn,
        own=(),
        outcome=Outcome.REFUSED,
        now=now,
        reason=TOO_LATE,
        parts=(dead,),
    )
    return end(ending, writes)
