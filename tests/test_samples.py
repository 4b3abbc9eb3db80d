"""What providers document that they write is read as tests/samples/read.yaml has it.

That file was read by a person, line by line. `python -m tests.test_samples` writes it anew, for
whoever adds a sample: look at the difference before you keep it.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from fuzz.targets import SAMPLES
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
from relevo.http.meta_errors import FailureKind
from relevo.messages import (
    Address,
    AddressChange,
    Arrival,
    Edit,
    HistoryItem,
    Ignored,
    InboundMessage,
    NewContact,
    Revocation,
    StatusUpdate,
)
from relevo.outcomes import Accepted
from relevo.turns import RecallStatus
from tests.every_line import adapters
from tests.fakes.clock import ManualClock
from tests.manychat_rig import NOW

READ = SAMPLES / "read.yaml"
PAGE_SIZE = 50

PATHS = sorted(SAMPLES.glob("*/webhook/*"))
HISTORIES = sorted(SAMPLES.glob("*/history/*"))
ANSWERS = sorted(SAMPLES.glob("*/answer/*"))


def named(path: Path) -> str:
    return str(path.relative_to(SAMPLES))


def test_every_sample_is_read_as_a_person_has_found_right() -> None:
    assert everything() == yaml.safe_load(READ.read_text(encoding="utf-8"))


def everything() -> dict[str, list[str]]:
    """Return, line by line, how each sample is read."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(adapters(Path(folder), ManualClock(NOW)))
    found = {
        named(path): [arrived(a) for a in lines[path.parts[-3]].parse(path.read_bytes())]
        for path in PATHS
    }
    found |= {named(path): list(history(path.parts[-3], path.read_bytes())) for path in HISTORIES}
    return found | {named(path): [answered(path.parts[-3], path)] for path in ANSWERS}


def arrived(arrival: Arrival) -> str:
    match arrival:
        case InboundMessage():
            at = arrival.event_at.isoformat() if arrival.event_at else "our clock"
            who = f"{arrival.author} {arrival.author_name}".strip()
            said = f"{arrival.kind} {arrival.body!r} {arrival.media}".strip()
            return f"{who}: {said}, {at}, {places(arrival.addresses)}, {' '.join(arrival.keys)}"
        case StatusUpdate():
            return f"status {arrival.status} {arrival.detail}, {' '.join(arrival.keys)}"
        case Edit() | Revocation():
            at = arrival.event_at.isoformat() if arrival.event_at else "our clock"
            what = f"now {arrival.body!r}" if isinstance(arrival, Edit) else "revoked"
            return f"{arrival.author} changed {arrival.target}: {what}, {at}"
        case NewContact():
            return f"new contact {places(arrival.addresses)}"
        case AddressChange():
            return f"{places(arrival.old)} becomes {places(arrival.new)}"
        case Ignored():
            return f"ignored {arrival.event}"
        case _:
            return f"kept raw: {arrival.reason}"


def places(addresses: Sequence[Address]) -> str:
    return " ".join(f"{kind}:{value}" for kind, value in addresses)


def history(kind: str, body: bytes) -> Iterator[str]:
    try:
        items = list(_items(kind, body))
    except ProviderError as error:
        yield f"no history: {error.reason}"
        return
    for item in items:
        at = item.event_at.isoformat() if item.event_at else "no time"
        who = f"{item.author} {item.author_name}".strip()
        yield f"{who}: {item.kind} {item.body!r}, {at}, {' '.join(item.keys)}"


def _items(kind: str, body: bytes) -> Iterator[HistoryItem]:
    since = NOW.replace(hour=0)
    if kind == "wati":
        yield from (item for item, _ in wati_history.history_page(body, "").entries)
    elif kind == "evolution":
        reading = evolution_history.Reading(Address("phone", "+16505551234"), since)
        reading.take(evolution_history.history_page(body), PAGE_SIZE)
        yield from reading.ended(RecallStatus.COMPLETE).items
    else:
        listed = twilio_history.Reading(since)
        listed.take(twilio_history.history_page(body))
        yield from listed.ended(RecallStatus.COMPLETE).items


def answered(kind: str, path: Path) -> str:
    """Judge an answer that came with the status that its provider gives it."""
    body, taken = path.read_bytes(), path.stem in ("accepted", "queued", "result-true")
    match kind:
        case "wati":
            judged = wati_sending.send_answer(200, body, "relevo-1")
        case "cloud_api":
            judged = cloud_api_sending.send_answer(200 if taken else 400, body, "relevo-1")
        case "manychat":
            judged = manychat_sending.send_answer(200 if taken else 400, body, "relevo-1")
        case "evolution":
            judged = evolution_sending.send_answer(201 if taken else 400, body)
        case _:
            judged = twilio_sending.send_answer(201 if taken else 400, body, "relevo-1")
    if isinstance(judged, Accepted):
        return f"accepted {' '.join(judged.keys)}"
    assert isinstance(judged, FailureKind)
    return f"{judged.failure} {judged.word}"


if __name__ == "__main__":
    READ.write_text(
        yaml.safe_dump(everything(), allow_unicode=True, width=1000, sort_keys=True),
        encoding="utf-8",
    )
