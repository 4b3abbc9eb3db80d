"""A wire to the database that is cut at the worst moment: done there, and not heard of here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlencode, urlsplit

from relevo.store.embedded import DatabaseUrls

PIECE_BYTES = 65_536


class Wire:
    """Passes everything on, until a request holds `lose_answer_to`: the answer to that is lost."""

    def __init__(self, host: str, port: str) -> None:
        """`host` may be the folder of the server's socket."""
        self._host = host
        self._port = port
        self.lose_answer_to: bytes | None = None
        self.cuts = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either end closes it."""
        answers, requests = await self._reach()
        losing = asyncio.Event()
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, requests, losing))
                both.create_task(self._answer(answers, writer, losing))
        for end in (writer, requests):
            end.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, int(self._port))

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
        losing: asyncio.Event,
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            if self.lose_answer_to is not None and self.lose_answer_to in piece:
                self.lose_answer_to = None
                losing.set()
            requests.write(piece)
            await requests.drain()
        requests.close()

    async def _answer(
        self,
        answers: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        losing: asyncio.Event,
    ) -> None:
        while piece := await answers.read(PIECE_BYTES):
            if losing.is_set():
                self.cuts += 1
                break
            writer.write(piece)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def wire(urls: DatabaseUrls) -> AsyncIterator[tuple[DatabaseUrls, Wire]]:
    """Return urls whose server role works through a wire; the owner's goes straight."""
    url = urlsplit(urls.url)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    cut = Wire(query["host"], query["port"])
    server = await asyncio.start_server(cut.connected, "127.0.0.1", 0)
    here = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
    through = url._replace(query=urlencode(query | here))
    try:
        yield DatabaseUrls(through.geturl(), urls.owner_url), cut
    finally:
        server.close()
        await server.wait_closed()
