"""What a line at Evolution must be given, and how it is made of that."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.config import load
from relevo.errors import ConfigError
from relevo.http.evolution import CALLS
from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from relevo.messages import Address
from relevo.outcomes import Accepted
from relevo.turns import RecallStatus
from tests.evolution_rig import ANA, NOW
from tests.fakes.clock import ManualClock, settle, until
from tests.fakes.evolution import INSTANCE, FakeEvolution

SECRETS = {"KEY": "evolution-key", "SECRET": "a-made-up-secret"}
KEYS = {
    "base_url": "https://evolution.example.com",
    "instance": INSTANCE,
    "token_env": "KEY",
    "webhook_secret_env": "SECRET",
}


def file(folder: Path, keys: dict[str, str], *, lines: int = 1) -> Path:
    path = folder / "relevo.toml"
    told = [f'{key} = "{value}"' for key, value in keys.items()]
    channels = [
        "\n".join([
            *("[[channel]]", f'id = "line-{number}"', 'business = "hotel"', 'kind = "evolution"'),
            *told,
        ])
        for number in range(lines)
    ]  # fmt: skip
    path.write_text("\n".join(['[[business]]\nid = "hotel"', *channels]))
    return path


@pytest.mark.parametrize("key", KEYS)
def test_a_line_at_evolution_needs_all_its_keys(tmp_path: Path, key: str) -> None:
    keys = {name: value for name, value in KEYS.items() if name != key}
    with pytest.raises(ConfigError, match=rf'channel "line-0": {key}: is needed for kind evol'):
        load(file(tmp_path, keys), SECRETS)


async def test_a_line_is_made_of_what_is_configured(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    async with FakeEvolution(clock) as gateway, open_session() as session:
        config = load(file(tmp_path, {**KEYS, "base_url": gateway.base_url}), SECRETS)
        line = open_channels(config, session, clock, OwnLine("", ""))["line-0"]
        assert (line.business_id, line.channel_id) == ("hotel", "line-0")
        assert isinstance(await line.send(ANA, "hello", "relevo-1"), Accepted)
        history = await line.history(ANA, NOW - timedelta(hours=1), urgent=True)
        assert (history.status, len(history.items)) == (RecallStatus.COMPLETE, 1)


async def test_the_lines_of_one_gateway_do_not_ask_it_too_much_at_once(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    async with FakeEvolution(clock) as gateway, open_session() as session:
        gateway.history_hangs = True
        keys = {**KEYS, "base_url": gateway.base_url}
        config = load(file(tmp_path, keys, lines=2), SECRETS)
        lines = open_channels(config, session, clock, OwnLine("", ""))
        async with asyncio.TaskGroup() as group:
            for number in range(CALLS + 10):
                line, person = lines[f"line-{number % 2}"], Address("phone", f"5037{number:07}")
                group.create_task(line.history(person, NOW, urgent=True))
            await until(lambda: gateway.holding == CALLS)
            await settle()
            assert len(gateway.asked) == CALLS
            clock.advance_to(NOW + timedelta(seconds=10))
