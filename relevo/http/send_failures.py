"""What the status of an answer to a send means, where the answer does not say more."""

from collections.abc import Mapping
from http import HTTPStatus

from relevo.events import SendFailure
from relevo.http.meta_errors import FailureKind

RATE_LIMITED = FailureKind(SendFailure.RATE_LIMITED, "rate_limited")
UNAUTHORIZED = FailureKind(SendFailure.STOPPED, "unauthorized")
UNREADABLE = FailureKind(SendFailure.UNKNOWN, "unreadable")

TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED})
"""Statuses with which a provider takes a send, unless its answer says no."""

_BY_STATUS: Mapping[int, FailureKind] = {
    HTTPStatus.UNAUTHORIZED: UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED: FailureKind(SendFailure.STOPPED, "account_payment"),
    HTTPStatus.TOO_MANY_REQUESTS: RATE_LIMITED,
}
_TAKEN_OR_NOT = frozenset({*range(200, 300), HTTPStatus.REQUEST_TIMEOUT, *range(500, 600)})


def by_status(status: int) -> FailureKind:
    """Return what a status says of a send that was not taken, or that nobody can be sure of."""
    if kind := _BY_STATUS.get(status):
        return kind
    failure = SendFailure.UNKNOWN if status in _TAKEN_OR_NOT else SendFailure.REJECTED
    return FailureKind(failure, f"http_{status}")
