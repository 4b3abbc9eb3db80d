"""Who failed, and when it is looked at again: later each time, and one that goes on is set aside.

Set aside is left alone for ten minutes, whatever is written to it, and then tried as often again.
Its rows stay as they are, unread; whoever cannot take a step cannot write a dead letter either. It
is counted, and an error in the log names it, after those that tell how it failed.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from relevo.actors.ports import Probe
from relevo.clock import Alarm, Clock
from relevo.messages import ConversationKey

LOG = logging.getLogger(__name__)

PAUSE_SECONDS_MAX = 30.0


class Recovery:
    """The pauses of customers that must not be looked at now."""

    def __init__(
        self,
        clock: Clock,
        probe: Probe,
        look: Callable[[ConversationKey], None],
        *,
        failures_max: int,
        set_aside_seconds: float,
    ) -> None:
        """`look` is called when a pause is over."""
        self._clock = clock
        self._probe = probe
        self._look = look
        self._failures_max = failures_max
        self._set_aside_seconds = set_aside_seconds
        self._failures: dict[ConversationKey, int] = {}
        self._pauses: dict[ConversationKey, Alarm] = {}

    def rests(self, key: ConversationKey) -> bool:
        """Tell whether this customer is not to be looked at now."""
        return key in self._pauses

    def well(self, key: ConversationKey) -> None:
        """Forget this customer's failures: it came to rest."""
        self._failures.pop(key, None)

    def failed(self, key: ConversationKey) -> None:
        """Look again after a pause that grows, or set the customer aside."""
        failures = self._failures.pop(key, 0) + 1
        if failures >= self._failures_max:
            self._set_aside(key, failures)
            return
        self._failures[key] = failures
        self.later(key, min(2.0**failures / 4, PAUSE_SECONDS_MAX))
        self._probe.restarted()

    def later(self, key: ConversationKey, seconds: float) -> None:
        """Look at a customer after a pause, and not before."""

        def again() -> None:
            del self._pauses[key]
            self._look(key)

        if (pause := self._pauses.get(key)) is not None:
            pause.cancel()
        self._pauses[key] = self._clock.call_at(
            self._clock.now() + timedelta(seconds=seconds), again
        )

    def _set_aside(self, key: ConversationKey, failures: int) -> None:
        self.later(key, self._set_aside_seconds)
        LOG.error(
            "set aside: conversation %d of %s failed %d times; it is left alone for %d s",
            key.conversation_id,
            key.business_id,
            failures,
            self._set_aside_seconds,
        )
        self._probe.set_aside()
