"""Edits and revocations, as rows: what ingest does when somebody changes what they have said."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from relevo.messages import (
    CLOCK_SKEW_MAX,
    EDIT,
    Author,
    Change,
    Edit,
    Fate,
    Message,
    Source,
    Untold,
)
from relevo.turns import Stage
from tests.fakes.thread import Thread


def apply(
    thread: Thread, message_id: int, change: Change, received_at: datetime, ids: Iterator[int]
) -> None:
    """Have it count, unless it is somebody else's message, or an older change than one before."""
    message = thread.messages[message_id]
    event_at = min(change.event_at or received_at, received_at + CLOCK_SKEW_MAX)
    is_own = (change.author is Author.CUSTOMER) == message.inbound
    if message.revoked or not (is_own or change.author is Author.UNKNOWN):
        return
    versions = [message_id, *(i for i, of in thread.edits.items() if of == message_id)]
    if isinstance(change, Edit):
        before = thread.edited_at.get(message_id)
        if before is not None and event_at <= before:
            return
        thread.edited_at[message_id] = event_at
        _edit(thread, message, change.body, (event_at, received_at), (versions, ids))
    else:
        for i in versions:
            thread.messages[i] = replace(thread.messages[i], revoked=True)
    thread.raise_version()


def _edit(
    thread: Thread,
    message: Message,
    text: str,
    times: tuple[datetime, datetime],
    rows: tuple[list[int], Iterator[int]],
) -> None:
    """Replace what waits and is not being asked; else keep the new text as context."""
    versions, ids = rows
    asked = _being_asked(thread)
    waiting = [i for i in versions if i in thread.untold and i not in asked]
    if waiting:
        newest = max(waiting)
        thread.messages[newest] = replace(thread.messages[newest], body=text)
        return
    edit_id = next(ids)
    thread.messages[edit_id] = Message(
        id=edit_id,
        author=Author.CUSTOMER if message.inbound else Author.AGENT,
        kind=EDIT,
        body=text,
        event_at=times[0],
        received_at=times[1],
        source=Source.WEBHOOK,
        channel_id=message.channel_id,
        address=message.address,
    )
    thread.edits[edit_id] = message.id
    thread.untold[edit_id] = Untold.CONTEXT
    if message.inbound:
        thread.accepted += 1
        thread.fates[edit_id] = Fate.CONTEXT


def _being_asked(thread: Thread) -> frozenset[int]:
    """Return what the AI is being asked with, or may have been."""
    turn = thread.open_turn
    if turn is None or turn.stage not in {Stage.ANSWERING, Stage.RECONCILING}:
        return frozenset()
    if turn.stage is Stage.ANSWERING and turn.wait_until is not None:
        return frozenset()
    return frozenset((*turn.message_ids, *turn.missed_ids))
