"""Serves the metrics, and measures the loop that everything else runs on.

The metrics have a port and a thread of their own, so they answer while the event loop is blocked:
the moment they are most wanted. The port knows no secret and checks none; it belongs inside.
"""

import asyncio
from collections.abc import Callable
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from relevo.clock import Clock, sleep
from relevo.errors import ConfigError

LAG_PERIOD_SECONDS = 0.2
"""Five samples a second; a stall shorter than this may be missed."""


class MetricsServer:
    """Answers scrapes of `registry` on `host` and `port` from the moment it is made until `stop`.

    Port 0 takes a free one. Raises ConfigError when the port cannot be opened.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        # A creation time beside every counter and histogram would add a series to each.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self._server, self._thread = _started(registry, host, port)

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        return self._server.server_port

    async def stop(self) -> None:
        """Close the port. Scrapes under way end by themselves."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


async def sample_loop_lag(clock: Clock, observe: Callable[[float], None]) -> None:
    """Observe, five times a second and until cancelled, by how many seconds the loop is late."""
    while True:
        asleep_at = clock.monotonic()
        await sleep(clock, LAG_PERIOD_SECONDS)
        observe(max(0.0, clock.monotonic() - asleep_at - LAG_PERIOD_SECONDS))


def _started(registry: CollectorRegistry, host: str, port: int) -> tuple[WSGIServer, Thread]:
    try:
        return start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigError(
            f"server.metrics_port: cannot listen on {host}:{port} ({error.strerror}); "
            "stop what listens there, or choose another port"
        ) from error
