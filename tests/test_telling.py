"""What `relevo why` shows a person. The JSON of it is tested in `test_inspection.py`."""

import shutil
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import orjson
import pytest
from rich.console import Console

from relevo.store.inspection import Balance
from relevo.telling import balances, why
from relevo.terminal import FURTHER_LINE, program, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def conversation(**changes: Any) -> dict[str, Any]:
    told = {
        "canonical_key": "phone:hotel:+50370000001",
        "last_customer_at": NOON,
        "last_assistant_at": None,
        "known_to": None,
        "recall_owed_since": None,
        "hold_until": None,
        "turns": [],
        "waiting": [],
    }
    return told | changes


def turn(**changes: Any) -> dict[str, Any]:
    told = {
        "opened_at": NOON,
        "purpose": "reply",
        "stage": "ended",
        "outcome": "answered_by_human",
        "reason": "",
        "messages": [
            {"at": NOON, "author": "customer", "name": "", "text": "Hola", "kind": "text"}
        ],
        "verdict": "gap",
        "silence_seconds": 900.4,
        "previous_customer_at": NOON,
        "threshold_seconds": 300.0,
        "recall": "not_needed",
        "recall_reasons": [],
        "recall_since": None,
        "recalled": 0,
        "matched_by_content": 0,
        "missed": [],
        "missed_left_out": 0,
        "reply": [],
        "outbox": [],
    }
    return told | changes


def shown(capsys: pytest.CaptureFixture[str], *told: dict[str, Any]) -> list[str]:
    why(told, "+50370000001", as_json=False)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_who_is_not_known_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["Nobody is known under +50370000001."]


def test_a_turn_is_told_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, conversation(turns=[turn()]))
    assert "assistant last replied never" in lines
    assert "2026-03-02 12:00:00Z answered_by_human" in lines
    assert "2026-03-02 12:00:00Z customer: Hola" in lines
    assert any(line.startswith("verdict: gap: 900 s of silence") for line in lines)
    assert "recall: not needed" in lines


def test_what_is_still_to_be_asked_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    unasked = turn(recall_reasons=["gap"], recall_since=NOON)
    lines = shown(capsys, conversation(recall_owed_since=NOON, turns=[unasked]))
    assert "history since 2026-03-02 12:00:00Z is still to be asked for" in lines
    assert "recall: not complete (because: gap; since 2026-03-02 12:00:00Z)" in lines


def test_a_hold_is_said_with_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hold until 2026-03-02 12:00:00Z" in shown(capsys, conversation(hold_until=NOON))
    lines = shown(capsys, conversation(hold_until=datetime(9999, 12, 31, tzinfo=UTC)))
    assert "hold until `relevo resume`" in lines


def test_a_send_of_ours_has_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"part": 1, "state": "dead", "reason": "no_connection", "resent": False}
    sends = [
        turn(purpose="send", outcome="sent", messages=[], reply=["Feliz día"]),
        turn(purpose="send", outcome="failed", messages=[], outbox=[part]),
    ]
    lines = shown(capsys, conversation(turns=sends))
    assert "sent: Feliz día" in lines
    assert "not sent: part 1 is dead (no_connection)" in lines
    assert not [line for line in lines if line.startswith(("verdict", "recall", "replied"))]


def test_what_is_not_sent_yet_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"part": 1, "state": "unknown", "reason": "timeout", "resent": True}
    given = {"part": 2, "state": "accepted", "reason": "", "resent": False}
    lines = shown(capsys, conversation(turns=[turn(reply=["Claro"], outbox=[part, given])]))
    assert lines[-1] == "not replied: part 1 is unknown, sent again (timeout)"


def test_nobody_can_write_evidence_or_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "Hola\x1b[2J\n    replied: \u202eClaro\r\n\n    recall: complete"
    forger = {"at": NOON, "author": "customer", "name": "A\nB", "text": text, "kind": "text"}
    why([conversation(turns=[turn(messages=[forger])])], "x", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "      2026-03-02 12:00:00Z  customer A\\x0aB: Hola\\x1b[2J" in lines
    assert "          |     replied: \\u202eClaro" in lines
    assert "          |     recall: complete" in lines
    assert len([line for line in lines if line.startswith("    recall: ")]) == 1
    assert not [line for line in lines if line.startswith("    replied: ")]


def test_a_script_reads_what_was_written_and_its_terminal_is_not_steered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = 'a\x9b2J\x7f\x1b\u202e\n\U000e0041 \N{GRINNING FACE} "\\'
    why([conversation(waiting=[text])], "x", as_json=True)
    out = capsys.readouterr().out
    assert orjson.loads(out)["conversations"][0]["waiting"] == [text]
    assert not set(out) & set("\x9b\x7f\x1b\u202e\U000e0041")


def test_a_loss_is_told_with_what_it_means_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    books = [
        Balance("hotel", 5, {"answered": 4}, stranded=0, unexplained=0),
        Balance("bar", 3, {"answered": 5}, stranded=0, unexplained=0),
        Balance("spa", 2, {"in_flight": 2}, 1, 2, stranded_since=NOON, unexplained_since=NOON),
        Balance("pool", 1, {"answered": 1}, stranded=0, unexplained=0),
    ]
    balances(books, as_json=False)
    out = capsys.readouterr().out
    assert "Something is missing: hotel, bar, spa." in out
    assert "hotel: 1 accepted, and no longer stored (remainder); since when is not known" in out
    assert "bar: 2 stored, and never counted as accepted (remainder)" in out
    assert "spa: 1 in flight, but neither unread nor in an open turn" in out
    assert "(stranded); the oldest came 2026-03-02 12:00:00Z" in out
    assert "(unexplained); the oldest came 2026-03-02 12:00:00Z" in out
    assert "pool:" not in out
    assert "compare it with a backup" in out


def test_an_address_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    why([], "\x1b]0;me\x07\U000e0041", as_json=False)
    [line] = capsys.readouterr().out.splitlines()
    assert line == r"Nobody is known under \x1b]0;me\x07\U000e0041."


def test_a_text_that_the_terminal_breaks_is_marked_too() -> None:
    on = Console(file=StringIO(), width=40, force_terminal=True, color_system=None)
    quote(on, "      customer: ", "Hola " * 10 + "verdict: gap")
    first, *more = on.file.getvalue().splitlines()  # type: ignore[attr-defined]  # what we gave it
    assert first.startswith("      customer: Hola")
    assert more
    assert all(line.startswith(FURTHER_LINE) for line in more)


def test_a_program_that_reads_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Hola " * 60
    long = {"at": NOON, "author": "customer", "name": "", "text": text, "kind": "text"}
    why([conversation(waiting=[long])], "x", as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].endswith(text)


def test_a_program_is_called_as_it_was_called() -> None:
    assert program(".venv/bin/relevo") == ".venv/bin/relevo"
    assert program("/a folder/relevo") == "'/a folder/relevo'"
    assert program("/somewhere/relevo/__main__.py").endswith(" -m relevo")
    assert program(shutil.which("sh") or "") == "sh"


def test_what_was_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    agent = {"at": NOON, "author": "agent", "name": "Luis", "text": "", "kind": "image"}
    told = turn(missed=[agent], missed_left_out=12, reply=["Claro"], outcome=None, stage="sending")
    lines = shown(capsys, conversation(turns=[told], waiting=[agent | {"state": "unread"}]))
    assert "2026-03-02 12:00:00Z sending …" in lines
    assert "the AI was told what it had missed (and 12 older, left out):" in lines
    assert "2026-03-02 12:00:00Z agent Luis: <image>" in lines
    assert "2026-03-02 12:00:00Z agent Luis (unread): <image>" in lines
    assert "replied: Claro" in lines
    assert "not told to the AI yet" in lines
