"""What the fuzzer has found worth keeping, and what providers document, read again without it."""

import gzip
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from fuzz.keeping import keep, reached
from fuzz.mutating import mutated
from fuzz.targets import CORPUS, FORMS, SAMPLES, Target, kept, targets
from relevo.http.bodies import BODY_BYTES_MAX

NEIGHBOURS = 60
"""How often each input is changed, in the ways that the fuzzer changes it; always the same ones."""

BODY_SECONDS_MAX = 10.0
"""Of the processor, for the largest body there can be: less than one, but on a slow machine; what
grows with the square of the length takes minutes."""


@pytest.fixture(scope="module")
def known() -> Mapping[str, Target]:
    return targets()


@pytest.mark.parametrize("name", sorted(targets()))
def test_every_input_that_was_kept_is_read_and_so_are_its_neighbours(
    name: str, known: Mapping[str, Target]
) -> None:
    paths = kept(name)
    assert paths
    for path in paths:
        body = path.read_bytes()
        known[name](body)
        for seed in range(NEIGHBOURS):
            known[name](mutated(body, seed, form=name in FORMS) or b"")


def test_no_input_is_kept_of_what_nobody_reads(known: Mapping[str, Target]) -> None:
    folders = {path.parent for root in (CORPUS, SAMPLES) for path in root.glob("*/*/*")}
    assert {f"{folder.parent.name}/{folder.name}" for folder in folders} <= {*known}


def test_another_input_takes_another_way_through_the_product(known: Mapping[str, Target]) -> None:
    text, image = (SAMPLES / "wati/webhook" / name for name in ("message.json", "image.json"))
    ways = [reached(known["wati/webhook"], path.read_bytes()) for path in (text, image)]
    assert ways[0] - ways[1]
    assert ways[1] - ways[0]


def test_a_change_keeps_the_format_and_chance_alone_decides_it() -> None:
    body = (SAMPLES / "wati/webhook/message.json").read_bytes()
    changed = [mutated(body, seed, form=False) for seed in range(100)]
    assert changed == [mutated(body, seed, form=False) for seed in range(100)]
    assert len({*changed}) > 90
    assert all(orjson.loads((found or b"").replace(rb"\ud83d\u0000", b"")) for found in changed)
    assert mutated(b"not json", 1, form=False) is None


def filled(prefix: bytes, filling: bytes, suffix: bytes) -> bytes:
    """Return a body that is as large as any may be."""
    return (
        prefix + filling * ((BODY_BYTES_MAX - len(prefix) - len(suffix)) // len(filling)) + suffix
    )


MANY_MESSAGES = b",".join([b'{"from":"1","type":"text","text":{"body":""},"id":"1"}'] * 3000)
LARGEST = {
    ("cloud_api", "contacts"): filled(
        b'{"entry":[{"changes":[{"field":"messages","value":{"messages":['
        + MANY_MESSAGES
        + b'],"contacts":[{}',
        b",{}",
        b"]}}]}]}",
    ),
    ("cloud_api", "errors"): filled(
        b'{"entry":[{"changes":[{"field":"messages","value":{"statuses":[{"id":"1",'
        b'"status":"failed","errors":[{}',
        b",{}",
        b"]}]}}]}]}",
    ),
    ("evolution", "messages"): filled(b'{"event":"messages.upsert","data":[{}', b",{}", b"]}"),
    ("wati", "events"): filled(b"[{}", b",{}", b"]"),
    ("wati", "depth"): filled(b"", b"[", b""),
    ("wati", "digits"): filled(b'{"id":', b"9", b"}"),
    ("manychat", "spaces"): filled(b'{"text":"', b" ", b'","subscriber_id":1}'),
    ("twilio", "fields"): filled(b"MessageSid=1", b"&a", b""),
    ("twilio", "escapes"): filled(b"Body=", b"%", b""),
}


@pytest.mark.parametrize(("kind", "shape"), LARGEST)
def test_the_largest_body_of_any_shape_takes_no_longer_than_its_length(
    kind: str, shape: str, known: Mapping[str, Target]
) -> None:
    began = time.process_time()
    known[f"{kind}/webhook"](LARGEST[kind, shape])
    assert time.process_time() - began < BODY_SECONDS_MAX


def test_only_what_reaches_something_new_is_kept_and_what_has_a_name_stays(
    tmp_path: Path, known: Mapping[str, Target]
) -> None:
    target, folder = known["shared/body"], tmp_path / "kept"
    folder.mkdir()
    sample, found = SAMPLES / "shared/body/plain", tmp_path / "found"
    found.mkdir()
    for name, body in {
        "again": b"{}",
        "zipped": gzip.compress(b"{}", mtime=0),
        "longer": b"{}" * 99,
    }.items():
        (found / name).write_bytes(body)
    (folder / "0123456789abcdef").write_bytes(b"reaches nothing new")
    (folder / "a-proxy-had-undone-it").write_bytes(b"\x1f\x8b")
    assert keep(folder, target, [sample], found.glob("*")) == 2
    kept_now = {path.read_bytes() for path in folder.glob("*")}
    assert kept_now == {b"\x1f\x8b", (found / "zipped").read_bytes()}
    assert (folder / "a-proxy-had-undone-it").exists()
