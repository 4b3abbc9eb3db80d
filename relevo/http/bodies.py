"""Reading bodies within bounds: each one, all that are half read together, and in time.

Whoever sends is not known before the whole body is there, so this is what a stranger can cost us.
A body that came with its head, as nearly all do, is simply taken.
"""

from aiohttp import web

from relevo.clock import Clock
from relevo.http.encodings import TooLargeError
from relevo.http.pace import within

BODY_BYTES_MAX = 4 * 1024 * 1024
"""The largest payload any provider announces is 3 MB."""

HALF_READ_BYTES_MAX = 256 * 1024 * 1024
"""Parts of bodies that are held until the rest comes, of all requests together."""

BODY_SECONDS_MAX = 30.0


class TooMuchError(Exception):
    """So much of others is half read that no more can be held."""


class Bodies:
    """Reads the bodies of requests."""

    def __init__(
        self,
        clock: Clock,
        half_read_bytes_max: int = HALF_READ_BYTES_MAX,
        bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        """`bytes_max` of one body, at most `BODY_BYTES_MAX`."""
        self._clock = clock
        self._bytes_max = bytes_max
        self._half_read_bytes_max = half_read_bytes_max
        self.half_read_bytes = 0

    async def read(self, request: web.Request) -> bytes:
        """Return the whole body as it came.

        Raises:
            TooLargeError: if it is larger than it may be.
            TooMuchError: if too much of others is half read.
            TimeoutError: if the rest of it does not come, also because the sender hung up.
        """
        if request.content.is_eof():  # nothing more will come, so nothing is waited for
            try:
                body = await request.read()
            except web.HTTPRequestEntityTooLarge as error:
                raise TooLargeError from error
            if len(body) > self._bytes_max:
                raise TooLargeError
            return body
        async with within(self._clock, BODY_SECONDS_MAX):
            return await self._gather(request)

    async def _gather(self, request: web.Request) -> bytes:
        body = bytearray()
        try:
            async for piece in request.content.iter_any():
                body += piece
                self.half_read_bytes += len(piece)
                if len(body) > self._bytes_max:
                    raise TooLargeError
                if self.half_read_bytes > self._half_read_bytes_max:
                    raise TooMuchError
        except ConnectionError as error:
            raise TimeoutError from error
        finally:
            self.half_read_bytes -= len(body)
        return bytes(body)
