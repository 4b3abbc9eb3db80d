"""The server: routes, health, and what every answer has in common."""

import errno
import os
import socket
from collections.abc import Iterable

import orjson
from aiohttp import web, web_response

from relevo.errors import ConfigError
from relevo.http.api import PREFIX, Api
from relevo.http.bodies import BODY_BYTES_MAX
from relevo.http.ports import Readiness
from relevo.http.webhooks import Webhooks

SHUTDOWN_SECONDS = 5.0
"""How long a stop waits for requests that are being answered."""

BACKLOG = 1024

# The `Server` header of every answer, without a signal's cost for each: nobody needs our versions.
web_response.SERVER_SOFTWARE = "relevo"  # type: ignore[attr-defined]  # aiohttp has no setting


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes a free one.

    Raises:
        ConfigError: if the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise ConfigError(_cannot_listen(host, port, error)) from error


def _cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> str:
    # What Python says of it repeats the address; what the system says does not.
    number = error.errno if isinstance(error, OSError) else None
    why = os.strerror(number) if number and number > 0 else "no such host"
    where = f"cannot listen on {host}:{port} ({why})"
    match number:
        case errno.EADDRINUSE:
            return f"server.port: {where}; stop what listens there, or choose another port"
        case errno.EACCES:
            return f"server.port: {where}; choose a port above 1023"
        case _:
            return f"server.host: {where}; choose an address of this machine, such as 127.0.0.1"


class Server:
    """Serves HTTP on one socket until it is stopped."""

    def __init__(
        self,
        bound: socket.socket,
        webhooks: Webhooks,
        readiness: Readiness,
        routes: Iterable[web.RouteDef] = (),
        api: Api | None = None,
    ) -> None:
        """`routes` are added as they are; with a sandbox among them, `/` leads to it."""
        self._bound = bound
        self._readiness = readiness
        # What nobody caught, aiohttp logs, and answers with a 500 that tells nothing of the inside.
        self.app = app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/webhooks/{channel}", webhooks.receive)
        # Evolution may append an event's name to the address that it was given.
        app.router.add_post("/webhooks/{channel}/{event:[a-z-]+}", webhooks.receive)
        app.router.add_get("/webhooks/{channel}", webhooks.challenge, allow_head=False)
        app.router.add_get("/livez", _alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/favicon.ico", _no_icon)
        extra = list(routes)
        app.router.add_routes(extra)
        if any(route.path == "/sandbox" for route in extra):
            app.router.add_get("/", _to_sandbox)
        if api is not None:
            app.add_subapp(PREFIX, api.app)
        # The default access log quotes query strings, and secrets stand in them.
        # Bodies stay as they come: webhooks undo an encoding themselves, once they know the sender.
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, auto_decompress=False
        )

    async def start(self) -> None:
        """Answer from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._bound, backlog=BACKLOG).start()

    async def stop(self) -> None:
        """Take no more requests; wait, within bounds, for those being answered."""
        await self._runner.cleanup()

    async def _ready(self, _request: web.Request) -> web.Response:
        checks = await self._readiness.checks()
        return web.Response(
            status=200 if all(checks.values()) else 503,
            body=orjson.dumps({"ready": all(checks.values()), "checks": checks}),
            content_type="application/json",
        )


async def _alive(_request: web.Request) -> web.Response:
    """The loop turns; nothing else is asked, so that a database blip restarts nobody."""
    return web.Response(text="ok")


async def _no_icon(_request: web.Request) -> web.Response:
    """Browsers ask for one wherever they are; the sandbox's page brings its own."""
    return web.Response(status=204)


async def _to_sandbox(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/sandbox")
