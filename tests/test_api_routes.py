"""Deny by default: every route of the server is meant to be there, and asks for what it should."""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from relevo.api import Hands, open_api
from relevo.clock import SystemClock
from relevo.config import load
from relevo.http.api import DOCUMENT, PREFIX, PUBLIC, endpoint_of
from relevo.http.api_limits import Limits
from relevo.http.server import Server, listen
from relevo.http.webhooks import Webhooks
from relevo.keys import CHANCE_BYTES, Scope
from relevo.store.api_keys import NewKey, create
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import Means
from tests.commands import CONFIGURATION
from tests.fakes.access import ApiCounts
from tests.store_rig import BUSINESS, NOON, Desk, desk
from tests.test_webhooks import Box, Counted, Ready

pytestmark = pytest.mark.postgres

ANYBODY = {
    ("HEAD", "/livez"),
    ("HEAD", "/readyz"),
    ("HEAD", "/favicon.ico"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/favicon.ico"),
    # These ask for the secret of their channel, or prove who asks by it.
    ("POST", "/webhooks/{channel}"),
    ("POST", "/webhooks/{channel}/{event}"),
    ("GET", "/webhooks/{channel}"),
}
"""What is no part of the API, in a product without a sandbox."""


def server_of(store: Desk, folder: Path) -> tuple[Server, str]:
    """Return the product's server, as `app.py` makes it, and its address."""
    means = Means(store.pools, store.tasks, SystemClock(), store)
    (folder / "relevo.toml").write_text(CONFIGURATION)
    config = load(folder / "relevo.toml", {})
    hands = Hands(store.woken.append, (lambda _due_at: None), {}, (lambda: None), store.inbox)
    api = open_api(config, means, hands, ApiCounts(), Limits())
    listening, box = listen("127.0.0.1", 0), Box()
    webhooks = Webhooks({}, box, box, Counted(), SystemClock())
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    return Server(listening, webhooks, Ready(), (), api), url


def routes(app: web.Application) -> Mapping[tuple[str, str], web.AbstractRoute]:
    found = {}
    for route in app.router.routes():
        assert route.resource is not None
        found[route.method, route.resource.canonical] = route
    return found


async def test_every_route_is_public_on_purpose_or_has_a_scope(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with desk(database) as store, aiohttp.ClientSession() as session:
        server, url = server_of(store, tmp_path)
        behind = {w: r for w, r in routes(server.app).items() if w[1].startswith(PREFIX)}
        assert set(routes(server.app)) - set(behind) == ANYBODY
        endpoints = {where: endpoint_of(route) for where, route in behind.items()}
        public = {where for where, endpoint in endpoints.items() if endpoint is None}
        assert public == {("GET", f"{PREFIX}{path}") for path in PUBLIC}
        assert {DOCUMENT} == PUBLIC
        scopes = {endpoint.scope for endpoint in endpoints.values() if endpoint is not None}
        assert scopes <= set(Scope)
        new = NewKey("without scopes", [], None)
        text, _ = await create(store.pools, BUSINESS, new, bytes(CHANCE_BYTES), NOON)
        await server.start()
        for method, path in endpoints.keys() - public:
            at = f"{url}{path.replace('{', '').replace('}', '')}"
            for key, status in ((None, 401), ("nobody", 401), (text, 403)):
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                async with session.request(method, at, headers=headers) as answer:
                    assert answer.status == status, (method, at)
                    assert answer.content_type == "application/problem+json"
        await server.stop()
