import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import pytest

from relevo.config import effective, load
from relevo.errors import ConfigError
from relevo.settings import Assistant, Business, Channel, Config, Database, Server
from relevo.turns import Rules

EXAMPLE = Path(__file__).parent.parent / "relevo.example.toml"
SECRETS = {
    name: f"{name}-that-nobody-may-see"
    for name in re.findall(r'^\w+_env = "(\w+)"', EXAMPLE.read_text(), re.MULTILINE)
}
HOTEL = '[[business]]\nid = "hotel"\n'
SANDBOX = '[[channel]]\nid = "box"\nbusiness = "hotel"\nkind = "sandbox"\n'
WATI = """
[[channel]]
id = "hotel-wati"
business = "hotel"
kind = "wati"
base_url = "https://wati.example.com/1/"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_WEBHOOK_SECRET"
"""

Loading = Callable[..., Config]
Refusal = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path) -> Loading:
    def loading(toml: str, environ: Mapping[str, str] = SECRETS) -> Config:
        path = tmp_path / "relevo.toml"
        path.write_text(toml)
        return load(path, environ)

    return loading


@pytest.fixture
def refusal(read: Loading) -> Refusal:
    def refused(toml: str, environ: Mapping[str, str] = SECRETS) -> str:
        with pytest.raises(ConfigError) as caught:
            read(toml, environ)
        line = str(caught.value)
        assert "\n" not in line
        assert "nobody-may-see" not in line
        return line

    return refused


def test_without_configuration_the_product_is_a_sandbox_with_short_times(read: Loading) -> None:
    config = read("")
    (business,), (channel,) = config.businesses, config.channels
    assert (business.id, business.timezone, business.region) == ("demo", "UTC", "US")
    assert business.quiet_seconds == 2
    assert business.gather_max_seconds == 20
    assert business.gap_seconds == 20
    assert (channel.id, channel.business, channel.kind) == ("sandbox", "demo", "sandbox")
    assert config.assistant.kind == "offline"
    assert config.server == Server(host="127.0.0.1", port=8080, metrics_port=9464)


def test_a_file_that_names_no_business_keeps_the_sandbox(read: Loading) -> None:
    config = read("[server]\nport = 9000")
    assert config.server.port == 9000
    assert config.channels[0].id == "sandbox"


def test_a_business_without_settings_has_those_of_the_rules(read: Loading) -> None:
    rules = read(HOTEL + SANDBOX).rules("hotel", ())
    assert rules == Rules(ai_conversations=False)


def test_the_example_loads_and_names_every_key() -> None:
    config = load(EXAMPLE, SECRETS)
    kinds = get_args(Channel.model_fields["kind"].annotation)
    assert sorted(channel.kind for channel in config.channels) == sorted(kinds)
    assert config.portfolios == {c.id: c.id for c in config.channels} | {"hotel-wati": "hotel-meta"}
    text = EXAMPLE.read_text()
    for table in (Server, Database, Assistant, Business, Channel):
        for key in table.model_fields:
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), f"{key} is not in the example"


def test_the_variable_chooses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[server]\nport = 9001")
    assert load(None, {"RELEVO_CONFIG": str(path)}).server.port == 9001


def test_the_file_in_the_working_directory_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {"RELEVO_CONFIG": ""}).server.port == 8080
    (tmp_path / "relevo.toml").write_text("[server]\nport = 9002")
    assert load(None, {}).server.port == 9002


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: .* file to --config"):
        load(absent, {})
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: .* to RELEVO_CONFIG"):
        load(None, {"RELEVO_CONFIG": str(absent)})


def test_the_environment_wins_over_the_file(read: Loading) -> None:
    environ = {
        **SECRETS,
        "RELEVO_SERVER_PORT": "9003",
        "RELEVO_DATABASE_URL": "postgresql://relevo_app@db/relevo",
        "RELEVO_ASSISTANT_KIND": "openai",
        "RELEVO_ASSISTANT_MODEL": "a-model",
        "RELEVO_ASSISTANT_API_KEY_ENV": "OPENAI_API_KEY",
        "RELEVO_BUSINESS_HOTEL_QUIET_SECONDS": "1.5",
        "RELEVO_BUSINESS_HOTEL_PRIORITY": "{ vip = { gap_seconds = 60 } }",
        "RELEVO_CHANNEL_HOTEL_WATI_BASE_URL": "http://127.0.0.1:9999",
    }
    config = read(f"[server]\nport = 1\n{HOTEL}quiet_seconds = 3\n{WATI}", environ)
    assert config.server.port == 9003
    assert config.database.url.get_secret_value() == "postgresql://relevo_app@db/relevo"
    assert config.assistant.api_key.get_secret_value() == SECRETS["OPENAI_API_KEY"]
    assert config.channels[0].base_url == "http://127.0.0.1:9999"
    assert config.rules("hotel", ["vip"]).gap_seconds == 60
    assert config.rules("hotel", ["vip"]).quiet_seconds == 1.5


def test_an_unknown_variable_is_named_with_what_was_meant(refusal: Refusal) -> None:
    assert refusal("", {"RELEVO_SERVER_PROT": "1"}) == (
        "RELEVO_SERVER_PROT: unknown setting; did you mean RELEVO_SERVER_PORT?"
    )
    assert refusal("", {"RELEVO_BUSINESS_DEMO_ID": "x"}).startswith("RELEVO_BUSINESS_DEMO_ID: unkn")
    assert refusal("", {"RELEVO_X": ""}) == "RELEVO_X: unknown setting; remove it"


def test_a_variable_that_a_secret_is_named_by_is_no_setting(read: Loading) -> None:
    toml = HOTEL + WATI.replace('"WATI_TOKEN"', '"RELEVO_WATI_TOKEN"')
    config = read(toml, {**SECRETS, "RELEVO_WATI_TOKEN": "t"})
    assert config.channels[0].token.get_secret_value() == "t"


def test_what_a_cluster_says_of_a_service_called_relevo_is_no_setting(
    read: Loading, refusal: Refusal
) -> None:
    links = {
        "RELEVO_PORT": "tcp://10.0.0.1:80",
        "RELEVO_PORT_80_TCP_ADDR": "10.0.0.1",
        "RELEVO_SERVICE_HOST": "10.0.0.1",
        "RELEVO_WEB_SERVICE_PORT_HTTP": "80",
    }
    assert read("", {**links, "KUBERNETES_SERVICE_HOST": "10.0.0.2"}).server.port == 8080
    assert refusal("", links).startswith("RELEVO_PORT: unknown setting")


def test_the_error_names_the_variable_that_a_bad_value_came_from(refusal: Refusal) -> None:
    line = refusal("", {"RELEVO_SERVER_PORT": "eighty"})
    assert line.startswith("server.port (RELEVO_SERVER_PORT): should be a whole number")
    line = refusal("", {"RELEVO_BUSINESS_DEMO_PRIORITY": "vip"})
    assert line.startswith("RELEVO_BUSINESS_DEMO_PRIORITY: is not TOML")


def test_secrets_are_read_and_never_shown(read: Loading) -> None:
    config = read(f'[database]\nurl = "postgresql://a:pass-that-nobody-may-see@h/d"\n{HOTEL}{WATI}')
    channel = config.channels[0]
    assert channel.token.get_secret_value() == SECRETS["WATI_TOKEN"]
    assert channel.webhook_secret.get_secret_value() == SECRETS["WATI_WEBHOOK_SECRET"]
    shown = f"{config} {config!r} {channel!r} {channel.token} {effective(config)}"
    assert "nobody-may-see" not in shown
    assert "WATI_TOKEN" in shown


def test_a_secret_may_come_from_a_file_beside_the_configuration(
    read: Loading, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    config = read(HOTEL + WATI.replace('token_env = "WATI_TOKEN"', 'token_file = "token"'))
    assert config.channels[0].token.get_secret_value() == "from-a-file"


def test_instructions_may_come_from_a_file(read: Loading, tmp_path: Path) -> None:
    (tmp_path / "instructions.md").write_text("Be kind.")
    config = read('[assistant]\ninstructions_file = "instructions.md"')
    assert config.assistant.instructions == "Be kind."


def test_the_data_folder_lies_beside_the_file(read: Loading, tmp_path: Path) -> None:
    assert read("").database.data_dir == tmp_path / ".relevo"
    assert read('[database]\ndata_dir = "/var/lib/relevo"').database.data_dir == Path(
        "/var/lib/relevo"
    )


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("x", ".*relevo.toml: is not TOML: .*"),
        ("server = 5", "server: should be a table"),
        ("typo = 5", "typo: unknown key; remove it"),
        ("[servr]", r"servr: unknown key; did you mean server\?"),
        ("[server]\nprot = 1", r"server.prot: unknown key; did you mean port\?"),
        ("[server]\nport = 70000", "server.port: should be less than or equal to 65535"),
        ("[server]\nport = true", "server.port: should not be true or false"),
        ("[server]\nmetrics_port = 8080", "server.metrics_port: is the same as port; .*"),
        ('[server]\nlog_level = "loud"', "server.log_level: should be 'debug', .*"),
        ("[sessions]\nqueue_max = 1", "sessions: this version has no sessions yet; remove .*"),
        ('[cluster]\nbus = "nats"', "cluster: this version has no cluster yet; remove the table"),
        ('[database]\nurl = "mysql://h"', "database.url: should begin with postgresql://.*"),
        ('[database]\nowner_url = "postgresql://h/d"', "database.owner_url: .* give the app's .*"),
        ("[business]", r"business: should be a repeated table; write \[\[business\]\]"),
        ("business = [1]", "business number 1: should be a table"),
        ("channel = []", r"business: is missing; add a \[\[business\]\] table"),
        ("business = []\nchannel = []", r"business: is missing; add a \[\[business\]\] table"),
        (HOTEL, r"channel: is missing; add a \[\[channel\]\] table"),
        ('[[business]]\nregion = "SV"', "business number 1: id: is missing; add it"),
        ('[[business]]\nid = "Hotel"', "business number 1: id: use a-z, 0-9 and hyphens.*"),
        (HOTEL + HOTEL + SANDBOX, 'business "hotel": id: is given twice; ids are unique'),
        (HOTEL + SANDBOX + SANDBOX, 'channel "box": id: is given twice; ids are unique'),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_key(
    refusal: Refusal, toml: str, line: str
) -> None:
    assert re.fullmatch(line, refusal(toml))


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("quiet_second = 1", "quiet_second: unknown key; did you mean quiet_seconds?"),
        ("quiet_seconds = 0", "quiet_seconds: should be greater than 0"),
        ("quiet_seconds = nan", "quiet_seconds: should be a finite number"),
        ("quiet_seconds = 121", "quiet_seconds: is more than gather_max_seconds; lower it"),
        ("gather_max_seconds = 4000", "gather_max_seconds: should be less than or equal to 3600"),
        ("gap_seconds = 1e9", "gap_seconds: should be less than or equal to 2592000"),
        ("first_contact_lookback_seconds = -1", "first_contact_lookback_seconds: should be gre.*"),
        ("recall_pages_max = 0", "recall_pages_max: should be greater than or equal to 1"),
        ("human_hold_seconds = -1", "human_hold_seconds: should be greater than or equal to 0"),
        ('fallback_text = " "', "fallback_text: should say something, or be empty"),
        ('timezone = "America"', "timezone: is not a time zone; write one like .*"),
        ('timezone = "Moon/Base"', "timezone: is not a time zone; write one like .*"),
        ('region = "XX"', "region: is not a country code of ISO 3166; .*"),
        ("priority = { vip = { gap = 1 } }", "priority.vip.gap: unknown key; .*"),
        ("priority = { vip = { gap_seconds = 0 } }", "priority.vip.gap_seconds: should be gre.*"),
        ("priority = 5", "priority: should be a table"),
    ],
)
def test_a_bad_rule_names_its_business(refusal: Refusal, key: str, line: str) -> None:
    assert re.fullmatch(f'business "hotel": {line}'.replace("?", r"\?"), refusal(HOTEL + key))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"hotel"', '"motel"', r"business: no \[\[business\]\] has this id; known: hotel"),
        ('"wati"', '"wati"\nportfolio = "Meta: 1"', "portfolio: use a-z, 0-9 and hyphens, .*"),
        ('"wati"', '"pigeon"', "kind: should be 'wati', .* or 'sandbox'"),
        ("WATI_TOKEN", "OTHER", "token_env: .* OTHER is not set; set it, or give token_file"),
        ("WATI_TOKEN", "nobody-may-see", "token_env: write the NAME of an environment variable.*"),
        ("WATI_TOKEN", "", r"token_env: is needed for kind wati; set it \(or token_file\)"),
        ('token_env = "WATI_TOKEN"', 'token = "nobody-may-see"', "token: .* mean token_env.*"),
        ("token_env =", 'token_file = "t"\ntoken_env =', "token_file: is given beside token_env.*"),
        ("token_env", "token_file", "token_file: the file cannot be read: .*"),
        ("WATI_WEBHOOK_SECRET", "SHORT", "webhook_secret_env: .* 16 to 4096 characters; it has 15"),
        ("WATI_TOKEN", "TWO_LINES", "token_env: the secret should be one line of plain characters"),
        ("https://wati.example.com/1/", "", "base_url: is needed for kind wati; set it"),
        ("https:", "http:", "base_url: should begin with https://; plain http is for this .*"),
        ("https://wati", "wati", "base_url: should begin with https:// and a host"),
        ("wati.example.com", "[wati", "base_url: .*"),
        ("wati.example.com", "me:pw@wati", "base_url: should have no user, query or fragment"),
    ],
)
def test_a_bad_line_names_its_channel(refusal: Refusal, old: str, new: str, line: str) -> None:
    environ = {**SECRETS, "SHORT": "fifteen-letters", "TWO_LINES": "one\ntwo"}
    toml = HOTEL + WATI.replace(old, new, 1)
    assert re.fullmatch(f'channel "hotel-wati": {line}', refusal(toml, environ))


@pytest.mark.parametrize(
    "url", ["http://localhost:9/", "http://127.0.0.1:9", "http://[::1]:9", "https://h.example/v1"]
)
def test_plain_http_is_for_this_machine_only(read: Loading, url: str) -> None:
    config = read(HOTEL + WATI.replace("https://wati.example.com/1/", url))
    assert config.channels[0].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ('api_key_env = "OPENAI_API_KEY"', "assistant.model: is needed for kind openai; set it"),
        ('model = "m"', "assistant.api_key_env: is needed for kind openai; set it .*"),
        ('model = "m"\nbase_url = ""', "assistant.base_url: is needed for kind openai; set it"),
        ('memory = "elephant"', "assistant.memory: should be 'openai' or 'local'"),
        ("timeout_seconds = 601", "assistant.timeout_seconds: should be less than or equal .*"),
        (
            'instructions = "a"\ninstructions_file = "b"',
            "assistant.instructions_file: .* keep one.*",
        ),
        ('instructions_file = "b"', "assistant.instructions_file: the file cannot be read: .*"),
        ('instructions_file = "latin"', "assistant.instructions_file: .* text file in UTF-8"),
        ('instructions_file = "long"', "assistant.instructions_file: the file has over .*"),
    ],
)
def test_an_assistant_that_cannot_answer_is_refused(
    refusal: Refusal, tmp_path: Path, keys: str, line: str
) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "long").write_text("x" * 100_001)
    assert re.fullmatch(line, refusal(f'[assistant]\nkind = "openai"\n{keys}'))


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relevo.toml"
    path.write_text("# " + "x" * 1_048_576)
    with pytest.raises(ConfigError, match="is larger than 1048576 bytes"):
        load(path, {})


def test_of_several_tags_the_smallest_value_wins(read: Loading) -> None:
    config = read(
        HOTEL
        + "quiet_seconds = 20\ngap_seconds = 200\n"
        + "[business.priority]\nvip = { gap_seconds = 60, quiet_seconds = 10 }\n"
        + "gold = { gap_seconds = 30 }\nslow = { quiet_seconds = 90 }\n"
        + SANDBOX
    )
    vip_and_gold = config.rules("hotel", ["unknown", "vip", "gold"])
    assert (vip_and_gold.gap_seconds, vip_and_gold.quiet_seconds) == (30, 10)
    assert config.rules("hotel", ["slow"]).quiet_seconds == 20


def test_the_rules_carry_what_the_assistant_needs(read: Loading) -> None:
    openai = '[assistant]\nkind = "openai"\nmodel = "m"\napi_key_env = "OPENAI_API_KEY"\n'
    own = read(f'{openai}timeout_seconds = 7\n{HOTEL}timezone = "Asia/Jerusalem"\n{SANDBOX}')
    rules = own.rules("hotel", ())
    assert (rules.ai_conversations, rules.answer_timeout_seconds) == (True, 7)
    assert rules.timezone == "Asia/Jerusalem"
    local = read(f'{openai}memory = "local"\n{HOTEL}{SANDBOX}')
    assert not local.rules("hotel", ()).ai_conversations


def test_rules_of_an_unknown_business_are_a_bug(read: Loading) -> None:
    with pytest.raises(KeyError):
        read("").rules("nobody", ())
