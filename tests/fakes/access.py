"""What the API asks of the store, in memory: callers, transactions, and answers that are kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from relevo.errors import StoreUnavailableError
from relevo.keys import Caller, Scope
from relevo.messages import ConversationKey


class FakeAccess:
    """Knows the keys it is told of; what a transaction did counts once it has ended well."""

    def __init__(self) -> None:
        self.callers: dict[str, Caller] = {}
        self.away = False
        self.answers: dict[tuple[str, str], tuple[bytes, int, bytes]] = {}
        self.committed: list[Any] = []
        self.open = 0

    def know(self, text: str, *scopes: Scope, business_id: str = "hotel") -> str:
        self.callers[text] = Caller(business_id, text, frozenset(scopes))
        return text

    async def caller(self, text: str) -> Caller | None:
        if self.away:
            raise StoreUnavailableError("made up")
        return self.callers.get(text)

    @asynccontextmanager
    async def reading(self, business_id: str) -> AsyncIterator[list[Any]]:
        self.open += 1
        try:
            yield [business_id, "reads"]
        finally:
            self.open -= 1

    @asynccontextmanager
    async def writing(self, business_id: str) -> AsyncIterator[list[Any]]:
        before = dict(self.answers)
        done: list[Any] = [business_id, "writes"]
        try:
            async with self.reading(business_id):
                yield done
        except BaseException:
            self.answers = before
            raise
        self.committed += done[2:]

    async def claim(
        self, transaction: list[Any], business_id: str, key: str, request: bytes
    ) -> tuple[bytes, int, bytes] | None:
        assert transaction[:2] == [business_id, "writes"]
        known = self.answers.get((business_id, key))
        if known is None:
            self.answers[business_id, key] = (request, 0, b"")
        return known

    async def home(
        self, transaction: list[Any], key: ConversationKey, *, for_writing: bool
    ) -> ConversationKey | None:
        raise AssertionError(f"{transaction} is of no conversation: {key}, {for_writing}")

    async def keep(
        self, transaction: list[Any], business_id: str, key: str, answer: tuple[int, bytes]
    ) -> None:
        assert transaction[:2] == [business_id, "writes"]
        request, _, _ = self.answers[business_id, key]
        self.answers[business_id, key] = (request, *answer)


@dataclass
class ApiCounts:
    """What the API told of its requests."""

    outcomes: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def api_request(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)

    def api_failed(self, error: BaseException) -> None:
        self.failures.append(error)
