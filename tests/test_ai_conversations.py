"""What is an id of a conversation at the AI, and what is refused for which reason."""

import pytest

from relevo.ai_conversations import AiConversation, RefusedIdError

PHONE = "+50370000246"


@pytest.mark.parametrize("text", ["conv_1", "conv_68f0A-b_c", "conv_" + "a" * 200])
def test_an_id_of_a_conversation_is_taken_as_it_is(text: str) -> None:
    assert AiConversation(text) == text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        (50370000246, "not_text"),
        (PHONE, "wrong_prefix"),
        ("resp_1", "wrong_prefix"),
        ("CONV_1", "wrong_prefix"),
        ("conv_", "wrong_characters"),
        (f"conv_{PHONE}", "wrong_characters"),
        ("conv_1\n", "wrong_characters"),
        ("conv_" + "a" * 201, "wrong_characters"),
    ],
)
def test_anything_else_is_refused_and_quoted_nowhere(given: object, reason: str) -> None:
    with pytest.raises(RefusedIdError) as refused:
        AiConversation(given)
    assert str(refused.value) == reason
