"""Undoes a body's Content-Encoding, within bounds. Pure.

aiohttp would do it before our code runs, and answers 400 or 500 itself for what it cannot undo
(`auto_decompress` of its web runner); but a provider that meets either drops what it had to say.
"""

import zlib

_AUTOMATIC = 32 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_WINDOWS = {"gzip": (_AUTOMATIC,), "x-gzip": (_AUTOMATIC,), "deflate": (_AUTOMATIC, _RAW)}
"""What zlib has to be told. RFC 9110 §8.4.1.2: some send `deflate` without the zlib format."""


class TooLargeError(Exception):
    """A body would be larger than the bound."""


def decoded(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """Return the body as it was before it was encoded, or as it is if that cannot be found out.

    An unknown encoding, a body that is cut short or is not what its header says (a proxy may have
    undone it) stay as they came: whether they can be read is for whoever reads them.

    Raises:
        TooLargeError: if it would be larger than `bytes_max`.
    """
    for window in _WINDOWS.get(encoding.strip().lower(), ()):
        stream = zlib.decompressobj(window)
        try:
            inflated = stream.decompress(body, bytes_max + 1)
        except zlib.error:
            continue
        if len(inflated) > bytes_max:
            raise TooLargeError
        if stream.eof and not stream.unused_data:
            return inflated
    return body
