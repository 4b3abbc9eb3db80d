"""The lines to the world that are configured: a channel each, an assistant each business."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple, Protocol

from relevo.actors.ports import Assistant
from relevo.clock import Clock
from relevo.http.channels import ChannelAdapter
from relevo.http.cloud_api import CloudApiChannel, CloudApiSettings
from relevo.http.evolution import EvolutionChannel, EvolutionSettings, gateway_pace
from relevo.http.manychat import ManyChatChannel, ManyChatSettings
from relevo.http.pace import Pace, Slots
from relevo.http.ports import AssistantProbe
from relevo.http.sandbox import SandboxChannel, SandboxSettings
from relevo.http.session import Session
from relevo.http.twilio import TwilioChannel, TwilioSettings, account_pace
from relevo.http.wati import WatiChannel, WatiSettings, tenant_pace
from relevo.offline import OfflineAssistant
from relevo.settings import Channel, Config
from relevo.store.erasing import Eraser

RECALLS_UNDER_WAY_MAX = 64
"""Questions to all providers' histories at once; the other connections are left to sends."""

AHEAD_SHARE = 0.05
AHEAD_SECONDS_MIN = 0.5


class Memorable(Assistant, Eraser, Protocol):
    """An AI that answers, and forgets."""


class OwnLine(NamedTuple):
    """How this process reaches itself: the sandbox's provider and its channel meet over HTTP."""

    url: str
    secret: str


def open_channels(
    config: Config, session: Session, clock: Clock, own: OwnLine
) -> dict[str, ChannelAdapter]:
    """Make the adapter of every configured channel, by id.

    WATI counts calls by tenant, whichever token they carry, and a base URL names a tenant.
    """
    adapters: dict[str, ChannelAdapter] = {}
    paces: dict[str, Pace] = {}
    slots = Slots(RECALLS_UNDER_WAY_MAX)
    for channel in config.channels:
        if channel.kind == "sandbox":
            adapters[channel.id] = SandboxChannel(_sandbox(config, channel, own), session, clock)
        elif channel.kind in ("cloud_api", "360dialog"):
            adapters[channel.id] = CloudApiChannel(_cloud_api(channel), session, clock)
        elif channel.kind == "manychat":
            adapters[channel.id] = ManyChatChannel(_manychat(channel), session, clock)
        elif channel.kind == "twilio":
            twilio = _twilio(config, channel)
            pace = paces.setdefault(channel.account_sid, account_pace(clock, slots))
            adapters[channel.id] = TwilioChannel(twilio, session, clock, pace)
        elif channel.kind == "evolution":
            gateway = paces.setdefault(channel.base_url.casefold(), gateway_pace(clock, slots))
            line = _evolution(config, channel)
            adapters[channel.id] = EvolutionChannel(line, session, clock, gateway)
        else:
            settings = _wati(config, channel)
            pace = paces.setdefault(channel.base_url.casefold(), tenant_pace(clock, slots))
            adapters[channel.id] = WatiChannel(settings, session, clock, pace)
    return adapters


def open_assistants(
    config: Config, stack: AsyncExitStack, clock: Clock, probe: AssistantProbe
) -> Mapping[str, Memorable]:
    """Make the AI of every business; what has to be closed is left to `stack`.

    There is one key, so all of them share its connections and its brake.
    """
    table = config.assistant
    if table.kind == "offline":
        return {business.id: OfflineAssistant() for business in config.businesses}
    # Importing the SDK takes half a second, which nobody else shall wait for.
    from relevo.http.openai_account import OpenAIAccount, OpenAISettings  # noqa: PLC0415
    from relevo.http.openai_assistant import OpenAIAssistant  # noqa: PLC0415

    settings = {
        business.id: OpenAISettings(
            base_url=table.base_url,
            api_key=table.api_key.get_secret_value(),
            model=table.model,
            instructions=table.instructions,
            timeout_seconds=ahead_of(table.timeout_seconds),
            memory=table.memory,
            business_id=business.id,
        )
        for business in config.businesses
    }
    account = OpenAIAccount(next(iter(settings.values())), clock, probe)
    stack.push_async_callback(account.close)
    return {
        business_id: OpenAIAssistant(setting, account, clock, probe)
        for business_id, setting in settings.items()
    }


def _sandbox(config: Config, channel: Channel, own: OwnLine) -> SandboxSettings:
    business = config.business(channel.business)
    return SandboxSettings(
        business_id=channel.business,
        channel_id=channel.id,
        base_url=own.url,
        secret=own.secret,
        recall_timeout_seconds=ahead_of(business.recall_timeout_seconds),
    )


def _cloud_api(channel: Channel) -> CloudApiSettings:
    return CloudApiSettings(
        business_id=channel.business,
        channel_id=channel.id,
        kind="360dialog" if channel.kind == "360dialog" else "cloud_api",
        base_url=channel.base_url,
        token=channel.token.get_secret_value(),
        webhook_secret=channel.webhook_secret.get_secret_value(),
        phone_number_id=channel.phone_number_id,
        verify_token=channel.verify_token.get_secret_value(),
    )


def _manychat(channel: Channel) -> ManyChatSettings:
    return ManyChatSettings(
        business_id=channel.business,
        channel_id=channel.id,
        base_url=channel.base_url,
        token=channel.token.get_secret_value(),
        webhook_secret=channel.webhook_secret.get_secret_value(),
    )


def _evolution(config: Config, channel: Channel) -> EvolutionSettings:
    business = config.business(channel.business)
    return EvolutionSettings(
        business_id=channel.business,
        channel_id=channel.id,
        base_url=channel.base_url,
        instance=channel.instance,
        api_key=channel.token.get_secret_value(),
        webhook_secret=channel.webhook_secret.get_secret_value(),
        recall_pages_max=business.recall_pages_max,
        recall_timeout_seconds=ahead_of(business.recall_timeout_seconds),
    )


def _twilio(config: Config, channel: Channel) -> TwilioSettings:
    business = config.business(channel.business)
    return TwilioSettings(
        business_id=channel.business,
        channel_id=channel.id,
        account_sid=channel.account_sid,
        sender=channel.sender,
        public_url=channel.public_url,
        token=channel.token.get_secret_value(),
        base_url=channel.base_url,
        recall_pages_max=business.recall_pages_max,
        recall_timeout_seconds=ahead_of(business.recall_timeout_seconds),
    )


def _wati(config: Config, channel: Channel) -> WatiSettings:
    business = config.business(channel.business)
    return WatiSettings(
        business_id=channel.business,
        channel_id=channel.id,
        base_url=channel.base_url,
        token=channel.token.get_secret_value(),
        webhook_secret=channel.webhook_secret.get_secret_value(),
        assistant_operator=channel.assistant_operator,
        recall_pages_max=business.recall_pages_max,
        recall_timeout_seconds=ahead_of(business.recall_timeout_seconds),
    )


def ahead_of(seconds: float) -> float:
    """Return how long an adapter may take where the core waits so long for it.

    The core counts from its step, the adapter from its call, which comes after the commit. Were
    both given the same time, the core would always be first: what an adapter has read until then,
    and the reason why it ended, would be lost.
    """
    return max(seconds / 2, seconds - max(AHEAD_SECONDS_MIN, AHEAD_SHARE * seconds))
