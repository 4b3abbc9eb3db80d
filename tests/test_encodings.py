"""A webhook's body may be compressed, or say that it is: it is kept in any case."""

import gzip
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from relevo.http.encodings import TooLargeError, decoded
from relevo.store.embedded import DatabaseUrls
from tests.house import SECRET, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
BODY_BYTES_MAX = 4 * 1024 * 1024
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PLAIN = b'{"text": "Hola"}'
ZIPPED = gzip.compress(PLAIN, mtime=0)  # the same in every process: it is the name of a test, too


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


async def post(house: House, body: bytes, encoding: str, secret: str = SECRET) -> int:
    headers = {"X-Relevo-Secret": secret, "Content-Encoding": encoding}
    url = f"{house.url}/webhooks/line"
    # A file, because the client would compress bytes once more.
    async with house.session.post(url, data=io.BytesIO(body), headers=headers) as response:
        return response.status


def message(house: House, text: str) -> bytes:
    return orjson.dumps(house.wati.customer_message(PHONE, text, NOON).webhook())


async def test_a_compressed_message_is_a_message(house: House) -> None:
    assert await post(house, gzip.compress(message(house, "uno")), "gzip") == 200
    assert await post(house, zlib.compress(message(house, "dos")), "Deflate") == 200
    rows = await house.rows("SELECT body FROM message ORDER BY id")
    assert [row["body"] for row in rows] == ["uno", "dos"]


async def test_a_header_that_is_not_true_costs_no_message(house: House) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "\xff"):
        assert (encoding, await post(house, message(house, encoding), encoding)) == (encoding, 200)
    [row] = await house.rows("SELECT count(*) FROM message")
    assert row[0] == 7


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "unheard-of"])
async def test_what_cannot_be_undone_is_kept_raw(house: House, encoding: str) -> None:
    body = gzip.compress(message(house, "Hola"))[:-9]
    assert await post(house, body, encoding) == 200
    [row] = await house.rows("SELECT reason, body FROM quarantine")
    assert tuple(row) == ("not_json", body)


async def test_the_secret_comes_first(house: House) -> None:
    for body in (gzip.compress(message(house, "Hola")), b"no gzip"):
        assert await post(house, body, "gzip", secret="wrong") == 401
    assert await house.rows("SELECT FROM message UNION ALL SELECT FROM quarantine") == []


async def test_what_grows_beyond_the_bound_is_refused(house: House) -> None:
    bomb = gzip.compress(bytes(BODY_BYTES_MAX + 1))
    assert await post(house, bomb, "gzip") == 413
    assert await house.rows("SELECT FROM quarantine") == []


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (ZIPPED, "gzip"),
        (ZIPPED, " X-GZIP "),
        (zlib.compress(PLAIN), "deflate"),
        (RAW.compress(PLAIN) + RAW.flush(), "deflate"),
        (PLAIN, ""),
    ],
)
def test_what_was_encoded_is_decoded(body: bytes, encoding: str) -> None:
    assert decoded(body, encoding, len(PLAIN)) == PLAIN


@pytest.mark.parametrize("body", [PLAIN, b"", ZIPPED[:-1], ZIPPED * 2])
def test_what_is_not_one_whole_stream_stays_as_it_is(body: bytes) -> None:
    assert decoded(body, "gzip", BODY_BYTES_MAX) == body


def test_the_bound_is_the_size_before_it_was_encoded() -> None:
    assert len(decoded(gzip.compress(bytes(1000)), "gzip", 1000)) == 1000
    with pytest.raises(TooLargeError):
        decoded(gzip.compress(bytes(1001)), "gzip", 1000)
