"""The API of a process: its endpoints, with what the store has behind each of them."""

from collections.abc import Callable

from relevo.http.api import Api
from relevo.http.api_conversations import conversation_endpoints
from relevo.http.api_letters import letter_endpoints
from relevo.http.api_limits import Limits
from relevo.http.api_ports import ApiProbe
from relevo.http.api_threads import thread_endpoints
from relevo.messages import ConversationKey
from relevo.settings import Config
from relevo.store import letters, quarantined, threads
from relevo.store.api_access import ApiAccess
from relevo.store.conversations import Conversations, Custom
from relevo.store.means import Means


def open_api(
    config: Config,
    means: Means,
    wake: Callable[[ConversationKey], None],
    probe: ApiProbe,
    limits: Limits,
) -> Api:
    """Return the API of all businesses; `wake` hears whose rows it has changed."""
    access = ApiAccess(means)
    means.tasks.spawn(access.forget_for_ever(), "forget-idempotency")
    customs = {b.id: Custom(b.region, b.human_hold_seconds) for b in config.businesses}
    endpoints = [
        *conversation_endpoints(Conversations(customs, means.clock)),
        *thread_endpoints(threads),
        *letter_endpoints(letters, quarantined),
    ]
    return Api(access, endpoints, wake, probe, means.clock, limits)
