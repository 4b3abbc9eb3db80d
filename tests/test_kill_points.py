"""The server is killed at every point there is and started again: nothing is lost or doubled."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
import pytest_asyncio

from relevo.effects import Effect, WakeAt
from relevo.tasks import Tasks
from relevo.turns import Stage
from tests.crash_story import STORY_SECONDS_MAX, expect, tell
from tests.killable import PLACES, TIMER, TURNLESS, commit_place, effect_place
from tests.lives import Lives
from tests.postgres import Cluster

pytestmark = pytest.mark.process
on_one_loop = pytest.mark.asyncio(loop_scope="module")

AT_ONCE_MAX = 5
"""Stories that are told at the same time: two cores, and PostgreSQL takes 60 connections."""

PASSED_ONCE = {
    commit_place(Stage.ENSURING),
    commit_place(Stage.RECONCILING),
    commit_place(TURNLESS),
    "effect:EnsureConversation",
    "effect:Reconcile",
    TIMER,
}
PASSED_THRICE = {commit_place(Stage.SENDING), "effect:Send"}
NEVER_LEFT = ("after:commit:sending", "before:effect:Send")
KILLS = [
    f"{when}:{place}#{nth}"
    for place in PLACES
    for when in ("before", "after")
    for nth in range(1, 4 if place in PASSED_THRICE else 2 if place in PASSED_ONCE else 3)
]
"""Every point of the story. A place that nobody named here has to be passed in both turns."""


def test_every_commit_and_every_effect_has_a_point_before_and_after_it() -> None:
    stages = [commit_place(stage) for stage in (*Stage, TURNLESS)]
    effects = [effect_place(kind) for kind in get_args(Effect)]
    assert effect_place(WakeAt) == TIMER
    assert len({*stages, *effects}) == len(Stage) + 1 + len(get_args(Effect))
    wanted = {f"{when}:{place}" for place in stages + effects for when in ("before", "after")}
    assert {kill.partition("#")[0] for kill in KILLS} == wanted


@on_one_loop
async def test_an_undisturbed_story_passes_every_point(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fresh_database() as urls, Lives(urls, tmp_path) as lives:
        await lives.start()
        await tell(lives)
        await expect(lives)
        assert lives.exits == []
        assert len(lives.ai.conversations) == 1
        passed = Counter(lives.passed)
        planned = Counter(kill.partition("#")[0] for kill in KILLS)
        timers = {f"{when}:{TIMER}" for when in ("before", "after")}
        assert {p: n for p, n in passed.items() if p not in timers} == {
            p: n for p, n in planned.items() if p not in timers
        }
        assert planned <= passed


@pytest.fixture(scope="module")
def selected(request: pytest.FixtureRequest) -> list[str]:
    """The kills whose tests are to run; first those after which a send is repeated."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    params = [item.callspec.params for item in items if hasattr(item, "callspec")]
    kills = [str(p["kill"]) for p in params if "kill" in p]
    return sorted(kills, key=lambda kill: not kill.startswith(NEVER_LEFT))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stories(
    selected: list[str], cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, "asyncio.Future[None]"]]:
    """Tell the story once a point, some at a time; each test waits for its own."""
    places = asyncio.Semaphore(AT_ONCE_MAX)
    told = {kill: asyncio.get_running_loop().create_future() for kill in selected}

    async def live_through(kill: str) -> None:
        folder = tmp_path_factory.mktemp("lives")
        async with places, cluster.fresh_database() as urls, Lives(urls, folder) as lives:
            await lives.start(kill)
            await tell(lives)
            await lives.until(lambda: lives.exits == [-9] and lives.serving)
            await expect(lives)

    async def report(kill: str) -> None:
        try:
            await live_through(kill)
        except Exception as error:  # noqa: BLE001  (it is the test's to raise)
            told[kill].set_exception(error)
        else:
            told[kill].set_result(None)

    tasks = Tasks(lambda _: None)
    for kill in selected:
        tasks.spawn(report(kill), kill)
    yield told
    await tasks.cancel()


@on_one_loop
@pytest.mark.timeout(3 * STORY_SECONDS_MAX)
@pytest.mark.parametrize("kill", KILLS)
async def test_killed_there_it_goes_on_as_if_nothing_had_been(
    kill: str, stories: Mapping[str, "asyncio.Future[None]"]
) -> None:
    await stories[kill]
