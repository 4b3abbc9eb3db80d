"""The one outgoing session: where it goes is configured, and the environment has no say in it."""

import pytest

from relevo.http.session import open_session
from tests.fakes.clock import ManualClock
from tests.fakes.wati import FakeWati
from tests.proxy_rig import proxy_in_the_environment
from tests.wati_rig import NOW, PHONE, Line, texts


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(NOW)
    async with (
        FakeWati(clock) as wati,
        proxy_in_the_environment(monkeypatch) as heard,
        open_session() as session,
    ):
        wati.customer_message(PHONE, "hello", NOW)
        assert texts(await Line(clock, wati, session).recall()) == ["hello"]
    assert heard == []
