"""What a line at Twilio needs to be told."""

from pathlib import Path

import pytest

from relevo.config import load
from relevo.errors import ConfigError

KEYS = {
    "base_url": "https://api.twilio.com",
    "account_sid": "AC00000000000000000000000000000000",
    "sender": "+15550783881",
    "public_url": "https://relevo.example.com/webhooks/line",
    "token_env": "TWILIO_AUTH_TOKEN",
}
TOKEN = {"TWILIO_AUTH_TOKEN": "token-that-nobody-may-see"}


def refusal(folder: Path, **changes: str) -> str:
    """Return why the line is refused; empty: it is not."""
    keys = {"id": "line", "business": "hotel", "kind": "twilio", **KEYS, **changes}
    lines = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    path = folder / "relevo.toml"
    path.write_text(f'[[business]]\nid = "hotel"\n[[channel]]\n{lines}\n')
    try:
        channel = load(path, TOKEN).channels[0]
    except ConfigError as error:
        return str(error)
    assert channel.token.get_secret_value() == TOKEN["TWILIO_AUTH_TOKEN"]
    return ""


def test_a_whole_line_is_taken_without_a_webhook_secret(tmp_path: Path) -> None:
    assert refusal(tmp_path) == ""


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f'channel "line": {key}: is needed for kind twilio' in refusal(tmp_path, **{key: ""})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("account_sid", "SK00000000000000000000000000000000"),
        ("account_sid", "AC0/../x"),
        ("sender", "whatsapp:+15550783881"),
        ("sender", "MG00000000000000000000000000000000"),
        ("public_url", "http://relevo.example.com/webhooks/line"),
        ("public_url", "https://relevo.example.com/webhooks/line?a=1"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(tmp_path: Path, key: str, value: str) -> None:
    assert f'channel "line": {key}: ' in refusal(tmp_path, **{key: value})
