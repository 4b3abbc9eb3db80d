"""The API of a process: its endpoints, with what the store has behind each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from relevo.actors.ports import ShortTexts
from relevo.http.api import Api
from relevo.http.api_conversations import conversation_endpoints
from relevo.http.api_letters import letter_endpoints
from relevo.http.api_limits import Limits
from relevo.http.api_links import link_endpoints
from relevo.http.api_outgoing import outgoing_endpoints
from relevo.http.api_people import people_endpoints
from relevo.http.api_ports import ApiProbe
from relevo.http.api_repairs import repair_endpoints
from relevo.http.api_threads import thread_endpoints
from relevo.http.channels import ChannelAdapter
from relevo.messages import ConversationKey
from relevo.prompt import REPLY_PART_CHARACTERS_MAX
from relevo.replaying import Replayer
from relevo.settings import Config
from relevo.store import chats, holding, letters, outgoing, quarantined, threads
from relevo.store.api_access import ApiAccess
from relevo.store.conversations import Conversations, Custom
from relevo.store.inbox import Inbox
from relevo.store.linking import Links
from relevo.store.means import Means


@dataclass(frozen=True, slots=True)
class Hands:
    """What the API does in a process besides asking its database."""

    wake: Callable[[ConversationKey], None]
    """Hears whose rows were changed, once they are committed."""
    expect: Callable[[datetime], None]
    """Hears when something will have to be said."""
    channels: Mapping[str, ChannelAdapter]
    merge: Callable[[], None]
    """Hears that two addresses are one person's."""
    inbox: Inbox
    """Where bodies are delivered again; it sets nothing aside itself."""


def open_api(config: Config, means: Means, hands: Hands, probe: ApiProbe, limits: Limits) -> Api:
    """Return the API of all businesses."""
    access, clock = ApiAccess(means), means.clock
    means.tasks.spawn(access.forget_for_ever(), "forget-idempotency")
    customs = {b.id: Custom(b.region, b.human_hold_seconds) for b in config.businesses}
    conversations = Conversations(customs, clock)
    replayer = Replayer(hands.channels, hands.inbox)

    def characters_max(channel_id: str) -> int:
        line: object = hands.channels.get(channel_id)
        if isinstance(line, ShortTexts):
            return min(line.text_characters_max, REPLY_PART_CHARACTERS_MAX)
        return REPLY_PART_CHARACTERS_MAX

    endpoints = [
        *conversation_endpoints(conversations),
        *thread_endpoints(threads),
        *outgoing_endpoints(outgoing, clock, hands.expect, characters_max),
        *people_endpoints(conversations, holding, chats, clock),
        *link_endpoints(conversations, Links(config.regions), clock, hands.merge),
        *letter_endpoints(letters, quarantined),
        *repair_endpoints(letters, replayer.replay, clock),
    ]
    return Api(access, endpoints, hands.wake, probe, clock, limits)
