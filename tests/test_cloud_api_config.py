"""What a line at Meta or 360dialog must be given, and how it is made of that."""

from pathlib import Path

import pytest
from multidict import CIMultiDict

from relevo.config import load
from relevo.errors import ConfigError
from relevo.http.channels import Challenged, WebhookRequest
from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from relevo.messages import Unusable
from tests.cloud_api_rig import APP_SECRET, NOW, VERIFY_TOKEN
from tests.fakes.clock import ManualClock
from tests.fakes.cloud_api import LINE, signed, text, webhook

SECRETS = {"TOKEN": "meta-token", "SECRET": APP_SECRET, "VERIFY": VERIFY_TOKEN}
KEYS = {
    "base_url": "https://graph.facebook.com/v24.0/",
    "phone_number_id": LINE,
    "token_env": "TOKEN",
    "webhook_secret_env": "SECRET",
    "verify_token_env": "VERIFY",
}


def file(folder: Path, kind: str, keys: dict[str, str]) -> Path:
    path = folder / "relevo.toml"
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    channel = ["[[channel]]", 'id = "line"', 'business = "hotel"', f'kind = "{kind}"', *lines]
    path.write_text("\n".join(['[[business]]\nid = "hotel"', *channel]))
    return path


@pytest.mark.parametrize("key", KEYS)
def test_a_line_at_meta_needs_all_its_keys(tmp_path: Path, key: str) -> None:
    keys = {name: value for name, value in KEYS.items() if name != key}
    with pytest.raises(ConfigError, match=rf'channel "line": {key}: is needed for kind cloud_api'):
        load(file(tmp_path, "cloud_api", keys), SECRETS)


@pytest.mark.parametrize("key", ["base_url", "token_env", "webhook_secret_env"])
def test_a_line_at_360dialog_needs_fewer(tmp_path: Path, key: str) -> None:
    needed = {name: KEYS[name] for name in ("base_url", "token_env", "webhook_secret_env")}
    assert load(file(tmp_path, "360dialog", needed), SECRETS).channels[0].kind == "360dialog"
    del needed[key]
    with pytest.raises(ConfigError, match=rf'channel "line": {key}: is needed for kind 360dialog'):
        load(file(tmp_path, "360dialog", needed), SECRETS)


def test_a_phone_number_is_not_taken_for_the_id_of_the_line(tmp_path: Path) -> None:
    keys = {**KEYS, "phone_number_id": "+15550783881"}
    with pytest.raises(ConfigError, match=r'channel "line": phone_number_id: '):
        load(file(tmp_path, "cloud_api", keys), SECRETS)


async def test_a_line_is_made_of_what_is_configured(tmp_path: Path) -> None:
    config = load(file(tmp_path, "cloud_api", KEYS), SECRETS)
    body, asked = b"{}", {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN}
    async with open_session() as session:
        made = open_channels(config, session, ManualClock(NOW), OwnLine("", ""))["line"]
    assert (made.business_id, made.channel_id) == ("hotel", "line")
    headers = CIMultiDict(signed(body, APP_SECRET))
    assert made.authenticate(WebhookRequest(headers, {}, body))
    assert isinstance(made, Challenged)
    assert made.challenge({**asked, "hub.challenge": "7"}) == "7"
    others = webhook(text("wamid.1", "16505551234", "hello", NOW)).replace(LINE.encode(), b"999")
    assert made.parse(others) == (Unusable("other_line"),)
