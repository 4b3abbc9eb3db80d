"""What a ManyChat line needs before Relevo starts with it."""

from pathlib import Path

import pytest

from relevo.config import load
from relevo.errors import ConfigError
from relevo.http.manychat import ManyChatChannel
from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from tests.fakes.clock import ManualClock
from tests.manychat_rig import NOW

SECRETS = {"KEY": "987654:made-up-key", "FLOW": "a-made-up-flow-secret"}
LINE = """
[[business]]
id = "hotel"

[[channel]]
id = "contacts"
business = "hotel"
kind = "manychat"
base_url = "https://api.manychat.com"
token_env = "KEY"
webhook_secret_env = "FLOW"
"""


@pytest.mark.parametrize("key", ["base_url", "token_env", "webhook_secret_env"])
def test_a_line_that_lacks_a_key_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    file = tmp_path / "relevo.toml"
    file.write_text(
        "".join(line for line in LINE.splitlines(keepends=True) if not line.startswith(key))
    )
    with pytest.raises(
        ConfigError, match=f'channel "contacts": {key}: is needed for kind manychat'
    ):
        load(file, SECRETS)


async def test_a_whole_line_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "relevo.toml"
    file.write_text(LINE)
    async with open_session() as session:
        lines = open_channels(load(file, SECRETS), session, ManualClock(NOW), OwnLine("", ""))
        line = lines["contacts"]
    assert isinstance(line, ManyChatChannel)
    assert (line.business_id, line.channel_id, line.stopped) == ("hotel", "contacts", False)
