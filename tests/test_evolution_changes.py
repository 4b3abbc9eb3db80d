"""What Evolution's webhooks say of messages that were edited or deleted."""

from typing import Any

import orjson
import pytest

from relevo.http.evolution_reading import arrivals
from relevo.messages import Arrival, Author, Edit, Ignored, Revocation, Unusable
from tests.evolution_rig import CHAT, NOW
from tests.fakes.evolution import INSTANCE, Said, envelope

SAID = Said("3A5F", CHAT, from_me=False, content={"conversation": "hello"}, at=NOW)


def read(body: object) -> tuple[Arrival, ...]:
    return arrivals(orjson.dumps(body), INSTANCE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"conversation": "hello (fixed)"}, "hello (fixed)"),
        ({"extendedTextMessage": {"text": "see https://a.example"}}, "see https://a.example"),
        ({"imageMessage": {"caption": "the right one"}}, "the right one"),
        ({"imageMessage": {}}, ""),
        ({"message": {"conversation": "nested"}}, "nested"),
    ],
)
def test_an_edit_says_what_its_message_reads_now_and_not_who_wrote_it(
    content: dict[str, Any], text: str
) -> None:
    edit = SAID.edited("", NOW, editedMessage=content)
    assert read(edit) == (Edit("3A5F", Author.UNKNOWN, text, NOW),)


@pytest.mark.parametrize("kind", ["REVOKE", 0])
def test_a_revocation_comes_as_an_edit_too(kind: object) -> None:
    gone = SAID.edited("", NOW, type=kind, editedMessage=None)
    assert read(gone) == (Revocation("3A5F", Author.UNKNOWN, NOW),)
    assert read(SAID.deleted()) == (Revocation("3A5F", Author.UNKNOWN, None),)


def test_a_change_that_cannot_be_read_is_kept_raw_and_a_group_s_is_nobody_s() -> None:
    key = {"key": {**SAID.row()["key"], "id": None}}
    assert read(SAID.edited("hello", NOW, **key)) == (Unusable("no_id"),)
    for new in ({"conversation": 7}, {"conversation": ""}, {"newKind": {"text": "hello"}}):
        edit = SAID.edited("", NOW, editedMessage=new)
        assert read(edit) == (Unusable("wrong_type"),)
    assert read(envelope("messages.delete", [None])) == (Unusable("not_an_object"),)
    group = {"key": {**SAID.row()["key"], "remoteJid": "1@g.us"}}
    assert read(SAID.edited("hello", NOW, **group)) == (Ignored("group"),)
