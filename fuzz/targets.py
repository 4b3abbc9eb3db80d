"""What is fuzzed, and what must hold whatever comes: also without the fuzzer, which tests use.

A target is named CHANNEL/WHAT, and so is the folder of its corpus. `webhook` is what anybody may
post who knows the secret; `history` and `answer` are what a provider answers; `shared` is what all
channels use. A target raises for nothing but a bug.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from relevo import identity
from relevo.clock import SystemClock
from relevo.errors import ProviderError
from relevo.http import (
    cloud_api_sending,
    evolution_history,
    evolution_sending,
    manychat_sending,
    twilio_history,
    twilio_sending,
    wati_history,
    wati_sending,
)
from relevo.http.channels import ChannelAdapter, WebhookRequest
from relevo.http.encodings import TooLargeError, decoded
from relevo.http.meta_errors import FailureKind
from relevo.messages import Address
from relevo.outcomes import Accepted
from relevo.turns import RecallStatus
from tests.every_line import adapters
from tests.storable import assert_storable, assert_texts

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "corpus"
SAMPLES = ROOT / "tests" / "samples"

Target = Callable[[bytes], None]
Answer = Callable[[int, bytes], object]

ASKED_AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
ANA = Address("phone", "+16505551234")
"""Who the samples are from."""
PAGE_SIZE = 5
PAGES_MAX = 4
DECODED_BYTES_MAX = 1 << 20
REGIONS = ("IL", "US", "BR", "MX", "AR", "SV", "DE")
STATUSES = (200, 201, 400, 401, 429, 500)
FORMS = frozenset({"twilio/webhook"})
"""The targets that read forms; the others read JSON, or no format at all."""
_SAME_FORMAT = {"360dialog/webhook": "cloud_api/webhook"}


def targets() -> Mapping[str, Target]:
    """Return every target by its name."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(adapters(Path(folder), SystemClock()))
    webhooks = {f"{kind}/webhook": partial(_webhook, line) for kind, line in lines.items()}
    return {**webhooks, **_HISTORIES, **_ANSWERS, "shared/phone": _phone, "shared/body": _body}


def samples(name: str) -> list[Path]:
    """Return what providers document that they write, for a target."""
    folders = dict.fromkeys((name, _SAME_FORMAT.get(name, name)))
    return sorted(path for folder in folders for path in (SAMPLES / folder).glob("*"))


def kept(name: str) -> list[Path]:
    """Return every input of a target that is kept: the samples, and what was found."""
    return [*samples(name), *sorted((CORPUS / name).glob("*"))]


def _webhook(line: ChannelAdapter, body: bytes) -> None:
    headers = {"x-relevo-secret": "wrong", "x-twilio-signature": "AAAA"}
    assert not line.authenticate(WebhookRequest(headers, {}, body))
    assert_storable(line.parse(body))


def _wati_history(body: bytes) -> None:
    for item, _ in wati_history.history_page(body, "ai@example.com").entries:
        assert_texts(astuple(item))


def _evolution_history(body: bytes) -> None:
    reading = evolution_history.Reading(ANA, ASKED_AT - timedelta(hours=1))
    for _ in range(PAGES_MAX):
        if (question := reading.question) is None:
            break
        assert question.body(PAGE_SIZE)
        reading.take(evolution_history.history_page(body), PAGE_SIZE)
    for item in reading.ended(RecallStatus.COMPLETE).items:
        assert item.keys
        assert_texts(astuple(item))


def _twilio_history(body: bytes) -> None:
    reading = twilio_history.Reading(ASKED_AT)
    for _ in range(PAGES_MAX):
        reading.take(twilio_history.history_page(body))
    for item in reading.ended(RecallStatus.COMPLETE).items:
        assert_texts(astuple(item))


def _history(read: Target, body: bytes) -> None:
    """Read an answer to a question for history: what is none says so, in its own error."""
    with contextlib.suppress(ProviderError):
        read(body)


def _answer(read: Answer, body: bytes) -> None:
    """Judge a send: what was taken has an id, and only a 2xx was taken."""
    for status in STATUSES:
        judged = read(status, body)
        if isinstance(judged, Accepted):
            assert status in (200, 201)
            assert judged.keys
            assert_texts(judged.keys)
        else:
            assert isinstance(judged, FailureKind)
            assert judged.word.isidentifier()


def _phone(said: bytes) -> None:
    """Read a phone in some country: its spelling is its only one, in every country."""
    region, value = (
        REGIONS[said[0] % len(REGIONS)] if said else "IL",
        said[1:].decode(errors="replace"),
    )
    address = Address("phone", value or "1")
    known = identity.normalised(address, region)
    assert known.value
    assert identity.normalised(known, region) == known
    if (e164 := identity.phone(address.value, region)) is not None:
        assert e164.startswith("+")
        assert e164[1:].isascii()
        assert e164[1:].isdigit()
        assert {identity.phone(e164, other) for other in REGIONS} == {e164}
    assert identity.canonical_key("shop", (address,), region).startswith("phone:shop:")


def _body(said: bytes) -> None:
    """Undo a body's encoding, within bounds."""
    longest = max(len(said), DECODED_BYTES_MAX)
    for encoding in ("gzip", "deflate", "br", ""):
        with contextlib.suppress(TooLargeError):
            assert len(decoded(said, encoding, DECODED_BYTES_MAX)) <= longest


def _named(read: Callable[[int, bytes, str], object]) -> Answer:
    """Give a judge of sends our correlation id."""
    return lambda status, body: read(status, body, "relevo-1")


_HISTORIES: Mapping[str, Target] = {
    "wati/history": partial(_history, _wati_history),
    "evolution/history": partial(_history, _evolution_history),
    "twilio/history": partial(_history, _twilio_history),
}
_ANSWERS: Mapping[str, Target] = {
    f"{channel}/answer": partial(_answer, read)
    for channel, read in {
        "wati": _named(wati_sending.send_answer),
        "cloud_api": _named(cloud_api_sending.send_answer),
        "manychat": _named(manychat_sending.send_answer),
        "evolution": evolution_sending.send_answer,
        "twilio": _named(twilio_sending.send_answer),
    }.items()
}
