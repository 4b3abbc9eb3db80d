"""What the probe makes of how it stands with the AI as a whole."""

from io import BytesIO

import pytest
from prometheus_client import CollectorRegistry

from relevo.clock import SystemClock
from relevo.events import AnswerFailure
from relevo.http import openai_failures
from relevo.metrics.contract import CIRCUIT_REASONS, OTHER, PREFIX, ROTATION_REASONS
from relevo.metrics.instruments import Instruments
from relevo.metrics.logs import start_logging
from relevo.metrics.probe import UNUSABLE_WORDS, MeteringProbe
from relevo.outcomes import NoAnswer
from tests.openai_rig import NOON, answered


class Seen:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        logging = start_logging(SystemClock(), stream=BytesIO())
        logging.stop()
        self.probe = MeteringProbe(Instruments(self.registry), logging.log, {})

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(PREFIX + name, labels)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_circuits_are_counted_by_what_they_are_open_for(seen: Seen) -> None:
    def are_open(reason: str) -> float | None:
        return seen.value("assistant_circuits_open", reason=reason)

    seen.probe.assistant_circuit("", "insufficient_quota")
    seen.probe.assistant_circuit("", "insufficient_quota")
    assert are_open("insufficient_quota") == 2
    seen.probe.assistant_circuit("insufficient_quota", "http_401")
    seen.probe.assistant_circuit("insufficient_quota", "")
    assert (are_open("insufficient_quota"), are_open("http_401")) == (0, 1)


def test_brakes_new_clients_and_rejections_are_counted(seen: Seen) -> None:
    seen.probe.assistant_braked()
    seen.probe.assistant_client_renewed()
    seen.probe.assistant_rejected("model_not_found")
    seen.probe.assistant_rejected("http_418")
    assert seen.value("assistant_brakes_total") == 1
    assert seen.value("assistant_clients_renewed_total") == 1
    assert seen.value("assistant_rejections_total", reason="model_not_found") == 1
    assert seen.value("assistant_rejections_total", reason=OTHER) == 1


def test_every_reason_of_an_open_circuit_has_its_series() -> None:
    assert (*openai_failures.ACCOUNT_REASONS, OTHER) == CIRCUIT_REASONS


@pytest.mark.parametrize(
    "error",
    [
        answered(404, message="Conversation not found"),
        answered(400, param="conversation"),
        answered(400, "context_length_exceeded"),
        answered(400, message="No tool output found for function call call_1."),
        answered(400, message="Duplicate item found with id rs_1."),
        answered(400, message="'rs_1' was provided without its required following item."),
    ],
)
def test_every_way_to_lose_a_conversation_has_a_reason_of_its_own(
    error: openai_failures.Raised,
) -> None:
    lost = openai_failures.classify(error, NOON)

    assert lost == NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, lost.reason)
    assert UNUSABLE_WORDS[lost.reason] in set(ROTATION_REASONS) - {OTHER}
