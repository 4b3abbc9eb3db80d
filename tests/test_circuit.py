"""The circuit that keeps calls at home which can only fail."""

from datetime import UTC, datetime, timedelta

import pytest

from relevo.http.circuit import PROBE_SECONDS, Circuit, Pass
from tests.fakes.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2025, 10, 8, 12, tzinfo=UTC))


@pytest.fixture
def circuit(clock: ManualClock) -> Circuit:
    return Circuit(clock)


def later(clock: ManualClock, seconds: float) -> None:
    clock.advance_to(clock.now() + timedelta(seconds=seconds))


def admitted(circuit: Circuit) -> Pass:
    given = circuit.admit()
    assert given is not None
    return given


def test_a_closed_circuit_lets_every_call_through(circuit: Circuit) -> None:
    assert circuit.reason == ""
    assert circuit.admit() is not None
    assert circuit.admit() is not None


def test_an_open_circuit_lets_no_call_through_and_says_why(circuit: Circuit) -> None:
    assert circuit.opens(admitted(circuit), "insufficient_quota")

    assert circuit.admit() is None
    assert circuit.reason == "insufficient_quota"


def test_exactly_one_call_a_minute_probes(circuit: Circuit, clock: ManualClock) -> None:
    circuit.opens(admitted(circuit), "insufficient_quota")
    later(clock, PROBE_SECONDS - 1)
    assert circuit.admit() is None

    for _ in range(3):
        later(clock, PROBE_SECONDS)
        assert circuit.admit() is not None
        assert circuit.admit() is None


def test_a_probe_that_goes_well_closes_it_once(circuit: Circuit, clock: ManualClock) -> None:
    circuit.opens(admitted(circuit), "http_401")
    later(clock, PROBE_SECONDS)
    probe = admitted(circuit)

    assert circuit.closes(probe)
    assert not circuit.closes(probe)
    assert circuit.reason == ""
    assert circuit.admit() is not None


def test_a_probe_that_fails_leaves_it_open_for_what_it_found(
    circuit: Circuit, clock: ManualClock
) -> None:
    circuit.opens(admitted(circuit), "insufficient_quota")
    later(clock, PROBE_SECONDS)

    assert not circuit.opens(admitted(circuit), "invalid_api_key")
    assert circuit.reason == "invalid_api_key"
    assert circuit.admit() is None


def test_a_probe_that_told_nothing_lets_another_call_probe_at_once(
    circuit: Circuit, clock: ManualClock
) -> None:
    circuit.opens(admitted(circuit), "insufficient_quota")
    later(clock, PROBE_SECONDS)
    circuit.gives_back(admitted(circuit))

    assert circuit.admit() is not None
    assert circuit.admit() is None


def test_a_pass_from_before_it_opened_gives_no_probe(circuit: Circuit) -> None:
    early, failing = admitted(circuit), admitted(circuit)
    circuit.opens(failing, "http_401")
    circuit.gives_back(early)

    assert circuit.admit() is None


def test_many_calls_that_fail_together_open_it_once(circuit: Circuit) -> None:
    calls = [admitted(circuit) for _ in range(3)]

    assert [circuit.opens(call, "http_403") for call in calls] == [True, False, False]


def test_a_success_from_before_it_opened_closes_nothing(circuit: Circuit) -> None:
    early, failing = admitted(circuit), admitted(circuit)
    circuit.opens(failing, "insufficient_quota")

    assert not circuit.closes(early)
    assert circuit.admit() is None


def test_a_failure_from_before_it_closed_opens_nothing(
    circuit: Circuit, clock: ManualClock
) -> None:
    early, failing = admitted(circuit), admitted(circuit)
    circuit.opens(failing, "http_401")
    later(clock, PROBE_SECONDS)
    circuit.closes(admitted(circuit))

    assert not circuit.opens(early, "http_401")
    assert circuit.admit() is not None


def test_what_goes_well_while_it_is_closed_changes_nothing(circuit: Circuit) -> None:
    first, second = admitted(circuit), admitted(circuit)

    assert not circuit.closes(first)
    assert circuit.opens(second, "http_401")
