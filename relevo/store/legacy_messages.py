"""One message of an older CRM, of a table or a CSV: read as it is written, believed in parts.

* Columns have names in plenty: the first of each kind that tells something counts (`COLUMNS`).
* `to_number` is the customer's, whoever wrote. Only where a `from_number` stands beside it is it
  the receiver's, and the customer is on the other side of what he wrote himself.
* A row that cannot be used is refused with a word for why.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import orjson

from relevo import identity
from relevo.identity import PHONE
from relevo.messages import Author
from relevo.store.legacy import RefusedTimeError, instant, plausible

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "message_id", "uuid"),
    "to": ("to_number", "phone", "phone_number", "wa_id"),
    "from": ("from_number",),
    "jid": ("jid", "remote_jid", "chat_id"),
    "lid": ("lid",),
    "lead": ("lead_id", "lead"),
    "direction": ("direction",),
    "from_me": ("from_me",),
    "body": ("body", "text", "message", "content"),
    "time": ("created_at", "timestamp", "sent_at"),
}
"""What is looked for, and the names it may have."""

PERSON: Final = ("to", "from", "jid", "lid", "lead")
"""What says whose a message is; one is enough."""

BODY_CHARACTERS_MAX = 65_536
ID_CHARACTERS_MAX = 200

INBOUND: Final = frozenset({"in", "inbound", "incoming", "received", "customer"})
OUTBOUND: Final = frozenset(
    {"out", "outbound", "outgoing", "sent", "agent", "outbound-api", "outbound-reply"}
)
_YES: Final = frozenset({"true", "t", "1", "yes"})
_NO: Final = frozenset({"false", "f", "0", "no"})
_NOTHING: Final = frozenset({"", "null", "none", "nan", "\\n"})
_WHOLE = re.compile(r"(\d+)\.0", re.ASCII)  # a spreadsheet's idea of a number
_EPOCH = re.compile(r"(\d{10})(\d{3})?(?:\.\d{1,9})?", re.ASCII)
_KIND_BY_SERVER: Final = {"s.whatsapp.net": PHONE, "c.us": PHONE, "lid": "lid"}


class RefusedRowError(ValueError):
    """This row cannot become a message; the text is a word for why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a row does not tell: the region of its phones, the zone of its times, who answered."""

    region: str
    local: tzinfo
    outbound: Author
    now: datetime


@dataclass(frozen=True, slots=True)
class LegacyMessage:
    """A message that can be used. `phone` is E.164; phone, lead and lid are empty if not told."""

    legacy_id: str
    phone: str
    lead_id: str
    lid: str
    author: Author
    body: str
    said_at: datetime


def missing(names: Collection[str]) -> list[str]:
    """Return what rows with these columns cannot tell, each as the name it would best have."""
    lacking = [COLUMNS[kind][0] for kind in ("body", "time") if not _has(names, kind)]
    if not (_has(names, "direction") or _has(names, "from_me")):
        lacking.append("direction")
    if not any(_has(names, kind) for kind in PERSON):
        lacking.append("to_number")
    return lacking


def message(row: Mapping[str, Any], reading: Reading) -> LegacyMessage:
    """Read one row, by the names of its columns in small letters.

    Raises:
        RefusedRowError: if it cannot become a message.
    """
    author = _author(row, reading)
    phone, lid = _reached_at(row, author, reading.region)
    lead_id = _word(row, "lead")
    if not (phone or lid or lead_id):
        numbered = _word(row, "to") or _word(row, "from")
        raise RefusedRowError("not_a_phone" if numbered else "nobody")
    if max(len(lead_id), len(lid)) > ID_CHARACTERS_MAX:
        raise RefusedRowError("id_too_long")
    read = LegacyMessage("", phone, lead_id, lid, author, _body(row), _said_at(row, reading))
    return replace(read, legacy_id=_legacy_id(row, read))


def _author(row: Mapping[str, Any], reading: Reading) -> Author:
    direction, from_me = _word(row, "direction").lower(), _word(row, "from_me").lower()
    if not (direction or from_me):
        raise RefusedRowError("no_direction")
    if direction in INBOUND or (not direction and from_me in _NO):
        return Author.CUSTOMER
    if direction in OUTBOUND or (not direction and from_me in _YES):
        return reading.outbound
    raise RefusedRowError("unknown_direction")


def _reached_at(row: Mapping[str, Any], author: Author, region: str) -> tuple[str, str]:
    """Return the customer's phone and lid, each empty if it is not told or cannot be read."""
    sender, receiver = _word(row, "from"), _word(row, "to")
    number = sender if sender and author is Author.CUSTOMER else receiver
    named = ((number, PHONE), (_word(row, "jid"), PHONE), (_word(row, "lid"), "lid"))
    phone, lid = "", ""
    for told, meant in named:
        user, _, server = told.removeprefix("whatsapp:").partition("@")
        kind = _KIND_BY_SERVER.get(server, "") if server else meant
        if kind == PHONE:
            phone = phone or identity.phone(user.partition(":")[0], region) or ""
        elif kind == "lid":
            user = user.partition(":")[0]
            lid = lid or (user if user.isascii() and user.isdigit() else "")
        else:
            raise RefusedRowError("no_person")
    return phone, lid


def _body(row: Mapping[str, Any]) -> str:
    told = (row.get(name) for name in COLUMNS["body"])
    body = next((text for text in told if isinstance(text, str) and text.strip()), "")
    body = body.replace("\0", "")
    if not body.strip():
        raise RefusedRowError("empty")
    if len(body) > BODY_CHARACTERS_MAX:
        raise RefusedRowError("too_long")
    return body


def _said_at(row: Mapping[str, Any], reading: Reading) -> datetime:
    told = str(_first(row, "time") or "").strip()
    try:
        if epoch := _EPOCH.fullmatch(told):
            seconds = datetime.fromtimestamp(int(epoch[1]), UTC)
            return plausible(seconds.replace(microsecond=int(epoch[2] or 0) * 1000), reading.now)
        said_at = instant(told, reading.now, reading.local)
    except RefusedTimeError as error:
        raise RefusedRowError(str(error)) from error
    if said_at is None:
        raise RefusedRowError("no_time")
    return said_at


def _legacy_id(row: Mapping[str, Any], read: LegacyMessage) -> str:
    """Return the row's own id; of one that has none, or a monstrous one, what it says as a hash."""
    own = _word(row, "id")
    if own and len(own) <= ID_CHARACTERS_MAX:
        return own
    return f"row:{hashlib.sha256(orjson.dumps([own, *astuple(read)])).hexdigest()[:32]}"


def _word(row: Mapping[str, Any], kind: str) -> str:
    told = _first(row, kind)
    text = str(told).strip() if isinstance(told, str | int | float) else ""
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text.replace("\0", "")


def _first(row: Mapping[str, Any], kind: str) -> object:
    """Return what the first column of a kind tells that tells anything."""
    values = (row.get(name) for name in COLUMNS[kind])
    return next(
        (v for v in values if v is not None and str(v).strip().lower() not in _NOTHING), None
    )


def _has(names: Collection[str], kind: str) -> bool:
    return any(name in names for name in COLUMNS[kind])
