"""What can be configured: one frozen class a table, one field a key, checked when it is made.

What a key only names (a secret, a file of instructions) is looked up in the `Sources` that
`config.load` passes as the validation context. Looked-up secrets are private attributes, so that no
repr and no dump has them.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from relevo.prompt import REPLY_PART_CHARACTERS_MAX
from relevo.sources import TEXT_CHARACTERS_MAX, require, secret, sources, text_file, wrong
from relevo.turns import Rules
from relevo.values import BaseUrl, GapSeconds, Id, Port, PostgresUrl, Region, Timezone, UpToAnHour

WEBHOOK_SECRET_CHARACTERS_MIN = 16
MEMORY_MB_MIN = 128
"""A process without any customers has half of it."""
AI_CALLS_MAX = 512
"""The AI's client holds as many connections."""
BUSINESSES_MAX = 1000
ANSWER_TRIES_SECONDS = 60
"""How much longer than one call to the AI a turn may be about its answer, with all its tries."""
CHANNELS_MAX = 4000

_DAY_SECONDS = 86_400


class Table(BaseModel):
    """A table of the file. Unknown keys are refused, and no error repeats what was written."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_max_length=TEXT_CHARACTERS_MAX,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switches(cls, value: object) -> object:
        """Refuse true and false, which would pass for 1 and 0: no key is a switch."""
        if isinstance(value, bool):
            raise ValueError("should not be true or false")  # noqa: TRY004  (pydantic's way)
        return value


class Server(Table):
    """`[server]`. Port 0 takes any free one."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    port: Port = 8080
    metrics_port: Port = 9464
    unread_max: int = Field(default=1000, ge=100, le=100_000)
    memory_max_mb: int = Field(default=0, ge=0, le=16_777_216)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("memory_max_mb")
    @classmethod
    def _room_to_start(cls, value: int) -> int:
        if 0 < value < MEMORY_MB_MIN:
            raise ValueError(f"should be 0 (automatic), or at least {MEMORY_MB_MIN}")
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.port == self.metrics_port != 0:
            raise wrong("metrics_port", "is the same as port; choose another")
        return self


class Database(Table):
    """`[database]`. An empty url means the embedded server under `data_dir`.

    `owner_url` may stay empty where nothing is migrated (`serve --no-migrate`).
    """

    url: PostgresUrl = SecretStr("")
    owner_url: PostgresUrl = SecretStr("")
    data_dir: Path = Field(default=Path(".relevo"), validate_default=True)

    @field_validator("data_dir")
    @classmethod
    def _below_the_folder(cls, value: Path, info: ValidationInfo) -> Path:
        return (sources(info).folder / value).absolute()

    @model_validator(mode="after")
    def _owner_of_something(self) -> Self:
        if self.owner_url.get_secret_value() and not self.url.get_secret_value():
            raise wrong("owner_url", "is given without url; give the app's url too")
        return self


class Assistant(Table):
    """`[assistant]`: the one AI of all businesses. `instructions` holds the file's text too."""

    kind: Literal["offline", "openai"] = "offline"
    base_url: BaseUrl = "https://api.openai.com/v1"
    api_key_env: str = ""
    api_key_file: str = ""
    model: str = Field(default="", max_length=200)
    instructions: str = ""
    instructions_file: str = ""
    timeout_seconds: float = Field(default=90, ge=1, le=600)
    memory: Literal["openai", "local"] = "openai"
    concurrency_max: int = Field(default=AI_CALLS_MAX, ge=1, le=AI_CALLS_MAX)
    _api_key: SecretStr = PrivateAttr(default=SecretStr(""))

    @property
    def api_key(self) -> SecretStr:
        """The key itself; empty for the offline assistant."""
        return self._api_key

    @property
    def keeps_conversations(self) -> bool:
        """Whether the AI has a conversation of its own that must exist before it is asked."""
        return self.kind == "openai" and self.memory == "openai"

    @model_validator(mode="before")
    @classmethod
    def _read_instructions(cls, table: Any, info: ValidationInfo) -> Any:
        if not isinstance(table, dict) or not table.get("instructions_file"):
            return table
        if table.get("instructions"):
            raise wrong("instructions_file", "is given beside instructions; keep one of them")
        text = text_file("instructions_file", str(table["instructions_file"]), info)
        return {**table, "instructions": text}

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        self._api_key = secret(self, "api_key", info)
        if self.kind == "openai":
            require(self.kind, model=self.model, base_url=self.base_url)
            require(self.kind, api_key_env=self._api_key)
        return self


class Priority(Table):
    """What a customer's tag lowers. It never raises a value above the business's own."""

    gap_seconds: GapSeconds | None = None
    quiet_seconds: UpToAnHour | None = None


class Business(Table):
    """`[[business]]`: a tenant and the rules of its turns."""

    id: Id
    timezone: Timezone = "UTC"
    region: Region = "US"
    quiet_seconds: UpToAnHour = 35
    gather_max_seconds: UpToAnHour = 120
    gap_seconds: GapSeconds = 300
    first_contact_lookback_seconds: float = Field(default=_DAY_SECONDS, ge=0, le=365 * _DAY_SECONDS)
    recall_timeout_seconds: float = Field(default=10, gt=0, le=120)
    recall_pages_max: int = Field(default=10, ge=1, le=100)
    human_hold_seconds: float = Field(default=0, ge=0, le=30 * _DAY_SECONDS)
    late_answer_seconds: float = Field(default=1800, gt=0, le=7 * _DAY_SECONDS)
    retention_days: int = Field(default=0, ge=0, le=36_500)
    fallback_text: str = Field(default="", max_length=REPLY_PART_CHARACTERS_MAX)
    concurrency_max: int = Field(default=0, ge=0, le=AI_CALLS_MAX)
    priority: dict[str, Priority] = Field(default_factory=dict, max_length=100)

    @field_validator("fallback_text")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if value and not value.strip():
            raise ValueError("should say something, or be empty")
        return value

    @model_validator(mode="after")
    def _quiet_ends_first(self) -> Self:
        if self.quiet_seconds > self.gather_max_seconds:
            raise wrong("quiet_seconds", "is more than gather_max_seconds; lower it")
        return self


class Channel(Table):
    """`[[channel]]`: a business's line at a provider."""

    id: Id
    business: str
    kind: Literal["wati", "cloud_api", "360dialog", "manychat", "evolution", "twilio", "sandbox"]
    portfolio: Id = ""
    base_url: BaseUrl = ""
    token_env: str = ""
    token_file: str = ""
    webhook_secret_env: str = ""
    webhook_secret_file: str = ""
    assistant_operator: str = Field(default="", max_length=200)
    phone_number_id: str = Field(default="", pattern=r"^[0-9]{0,32}$")
    instance: str = Field(default="", max_length=200)
    verify_token_env: str = ""
    verify_token_file: str = ""
    account_sid: str = Field(default="", pattern=r"^(AC[0-9a-fA-F]{32})?$")
    sender: str = Field(default="", pattern=r"^(\+[0-9]{5,15})?$")
    public_url: BaseUrl = ""
    _token: SecretStr = PrivateAttr(default=SecretStr(""))
    _webhook_secret: SecretStr = PrivateAttr(default=SecretStr(""))
    _verify_token: SecretStr = PrivateAttr(default=SecretStr(""))

    @property
    def token(self) -> SecretStr:
        """What the provider's API asks for; a sandbox may have none."""
        return self._token

    @property
    def webhook_secret(self) -> SecretStr:
        """What the provider's webhooks carry; a sandbox may have none."""
        return self._webhook_secret

    @property
    def verify_token(self) -> SecretStr:
        """What Meta names when it asks whether the address is ours; other kinds have none."""
        return self._verify_token

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        self._token = secret(self, "token", info)
        self._webhook_secret = secret(
            self, "webhook_secret", info, characters_min=WEBHOOK_SECRET_CHARACTERS_MIN
        )
        self._verify_token = secret(
            self, "verify_token", info, characters_min=WEBHOOK_SECRET_CHARACTERS_MIN
        )
        if self.kind == "cloud_api":
            require(self.kind, phone_number_id=self.phone_number_id)
            require(self.kind, verify_token_env=self._verify_token)
        if self.kind == "evolution":
            require(self.kind, instance=self.instance)
        if self.kind in ("wati", "cloud_api", "360dialog", "manychat", "evolution"):
            require(self.kind, base_url=self.base_url, token_env=self._token)
            require(self.kind, webhook_secret_env=self._webhook_secret)
        if self.kind == "twilio":
            require(self.kind, base_url=self.base_url, token_env=self._token)
            require(self.kind, account_sid=self.account_sid, sender=self.sender)
            require(self.kind, public_url=self.public_url)
        return self


class Config(Table):
    """Everything that is configured. Fields are plural where the file repeats a table."""

    server: Server
    database: Database
    assistant: Assistant
    businesses: tuple[Business, ...] = Field(
        alias="business", min_length=1, max_length=BUSINESSES_MAX
    )
    channels: tuple[Channel, ...] = Field(alias="channel", min_length=1, max_length=CHANNELS_MAX)

    def business(self, business_id: str) -> Business:
        """Return the business; KeyError when it is not configured."""
        for business in self.businesses:
            if business.id == business_id:
                return business
        raise KeyError(business_id)

    @property
    def regions(self) -> dict[str, str]:
        """Return where phones written without a country code are, by business."""
        return {business.id: business.region for business in self.businesses}

    @property
    def portfolios(self) -> dict[str, str]:
        """Return within which portfolio at Meta a BSUID means something, by channel."""
        return {channel.id: channel.portfolio or channel.id for channel in self.channels}

    @property
    def retention_days(self) -> dict[str, int]:
        """Return how long what was said is kept, by business; 0: for ever."""
        return {business.id: business.retention_days for business in self.businesses}

    @property
    def late_after(self) -> dict[str, timedelta]:
        """Return how late something is still said, by business."""
        return {b.id: timedelta(seconds=b.late_answer_seconds) for b in self.businesses}

    def concurrency_max_of(self, business_id: str) -> int:
        """Return how many of a business's customers may be at the AI at once.

        Unless it says so itself: all that may, or three quarters where others need room too.
        """
        of_all = self.assistant.concurrency_max
        share = of_all if len(self.businesses) == 1 else max(1, of_all * 3 // 4)
        own = {business.id: business.concurrency_max for business in self.businesses}
        return own.get(business_id) or share

    def rules(self, business_id: str, tags: Sequence[str]) -> Rules:
        """Return the rules for a customer with these tags; the smallest value wins.

        Raises KeyError when the business is not configured.
        """
        business = self.business(business_id)
        lowered = [business.priority[tag] for tag in tags if tag in business.priority]
        quiet = [p.quiet_seconds for p in lowered if p.quiet_seconds is not None]
        gap = [p.gap_seconds for p in lowered if p.gap_seconds is not None]
        return Rules(
            quiet_seconds=min([business.quiet_seconds, *quiet]),
            gather_max_seconds=business.gather_max_seconds,
            gap_seconds=min([business.gap_seconds, *gap]),
            first_contact_lookback_seconds=business.first_contact_lookback_seconds,
            recall_timeout_seconds=business.recall_timeout_seconds,
            late_answer_seconds=business.late_answer_seconds,
            answer_timeout_seconds=self.assistant.timeout_seconds,
            answer_total_seconds=self.assistant.timeout_seconds + ANSWER_TRIES_SECONDS,
            human_hold_seconds=business.human_hold_seconds,
            fallback_text=business.fallback_text,
            ai_conversations=self.assistant.keeps_conversations,
            timezone=business.timezone,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse_twins("business", [business.id for business in self.businesses])
        _refuse_twins("channel", [channel.id for channel in self.channels])
        known = {business.id for business in self.businesses}
        for channel in self.channels:
            if channel.business not in known:
                raise ValueError(
                    f'channel "{channel.id}": business: no [[business]] has this id; '
                    f"known: {', '.join(sorted(known))}"
                )
        return self


def _refuse_twins(table: str, ids: list[str]) -> None:
    for index, value in enumerate(ids):
        if value in ids[:index]:
            raise ValueError(f'{table} "{value}": id: is given twice; ids are unique')
