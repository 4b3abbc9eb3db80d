"""The answer to a commit is lost: nobody believes it failed, and doing it again does no harm."""

from collections.abc import AsyncIterator

import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.embedded import DatabaseUrls
from relevo.writes import Writes
from tests.fault_proxy import Fault, FaultProxy, before_database
from tests.store_rig import BUSINESS, Desk, desk, said

pytestmark = pytest.mark.postgres


@pytest.fixture
async def cut(database: DatabaseUrls) -> AsyncIterator[tuple[Desk, FaultProxy]]:
    async with before_database(database) as (urls, line), desk(urls) as store:
        yield store, line


async def test_a_delivery_whose_answer_is_lost_is_stored_found_and_no_second_message(
    cut: tuple[Desk, FaultProxy],
) -> None:
    store, line = cut
    await store.deliver(said("Hola", "w1"))
    line.befall(answers=answer_lost_to(b"Busco mesa"))
    with pytest.raises(StoreUnavailableError):
        await store.deliver(said("Busco mesa", "w2"))
    assert line.cuts == 1
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    assert await store.journal.unread(None) == {key: 2}
    again = await store.deliver(said("Busco mesa", "w2"))
    assert (again.stored, again.duplicates) == ([], 1)
    assert await store.people() == [{"Hola", "Busco mesa"}]


async def test_a_commit_whose_answer_is_lost_has_raised_the_version(
    cut: tuple[Desk, FaultProxy],
) -> None:
    store, line = cut
    await store.deliver(said("Hola"))
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    writes = Writes((await store.journal.load([key]))[key].conversation)
    line.befall(answers=answer_lost_to(b"COMMIT"))
    with pytest.raises(StoreUnavailableError):
        await store.journal.commit(writes)
    assert line.cuts == 1
    assert await store.version() == 1
    assert await store.journal.commit(writes) is False


def answer_lost_to(words: bytes) -> Fault:
    """It is done there, and not heard of here: once."""
    return Fault(after=words, passes_bytes=0, times=1)
