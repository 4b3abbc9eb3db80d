"""The rows of an older CRM are read as they are: whose, by whom, what, when, and what is wrong."""

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.errors import FileError
from relevo.messages import Author
from relevo.store.legacy_messages import RefusedRowError, message
from relevo.store.legacy_sources import Csv
from tests.crm_rows import LONG_AGO, READING, crm_csv, row

PHONE = "+50370000246"
BY = {"to_number": "7000-0246"}


@pytest.mark.parametrize(
    ("columns", "reached"),
    [
        (BY, (PHONE, "", "")),
        ({"to_number": "whatsapp:+50370000246", "lead_id": "L-7"}, (PHONE, "L-7", "")),
        ({"phone_number": 50370000246, "lead": 7}, (PHONE, "7", "")),
        ({"to_number": "50370000246.0", "lead_id": "7.0"}, (PHONE, "7", "")),
        ({"to_number": "NULL", "jid": "50370000246:3@s.whatsapp.net"}, (PHONE, "", "")),
        ({"remote_jid": "1234567890123@lid", **BY}, (PHONE, "", "1234567890123")),
        ({"lid": "1234567890123@lid"}, ("", "", "1234567890123")),
        ({"lid": "1234567890123", "to_number": "the front desk"}, ("", "", "1234567890123")),
        ({"from_number": "70000246", "to_number": "70000001"}, (PHONE, "", "")),
        ({"from_number": "70000001", **BY, "direction": "out"}, (PHONE, "", "")),
        ({"lead_id": "L-7", "to_number": "none"}, ("", "L-7", "")),
    ],
)
def test_whose_a_row_is_stands_under_many_names(
    columns: dict[str, Any], reached: tuple[str, str, str]
) -> None:
    read = message(row("Hola", **columns), READING)
    assert (read.phone, read.lead_id, read.lid) == reached


@pytest.mark.parametrize(
    ("columns", "author"),
    [
        ({"direction": "INBOUND"}, Author.CUSTOMER),
        ({"direction": "outbound-api"}, Author.AGENT),
        ({"direction": None, "from_me": False}, Author.CUSTOMER),
        ({"direction": "", "from_me": "t"}, Author.AGENT),
    ],
)
def test_who_wrote_is_told_by_a_direction(columns: dict[str, Any], author: Author) -> None:
    assert message(row("Hola", 0, **BY, **columns), READING).author is author


@pytest.mark.parametrize(
    "time",
    [
        "2025-10-04 07:00",  # where the business is
        "2025-10-04 13:00:00+00",
        "2025-10-04T15:00:00.000+0200",
        "1759582800",
        1_759_582_800_000,
    ],
)
def test_every_way_to_write_a_time_is_one_instant(time: object) -> None:
    assert message(row("Hola", 0, **BY, created_at=time), READING).said_at == LONG_AGO
    utc = replace(READING, local=UTC)
    naive = message(row("Hola", 0, **BY, created_at="2025-10-04 07:00"), utc)
    assert naive.said_at == LONG_AGO - timedelta(hours=6)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "nobody"),
        ({"to_number": "the front desk"}, "not_a_phone"),
        ({"jid": "120363@g.us"}, "no_person"),
        ({"lead_id": "7" * 201}, "id_too_long"),
        ({**BY, "direction": ""}, "no_direction"),
        ({**BY, "direction": "sideways"}, "unknown_direction"),
        ({**BY, "body": " \0"}, "empty"),
        ({**BY, "body": "a" * 65_537}, "too_long"),
        ({**BY, "created_at": ""}, "no_time"),
        ({**BY, "created_at": "yesterday"}, "not_a_time"),
        ({**BY, "created_at": "0000000001"}, "too_old"),
        ({**BY, "created_at": "2026-03-02T12:01:01Z"}, "in_the_future"),
    ],
)
def test_a_row_that_cannot_become_a_message_is_refused_with_a_word(
    columns: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusedRowError, match=f"^{reason}$"):
        message(row("Hola") | columns, READING)


def test_a_row_without_an_id_is_known_again_by_what_it_says() -> None:
    one, same, other = (
        message(row(body, 0, **BY) | {"id": given}, READING)
        for body, given in (("Hola", ""), ("Hola", None), ("None", ""))
    )
    assert one.legacy_id == same.legacy_id != other.legacy_id
    assert (other.body, len(one.legacy_id)) == ("None", len("row:") + 32)
    assert message(row("Hola", 0, **BY) | {"id": "x" * 201}, READING).legacy_id.startswith("row:")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_a_csv_is_read_in_whatever_it_was_written(tmp_path: Path, encoding: str) -> None:
    path = crm_csv(tmp_path / "crm.csv", [row("¿Mañana, señor?", 0, **BY)], encoding)
    [[(number, found)]] = [page async for page in Csv(path).pages()]
    assert (number, message(found, READING).body) == (2, "¿Mañana, señor?")
    assert await Csv(path).count() == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"id;name\r\n", "no column body, no created_at, no direction, no to_number"),
        (b"to_number;text;from_me\r\n", "no column created_at, nor another name"),
        (b'phone;body;direction;sent_at\r\n1;"' + b"a" * 140_000, "this is no CSV"),
    ],
)
async def test_a_file_of_something_else_is_refused(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "crm.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match=why):
        [page async for page in Csv(path).pages()]
    with pytest.raises(FileError, match="cannot be read"):
        await Csv(tmp_path).count()
