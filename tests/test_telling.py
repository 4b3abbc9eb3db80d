"""What `relevo why` shows a person. The JSON of it is tested in `test_inspection.py`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from relevo.telling import why

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def conversation(**changes: Any) -> dict[str, Any]:
    told = {
        "canonical_key": "phone:hotel:+50370000001",
        "last_customer_at": NOON,
        "last_assistant_at": None,
        "known_to": None,
        "recall_owed_since": None,
        "turns": [],
        "waiting": [],
    }
    return told | changes


def turn(**changes: Any) -> dict[str, Any]:
    told = {
        "opened_at": NOON,
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


def test_what_was_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    agent = {"at": NOON, "author": "agent", "name": "Luis", "text": "", "kind": "image"}
    told = turn(missed=[agent], missed_left_out=12, reply=["Claro"], outcome=None, stage="sending")
    lines = shown(capsys, conversation(turns=[told], waiting=[agent | {"state": "unread"}]))
    assert "2026-03-02 12:00:00Z sending …" in lines
    assert "the AI was told what it had missed (and 12 older, left out):" in lines
    assert "2026-03-02 12:00:00Z agent Luis: <image>" in lines
    assert "replied: Claro" in lines
    assert "not told to the AI yet" in lines
