"""What WATI answers: pages of history, and the 200 of a send."""

from datetime import UTC, datetime

import orjson
import pytest

from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.meta_errors import FailureKind
from relevo.http.wati_history import history_page
from relevo.http.wati_sending import send_answer
from relevo.messages import Author, HistoryItem, correlation_key
from relevo.outcomes import Accepted

AGENT_ITEM = {
    "id": "6a01",
    "created": "2026-08-11T15:10:02.100Z",
    "eventType": "message",
    "owner": True,
    "operatorName": "Maria",
    "type": "text",
    "text": "Sure, tomorrow at 10",
    "timestamp": "1786461002",
    "whatsappMessageId": "wamid.H2=",
}
TICKET_ITEM = {
    "id": "6a00",
    "created": "2026-08-11T15:09:10.000Z",
    "eventType": "ticket",
    "type": 1,
    "eventDescription": "The chat has been assigned to Maria",
}
CUSTOMER_ITEM = {
    "id": "69ff",
    "created": "2026-08-11T15:08:55.500Z",
    "eventType": "message",
    "owner": "false",
    "operatorName": None,
    "type": 0,
    "text": "can I come tomorrow?",
    "timestamp": "1786460935",
}
BROADCAST_ITEM = {
    "id": "69fe",
    "created": "2026-08-10T09:00:00.000Z",
    "eventType": "broadcastMessage",
    "finalText": "Our August offers",
}


def page_of(*items: object, **more: object) -> bytes:
    return orjson.dumps({"result": "success", "messages": {"items": items}, **more})


def test_a_page_of_history_tells_who_wrote_what() -> None:
    page = history_page(page_of(AGENT_ITEM, TICKET_ITEM, CUSTOMER_ITEM, BROADCAST_ITEM), "")
    agent_at = datetime(2026, 8, 11, 15, 10, 2, tzinfo=UTC)
    customer_at = datetime(2026, 8, 11, 15, 8, 55, tzinfo=UTC)
    broadcast_at = datetime(2026, 8, 10, 9, tzinfo=UTC)
    assert [item for item, _ in page.entries] == [
        HistoryItem(
            0,
            Author.AGENT,
            "text",
            "Sure, tomorrow at 10",
            agent_at,
            ("wamid.H2=", "6a01"),
            "Maria",
        ),
        HistoryItem(0, Author.CUSTOMER, "text", "can I come tomorrow?", customer_at, ("69ff",)),
        HistoryItem(0, Author.AUTOMATION, "template", "Our August offers", broadcast_at, ("69fe",)),
    ]
    assert (page.length, page.oldest_at) == (4, broadcast_at)


def test_an_unreadable_item_costs_only_itself() -> None:
    odd = [7, None, {}, {**AGENT_ITEM, "owner": "perhaps"}, {**AGENT_ITEM, "text": []}]
    page = history_page(page_of(*odd, CUSTOMER_ITEM), "")
    assert [item.body for item, _ in page.entries] == ["can I come tomorrow?"]
    assert page.length == 6


def test_an_item_without_a_time_is_kept() -> None:
    page = history_page(page_of({**AGENT_ITEM, "timestamp": None, "created": "soon"}), "")
    ((item, latest_at),) = page.entries
    assert (item.event_at, latest_at, page.oldest_at) == (None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":"success","info":"","messages":null}',
        b'{"result":true,"messages":{"items":[]}}',
        b'{"messages":{"items":null}}',
        b'{"messages":[]}',
    ],
)
def test_a_customer_without_messages_has_an_empty_page(body: bytes) -> None:
    page = history_page(body, "")
    assert (page.entries, page.length) == ((), 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "unreadable"),
        (b"[]", "unreadable"),
        (b"{}", "unreadable"),
        (b'{"messages":7}', "unreadable"),
        (b'{"messages":{"pages":[]}}', "unreadable"),
        (b'{"messages":{"items":{}}}', "unreadable"),
        (b'{"result":false,"messages":null}', "result_false"),
        (b'{"result":"false","messages":{"items":[]}}', "result_false"),
    ],
)
def test_what_is_no_page_is_said_to_be_none(body: bytes, reason: str) -> None:
    with pytest.raises(ProviderError) as refused:
        history_page(body, "")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        (
            {"ok": True, "result": "success", "message": {"whatsappMessageId": "", "id": "6a02"}},
            ("6a02",),
        ),
        ({"result": True, "info": "", "messageId": "6a02"}, ("6a02",)),
        ({"result": "true", "message": {"whatsappMessageId": "w1", "id": "6a02"}}, ("w1", "6a02")),
        ({"ok": "true", "message": "accepted"}, ()),
        ({"message": {"id": "6a02"}}, ("6a02",)),
    ],
)
def test_an_accepted_send_is_known_under_all_ids_it_got(
    answer: object, keys: tuple[str, ...]
) -> None:
    expected = Accepted((*keys, correlation_key("relevo-1")))
    assert send_answer(200, orjson.dumps(answer), "relevo-1") == expected


@pytest.mark.parametrize(
    ("answer", "failure", "reason"),
    [
        ({"result": False, "info": "Ticket has been expired."}, "REFUSED", "window_closed"),
        ({"result": "false", "message": "24 hours have passed"}, "REFUSED", "window_closed"),
        ({"result": "false", "info": "no such contact 1555240"}, "REJECTED", "result_false"),
        ({"ok": "False", "result": "success"}, "REJECTED", "result_false"),
        ({"ok": True, "result": "error"}, "REJECTED", "result_false"),
        ({}, "UNKNOWN", "unreadable"),
        ({"result": None}, "UNKNOWN", "unreadable"),
        ([], "UNKNOWN", "unreadable"),
    ],
)
def test_a_200_may_say_no(answer: object, failure: str, reason: str) -> None:
    expected = FailureKind(SendFailure[failure], reason)
    assert send_answer(200, orjson.dumps(answer), "relevo-1") == expected
