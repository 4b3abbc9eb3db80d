"""The API of a process: its endpoints, with what the store has behind each of them."""

from collections.abc import Callable

from relevo.http.api import Api
from relevo.http.api_letters import letter_endpoints
from relevo.http.api_limits import Limits
from relevo.http.api_ports import ApiProbe
from relevo.messages import ConversationKey
from relevo.store import letters, quarantined
from relevo.store.api_access import ApiAccess
from relevo.store.means import Means


def open_api(
    means: Means, wake: Callable[[ConversationKey], None], probe: ApiProbe, limits: Limits
) -> Api:
    """Return the API of all businesses; `wake` hears whose rows it has changed."""
    access = ApiAccess(means)
    means.tasks.spawn(access.forget_for_ever(), "forget-idempotency")
    endpoints = [*letter_endpoints(letters, quarantined)]
    return Api(access, endpoints, wake, probe, means.clock, limits)
