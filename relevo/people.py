"""What people have done about messages: a colleague's answer, a hold, a request (rules 9 and 10).

Pure functions of the rows and the rules: nothing here looks at a clock, so what is held follows
from the rows alone, whenever they are read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from relevo.messages import Author, Message, Source, Untold
from relevo.turns import Conversation, Rules


def unread(untold: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return what wants a turn and belongs to none yet: a customer's messages, a request."""
    return tuple(m for m in untold if m.untold in {Untold.UNREAD, Untold.ASKED})


def due(untold: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages of ours that have to be sent, oldest first."""
    return tuple(m for m in untold if m.untold is Untold.DUE)


def wanting_answer(untold: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return what a turn that opened now would be about, but for what a failed one left.

    Rule 10: what was held is no task, unless a person asks. The request stands among them.
    """
    waits = {Untold.UNREAD, Untold.ASKED}
    if any(m.untold is Untold.ASKED for m in untold):
        waits |= {Untold.HELD, Untold.FAILED}
    return tuple(m for m in untold if m.untold in waits)


def colleagues(untold: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return what human agents among these have written, as far as its time is known.

    What a person asks us to say counts from then on: nobody talks over it while it waits to leave.
    What was scheduled was written before its time, so it answers nobody, whoever wrote it; nor does
    an edit.
    """
    agents = (m for m in untold if m.author is Author.AGENT and m.timed)
    return tuple(m for m in agents if m.source is not Source.SCHEDULE and not m.is_edit)


@dataclass(frozen=True, slots=True)
class Burst:
    """Messages, split by what people did about them. A request goes where its messages go.

    `followed` came before a colleague's newest message, `held` during a hold.
    """

    followed: tuple[Message, ...]
    held: tuple[Message, ...]
    unanswered: tuple[Message, ...]


def burst(rules: Rules, conversation: Conversation, untold: tuple[Message, ...]) -> Burst:
    """Split what wants an answer by what people did about it."""
    return split(rules, conversation, wanting_answer(untold), untold)


def split(
    rules: Rules,
    conversation: Conversation,
    messages: tuple[Message, ...],
    untold: tuple[Message, ...],
) -> Burst:
    """Split customer messages by what followed them: a colleague's message, or a hold (rule 9).

    Untold colleagues' messages are known whole; told ones only by their mark, which is a time, so
    one at the very same instant does not count as later. Who writes through us has read all that
    had come by then, whatever its time says. Whoever asks for an answer wants one although
    somebody has written, or held the chat, before: messages are judged as of the request.
    """
    mark, seen = conversation.marks.last_agent_at, colleagues(untold)
    hold_end = hold_ends_at(rules, conversation, untold)
    requests = tuple(m for m in messages if m.author is Author.SYSTEM)
    if requests:
        mark = None  # told before, so written before
        seen = _after_requests(untold, requests)
    newest = max(((m.written_at, m.id) for m in seen), default=None)
    read = max((m.arrival for m in seen if m.source is Source.API), default=None)
    followed, held, unanswered = [], [], []
    for m in messages:
        if m.author is Author.SYSTEM:
            continue
        received_at = max(each.received_at for each in (m, *requests))
        answered = newest is not None and m.order < newest
        answered |= read is not None and m.arrival < read
        if answered or (mark is not None and m.event_at < mark):
            followed.append(m)
        elif hold_end is not None and received_at < hold_end:
            held.append(m)
        else:
            unanswered.append(m)
    (unanswered or followed or held).extend(requests)
    return Burst(
        *(tuple(sorted(some, key=lambda m: m.order)) for some in (followed, held, unanswered))
    )


def _after_requests(
    untold: tuple[Message, ...], requests: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Return colleagues' messages that came after a person's newest request.

    A request has our clock, and a provider's may run ahead: what a webhook had brought by then, or
    we had been asked to say, was written before it, whatever its time.
    """
    newest = max(requests, key=lambda m: m.id)
    return tuple(
        m
        for m in colleagues(untold)
        if (m.id > newest.id or m.source is Source.HISTORY)
        and (m.order > newest.order or m.source is Source.API)
    )


def hold_ends_at(
    rules: Rules, conversation: Conversation, untold: tuple[Message, ...]
) -> datetime | None:
    """Return until when what was received is held, because a person said so or has just written."""
    ends = [conversation.hold_until]
    seen = max(colleagues(untold), key=lambda m: (m.written_at, m.id), default=None)
    written = min(seen.event_at, seen.received_at) if seen is not None else None
    agents = [conversation.marks.last_agent_at, written]
    wrote_at = max((at for at in agents if at is not None), default=None)
    if rules.human_hold_seconds > 0 and wrote_at is not None:
        silent_until = wrote_at + timedelta(seconds=rules.human_hold_seconds)
        released_at = conversation.hold_released_at
        if released_at is not None and released_at > wrote_at:
            silent_until = min(silent_until, released_at)
        ends.append(silent_until)
    return max((at for at in ends if at is not None), default=None)
