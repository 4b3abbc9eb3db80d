"""Who of the business wrote a message at WATI: told by ranked evidence, never guessed."""

import pytest

from relevo.http.wati_fields import outbound_author
from relevo.messages import Author

OURS = "ai@example.com"
MAIL = "operatorEmail"
SENT = {"localMessageId": "16bf77ae-79e8", "operatorName": "Maria", MAIL: "maria@example.com"}
NAMELESS = {"operatorName": None}
NOBODY = {"operatorName": " ", MAIL: None}


def author(evidence: dict[str, object], ours: str = OURS) -> tuple[Author, str]:
    return outbound_author({**SENT, **evidence}, ours)


@pytest.mark.parametrize(
    "evidence",
    [
        {"localMessageId": "relevo-hotel-7-1"},
        {"localMessageId": "relevo-hotel-7-1", "chatbotTriggeredEventId": "e"},
        {"operatorName": "Someone", MAIL: "AI@example.com"},
        {**NAMELESS, MAIL: "AI@example.com"},
    ],
)
def test_what_we_sent_is_ours(evidence: dict[str, object]) -> None:
    assert author(evidence) == (Author.ASSISTANT, "")


def test_the_assistants_operator_may_be_given_by_its_name() -> None:
    assert author({"operatorName": "Relevo Bot"}, "relevo bot") == (Author.ASSISTANT, "")


@pytest.mark.parametrize(
    ("evidence", "name"),
    [
        ({"chatbotTriggeredEventId": ""}, "Maria"),
        ({"operatorName": " Maria Lopez "}, "Maria Lopez"),
        ({"operatorName": None}, "maria@example.com"),
        ({"operatorName": " ", MAIL: "ana@robots.example"}, "ana@robots.example"),
    ],
)
def test_any_other_operator_is_a_colleague(evidence: dict[str, object], name: str) -> None:
    assert author(evidence) == (Author.AGENT, name)


@pytest.mark.parametrize("evidence", [NOBODY, {**NOBODY, "assigneeId": "a", "assignedId": "a"}])
def test_an_assignee_is_no_evidence(evidence: dict[str, object]) -> None:
    assert author(evidence) == (Author.UNKNOWN, "")


@pytest.mark.parametrize(
    "evidence", [{"chatbotTriggeredEventId": "65a1"}, {**NAMELESS, MAIL: "bot@example.com"}]
)
def test_a_chatbot_is_an_automation(evidence: dict[str, object]) -> None:
    assert author(evidence) == (Author.AUTOMATION, "")


@pytest.mark.parametrize(
    "name",
    ["Bot ", "bot", "BOT", "Chatbot", "ChatBot 2", "hotelbot", "SalesBot", "WATI-Bot", "Robot"],
)
def test_an_operator_called_a_bot_is_an_automation(name: str) -> None:
    assert outbound_author({"operatorName": name}, "") == (Author.AUTOMATION, "")


@pytest.mark.parametrize("name", ["Ana Botero", "Luis Talbot", "Abbot", "Botond Nagy", "Bo Tan"])
def test_a_colleague_whose_name_has_a_bot_in_it_is_a_colleague(name: str) -> None:
    assert outbound_author({"operatorName": name}, "") == (Author.AGENT, name)
