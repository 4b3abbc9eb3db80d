"""One conversation of the book."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from relevo.messages import Author, Fate, Message, Source, Untold
from relevo.sending import SEND_UNKNOWN
from relevo.turns import PARTS_TERMINAL, Conversation, Part, PartState, Purpose, Stage, Turn
from relevo.writes import DeadLetter, Writes

SAID = frozenset({Author.CUSTOMER, Author.AGENT, Author.AUTOMATION, Author.ASSISTANT})
MAY_HAVE_LEFT = frozenset({PartState.ACCEPTED, PartState.UNKNOWN, PartState.SENDING})


@dataclass(slots=True)
class Thread:
    """Everything of one conversation. Messages carry neither keys nor `untold`: see beside."""

    conversation: Conversation
    messages: dict[int, Message] = field(default_factory=dict)
    untold: dict[int, Untold] = field(default_factory=dict)
    fates: dict[int, Fate] = field(default_factory=dict)
    turns: dict[int, Turn] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    dead_letters: dict[int, DeadLetter] = field(default_factory=dict)
    superseded: set[int] = field(default_factory=set)
    echoed: set[int] = field(default_factory=set)
    """Parts whose echo has come, while they had not ended."""
    edits: dict[int, int] = field(default_factory=dict)
    """Which message each of these says anew."""
    edited_at: dict[int, datetime] = field(default_factory=dict)
    accepted: int = 0
    """Customer messages taken from webhooks, twins not counted."""

    @property
    def open_turn(self) -> Turn | None:
        """Return the turn that has not ended."""
        return next((t for t in self.turns.values() if t.stage is not Stage.ENDED), None)

    def hear_echo(self, message_id: int) -> None:
        """Raise the version at the first echo of a part that has not ended."""
        part = self.parts.get(message_id)
        if part is None or part.state in PARTS_TERMINAL or message_id in self.echoed:
            return
        self.echoed.add(message_id)
        self.raise_version()

    def write_untold(self, writes: Writes) -> None:
        """Note what waits from now on, what does not any more, and the fates that go with it."""
        self.untold.update((m.id, m.untold) for m in writes.recalled if m.untold is not None)
        self.untold.update(writes.untold)
        for message_id in writes.told:
            self.untold.pop(message_id, None)
        self.fates.update(writes.fates)

    def may_show(self, message: Message, since: datetime) -> bool:
        """Tell whether a history since then may show it; what surely never left is in none."""
        part = self.parts.get(message.id)
        never_left = (
            part is not None
            and part.state in {PartState.DEAD, PartState.CANCELLED}
            and not (part.resent or part.reason == SEND_UNKNOWN)
        )
        return (message.event_at >= since or not message.timed) and not never_left

    def was_told(self, message: Message) -> bool:
        """Tell whether the AI was told it, or we have said it, and nobody took it back."""
        part = self.parts.get(message.id)
        return (
            message.timed
            and message.author in SAID
            and message.kind != "reaction"
            and self.fates.get(message.id) is not Fate.DEAD
            and not message.revoked
            and message.id not in self.untold
            and (part is None or part.state in MAY_HAVE_LEFT)
        )

    def supersede(self) -> None:
        """Close the letters of turns none of whose messages is dead any more."""
        for turn_id in self.dead_letters:
            turn = self.turns[turn_id]
            dead = any(self.fates.get(i) is Fate.DEAD for i in turn.message_ids)
            if turn.purpose is Purpose.REPLY and not dead:
                self.superseded.add(turn_id)

    def raise_version(self) -> None:
        """Have memory notice: what it decided on is not all any more."""
        self.conversation = replace(self.conversation, version=self.conversation.version + 1)


def reply(part: Part, turn: Turn) -> Message:
    """Make the message that a part of a reply is."""
    return Message(
        id=part.message_id,
        author=Author.ASSISTANT,
        kind="text",
        body=part.text,
        event_at=part.created_at,
        received_at=part.created_at,
        source=Source.TURN,
        channel_id=turn.channel_id,
        address=turn.address,
    )
