"""What the API needs from the shell, but for what single endpoints do. Wired in `relevo/api.py`."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from relevo.keys import Caller
from relevo.messages import ConversationKey

Transaction = Any
"""A transaction of one business: the store's own, handed on and never looked into."""


class Access(Protocol):
    """Who calls, what they see, and that a request is done once.

    Everything raises `StoreUnavailableError` if the database is away.
    """

    async def caller(self, text: str) -> Caller | None:
        """Return whose key this is; None if it is none, or works no more."""

    def reading(self, business_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that sees one business at one instant."""

    def writing(self, business_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction of one business; whoever raises in it has changed nothing."""

    async def claim(
        self, transaction: Transaction, business_id: str, key: str, request: bytes
    ) -> tuple[bytes, int, bytes] | None:
        """Claim an Idempotency-Key for a request; None: it is ours.

        Else return which request had it, and the status and body it was answered.
        """

    async def home(
        self, transaction: Transaction, key: ConversationKey, *, for_writing: bool
    ) -> ConversationKey | None:
        """Return it, or the one it was merged into, locked if wanted; None: there is neither."""

    async def keep(
        self, transaction: Transaction, business_id: str, key: str, answer: tuple[int, bytes]
    ) -> None:
        """Keep what a request that claimed a key is answered: its status and body."""


class ApiProbe(Protocol):
    """Observes the API."""

    def api_request(self, outcome: str, seconds: float) -> None:
        """A request was answered, this long after its head was read.

        Outcomes: `answered`, `repeated` (an Idempotency-Key that was known), or the word of a
        problem.
        """

    def api_failed(self, error: BaseException) -> None:
        """A request was answered 500: a bug, told by its type and place."""
