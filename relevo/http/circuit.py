"""A circuit: keeps calls at home that can only fail until a person acts (money, keys, accounts).

* Closed, every call goes out. Open, none does, but for one probe each `probe_seconds`.
* What a call tells counts only while the circuit is as it was when the call went out: neither a
  late success closes what has opened since, nor a late failure opens what a probe has closed.
* It knows no reason why to open or to close; whoever makes the calls tells it, and writes the log.
"""

from typing import NewType

from relevo.clock import Clock

PROBE_SECONDS = 60.0

Pass = NewType("Pass", int)
"""Given to a call that may go out, and handed back with what came of it."""


class Circuit:
    """Opens when told so, and lets one call through each `probe_seconds` until one closes it."""

    def __init__(self, clock: Clock, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._clock = clock
        self._probe_seconds = probe_seconds
        self._probe_at = 0.0
        self._changes = 0
        self._reason = ""

    @property
    def reason(self) -> str:
        """Return the word it is open for; empty: it is closed."""
        return self._reason

    def admit(self) -> Pass | None:
        """Return the pass of a call that may go out now; None: it may not."""
        if self._reason:
            now = self._clock.monotonic()
            if now < self._probe_at:
                return None
            self._probe_at = now + self._probe_seconds
        return Pass(self._changes)

    def gives_back(self, given: Pass) -> None:
        """Let another call probe at once: this one told nothing about what it is open for."""
        if given == self._changes:
            self._probe_at = self._clock.monotonic()

    def opens(self, given: Pass, reason: str) -> bool:
        """Open, for the reason a call came back with. True: it was closed until now."""
        assert reason, "an open circuit has a reason"
        if given != self._changes:
            return False
        was_closed = not self._reason
        self._reason = reason
        if was_closed:
            self._changes += 1
            self._probe_at = self._clock.monotonic() + self._probe_seconds
        return was_closed

    def closes(self, given: Pass) -> bool:
        """Close: a call has gone well. True: it was open until now."""
        if given != self._changes or not self._reason:
            return False
        self._reason = ""
        self._changes += 1
        return True
