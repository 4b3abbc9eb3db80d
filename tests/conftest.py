import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.postgres import Cluster, quick_cluster
from tests.properties_profile import register_profiles

register_profiles()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with quick_cluster(tmp_path_factory.mktemp("postgres")) as cluster:
        yield cluster


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[DatabaseUrls]:
    async with cluster.fresh_database() as urls:
        yield urls


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped, a skip is a failure that names what is missing."""
    report = yield
    if report.skipped and os.environ.get("RELEVO_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where no skip is allowed: {report.longrepr}"
    del call
    return report
