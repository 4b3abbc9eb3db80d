"""The brake of one API key: who is told to slow down stops everybody who uses the key.

* A rate limit closes it for as long as it asks, or for 1, 2, 4 … 30 s where it does not say.
* While it is closed no call goes out. After that a few each second do, until one has gone well:
  all who waited would otherwise come back at once, and be told the same again.
* Nobody waits in here: a refusal says after how long to come back.
"""

from math import floor

from relevo.clock import Clock

DELAY_SECONDS_MAX = 30.0
GENTLY_PER_SECOND = 4
"""Calls a second that go out after a rate limit, until one has gone well."""


class Brake:
    """Shared by all who use one API key. A closing is numbered; calls remember the last one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closings = 0
        self._braking = False
        self._delay_seconds = 0.0
        self._free_at = 0.0
        self._second = 0
        self._gone_out = 0

    @property
    def closings(self) -> int:
        """Return how often it was closed; a call keeps this to tell what it belongs to."""
        return self._closings

    def admit(self) -> float:
        """Let a call out: 0. Or return how many seconds from now to ask again."""
        if not self._braking:
            return 0.0
        since_free_seconds = self._clock.monotonic() - self._free_at
        if since_free_seconds < 0:
            return -since_free_seconds
        second = floor(since_free_seconds)
        if second != self._second:
            self._second, self._gone_out = second, 0
        if self._gone_out >= GENTLY_PER_SECOND:
            return second + 1 - since_free_seconds
        self._gone_out += 1
        return 0.0

    def limited(self, closings: int, retry_after_seconds: float | None) -> float:
        """Close it: a call was told to slow down. Return how many seconds it stays closed.

        `closings` is what it was when the call went out: of many calls that are told so together
        only the first one makes the wait grow, but each may ask for more.
        """
        now = self._clock.monotonic()
        if closings == self._closings:
            self._closings += 1
            self._braking = True
            self._delay_seconds = min(max(1.0, 2 * self._delay_seconds), DELAY_SECONDS_MAX)
            self._second, self._gone_out = 0, 0
            self._free_at = now + (retry_after_seconds or self._delay_seconds)
        elif self._braking and retry_after_seconds is not None:
            self._free_at = max(self._free_at, now + retry_after_seconds)
        return max(0.0, self._free_at - now)

    def went_well(self, closings: int) -> None:
        """Release it, if the call went out after it was closed last."""
        if closings == self._closings:
            self._braking = False
            self._delay_seconds = 0.0
