"""Whether a line may send now: its circuit, and the brake that its provider's rate limits pull.

A line that is stopped (token, account, money) makes no call but a probe a minute, and is told to a
person once, in the log and by a gauge. One that is braked refuses whoever comes, and says how long.
"""

import logging
from typing import NamedTuple

from relevo.clock import Clock
from relevo.events import SendFailure
from relevo.http.brake import Brake
from relevo.http.circuit import Circuit, Pass
from relevo.http.meta_errors import FailureKind
from relevo.outcomes import Accepted, NotAccepted

LOG = logging.getLogger(__name__)

STOPPED = NotAccepted(SendFailure.STOPPED, "line_stopped")


class LinePass(NamedTuple):
    """Given to a send that may go out, and handed back with how it ended."""

    circuit: Pass
    closings: int


class LineGate:
    """Lets sends of one line through, and hears how they ended."""

    def __init__(self, clock: Clock, channel_id: str) -> None:
        self._channel_id = channel_id
        self._circuit = Circuit(clock)
        self._brake = Brake(clock)

    @property
    def stopped(self) -> bool:
        """Tell whether the provider lets this line send nothing, as far as we know."""
        return bool(self._circuit.reason)

    def admit(self) -> LinePass | NotAccepted:
        """Return the pass of a send that may go out now, or why it may not."""
        if wait_seconds := self._brake.admit():
            return NotAccepted(SendFailure.RATE_LIMITED, "line_braked", wait_seconds)
        if (given := self._circuit.admit()) is None:
            return STOPPED
        return LinePass(given, self._brake.closings)

    def accepted(self, given: LinePass) -> None:
        """A send with this pass was taken."""
        self._brake.went_well(given.closings)
        if self._circuit.closes(given.circuit):
            LOG.info("line works again: channel %s", self._channel_id)

    def judged(
        self, given: LinePass, outcome: Accepted | FailureKind, asked_seconds: float | None
    ) -> Accepted | NotAccepted:
        """Take what an answer to a send says, and say what it means for the send."""
        if isinstance(outcome, FailureKind):
            return self.refused(given, outcome, asked_seconds)
        self.accepted(given)
        return outcome

    def refused(
        self, given: LinePass, kind: FailureKind, asked_seconds: float | None
    ) -> NotAccepted:
        """Stop or brake the line if it has to be; `asked_seconds` is what the provider asks for."""
        if kind.failure is SendFailure.STOPPED:
            self.stops(given, kind.word)
        if kind.failure is not SendFailure.RATE_LIMITED:
            return NotAccepted(kind.failure, kind.word)
        seconds = asked_seconds or kind.pause_seconds
        if not kind.pair:
            seconds = self.limited(given, seconds)
        return NotAccepted(kind.failure, kind.word, seconds)

    def limited(self, given: LinePass, seconds: float | None) -> float:
        """A send came too soon. Return after how long this line may send again."""
        return self._brake.limited(given.closings, seconds)

    def stops(self, given: LinePass, reason: str) -> None:
        """A send was refused for what has nothing to do with it, or with its customer."""
        if self._circuit.opens(given.circuit, reason):
            LOG.error(
                "line stopped: channel %s: %s; its provider lets it send nothing until a person "
                "has acted; it is tried once a minute",
                self._channel_id,
                reason,
            )


class Line:
    """What every line at a real provider is: whose, under which id, and whether it may send."""

    def __init__(self, business_id: str, channel_id: str, clock: Clock) -> None:
        """`channel_id` is the id under which webhooks name this line."""
        self.business_id = business_id
        self.channel_id = channel_id
        self._gate = LineGate(clock, channel_id)

    @property
    def stopped(self) -> bool:
        """Tell whether the provider lets this line send nothing, as far as we know."""
        return self._gate.stopped
