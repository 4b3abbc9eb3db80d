"""A child process that does the least a webhook can: read the body, answer 200. Says its port."""

import asyncio

import uvloop
from aiohttp import web

from bench import children


async def main() -> None:
    """Serve until ended."""
    children.order_given()
    app = web.Application()
    app.router.add_post("/webhooks/{channel}", _receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    children.say({"port": runner.addresses[0][1]})
    await asyncio.Event().wait()


async def _receive(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="ok")


if __name__ == "__main__":
    uvloop.run(main())
