"""The frame of the API: one declaration of an endpoint, and everything else follows from it.

Its route, its authorisation, its validation, its transaction, its place in the OpenAPI document.

For everything under `/v1`:

* Nothing without a key, but what `PUBLIC` names: `Authorization: Bearer`, never in a URL.
* The key says whose business it is; what is another's is not there (404).
* A request is read before its transaction begins, and answered after that was committed.
* What is not done is answered as a problem (RFC 9457), and has changed nothing.
* An `Idempotency-Key` has a thing done once: its answer is kept by the transaction that did it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from relevo.clock import Clock
from relevo.errors import StoreUnavailableError
from relevo.http.api_document import document
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_limits import Buckets, BusyError, Limits, Places
from relevo.http.api_ports import Access, ApiProbe, Transaction
from relevo.http.api_problems import HEADERS, Problem, not_found
from relevo.http.api_reading import BODY_BYTES_MAX, Reader
from relevo.http.bodies import Bodies
from relevo.keys import Caller
from relevo.messages import ConversationKey

PREFIX = "/v1"
DOCUMENT = "/openapi.json"
PUBLIC = frozenset({DOCUMENT})
"""What is answered without a key: below the prefix, as routes are written."""

RETRY_AFTER_SECONDS = 5

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CALLER = web.RequestKey("caller", Caller)
_OUTCOME = web.RequestKey("outcome", str)


class Api:
    """Everything under `/v1`, as an application of its own."""

    def __init__(
        self,
        access: Access,
        endpoints: Sequence[Endpoint],
        wake: Callable[[ConversationKey], None],
        probe: ApiProbe,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        """`wake` hears whose rows were changed, once they are committed."""
        limits = limits or Limits()
        self._access = access
        self._wake = wake
        self._probe = probe
        self._clock = clock
        self._buckets = Buckets(clock, limits)
        self._places = Places(clock, limits)
        self._reader = Reader(Bodies(clock, bytes_max=BODY_BYTES_MAX))
        self._document = b""
        self._endpoints = tuple(endpoints)

        @web.middleware
        async def answer(request: web.Request, handler: _Next) -> web.StreamResponse:
            return await self._answer(request, handler)

        self.app = web.Application(middlewares=[answer])
        self.app.router.add_get(DOCUMENT, self._describe, allow_head=False)
        for endpoint in endpoints:
            handler = _Door(self, endpoint)
            self.app.router.add_route(endpoint.method, endpoint.path, handler.open)

    async def _answer(self, request: web.Request, handler: _Next) -> web.StreamResponse:
        """Answer any request under the prefix, whatever happens on the way."""
        started = self._clock.monotonic()
        outcome = "error"
        try:
            async with self._places.request():
                await self._let_in(request)
                response = await handler(request)
            outcome = request.get(_OUTCOME, "answered")
        except Exception as error:  # noqa: BLE001  (told, and answered as what it is)
            problem = self._problem(error)
            outcome, response = problem.word, problem.response()
        finally:
            self._probe.api_request(outcome, self._clock.monotonic() - started)
        return response

    async def _let_in(self, request: web.Request) -> None:
        """Find out who calls; raises Problem for whoever may not, or not so often."""
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in {f"{PREFIX}{path}" for path in PUBLIC}:
            return
        caller = await self._access.caller(_bearer(request))
        if caller is None:
            raise _unauthorized("invalid_token", "This key is not known, or works no longer.")
        wait_seconds = self._buckets.take(caller.key_id)
        if wait_seconds:
            raise Problem(
                "too_many_requests",
                f"This key has asked too often; ask again in {wait_seconds} s.",
                headers={"Retry-After": str(wait_seconds)},
            )
        request[_CALLER] = caller

    async def serve(self, endpoint: Endpoint, request: web.Request) -> web.Response:
        """Answer a request of somebody who was let in; raises Problem if it is not done."""
        async with self._places.request_of(request[_CALLER].business_id):
            return await self._serve(endpoint, request)

    async def _serve(self, endpoint: Endpoint, request: web.Request) -> web.Response:
        caller = request[_CALLER]
        if endpoint.scope not in caller.scopes:
            raise Problem(
                "forbidden", f"This key lacks the scope `{endpoint.scope}`; use one that has it."
            )
        path = self._reader.path(request)
        query = self._reader.query(request, endpoint.query)
        raw = await self._reader.raw(request) if endpoint.writes else b""
        body = self._reader.body(raw, endpoint.body)
        once = self._reader.idempotency_key(request) if endpoint.writes else None
        asking = _fingerprint(request, raw)
        woken: list[int] = []
        after: list[Callable[[], None]] = []
        async with self._places.transaction(), self._transaction(endpoint, caller) as transaction:
            if once is not None:
                known = await self._access.claim(transaction, caller.business_id, once, asking)
                if known is not None:
                    return _again(request, asking, known)
            path = await self._followed(endpoint, caller, transaction, path)
            asked = Asked(caller, transaction, path, query, body, woken, after)
            given = endpoint.answer.model_validate(await endpoint.handler(asked))
            content = given.model_dump_json().encode()
            if once is not None:
                answer = (endpoint.status, content)
                await self._access.keep(transaction, caller.business_id, once, answer)
        for conversation_id in woken:
            self._wake(ConversationKey(caller.business_id, conversation_id))
        for deed in after:
            deed()
        return _response(endpoint.status, content)

    async def _followed(
        self, endpoint: Endpoint, caller: Caller, transaction: Transaction, path: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Have the id of a conversation that was merged be that of the one it is part of now."""
        if not endpoint.of_conversation:
            return path
        key = ConversationKey(caller.business_id, path["id"])
        home = await self._access.home(transaction, key, for_writing=endpoint.writes)
        if home is None:
            raise not_found("conversation")
        return {**path, "id": home.conversation_id}

    def _transaction(
        self, endpoint: Endpoint, caller: Caller
    ) -> AbstractAsyncContextManager[Transaction]:
        if endpoint.writes:
            return self._access.writing(caller.business_id)
        return self._access.reading(caller.business_id)

    async def _describe(self, _request: web.Request) -> web.Response:
        self._document = self._document or document(PREFIX, self._endpoints)
        return _response(200, self._document)

    def _problem(self, error: Exception) -> Problem:
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        match error:
            case Problem():
                return error
            case web.HTTPNotFound():
                return Problem("not_found", f"There is nothing here; see {PREFIX}{DOCUMENT}.")
            case web.HTTPMethodNotAllowed():
                allowed = ", ".join(sorted(error.allowed_methods))
                detail = f"This can be asked with {allowed} only."
                return Problem("method_not_allowed", detail, headers={"Allow": allowed})
            case BusyError():
                detail = "Too much is under way; nothing was done. Ask again."
                return Problem("unavailable", detail, headers=retry)
            case StoreUnavailableError():
                detail = "The database is away; nothing is certain to be done. Ask again."
                return Problem("unavailable", detail, headers=retry)
            case _:
                self._probe.api_failed(error)
                return Problem("error", "This is a fault of ours, and was reported.")


@dataclass(frozen=True, slots=True)
class _Door:
    """An endpoint's route: whoever comes by it has been let in by the frame."""

    api: Api
    endpoint: Endpoint

    async def open(self, request: web.Request) -> web.Response:
        return await self.api.serve(self.endpoint, request)


def endpoint_of(route: web.AbstractRoute) -> Endpoint | None:
    """Return what a route of the API's application answers; None: it is none of the endpoints."""
    door = getattr(route.handler, "__self__", None)
    return door.endpoint if isinstance(door, _Door) else None


def _bearer(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise _unauthorized("", "Send a key as `Authorization: Bearer rlv_...`.")
    return key.strip()


def _unauthorized(error: str, detail: str) -> Problem:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


def _fingerprint(request: web.Request, raw: bytes) -> bytes:
    """Return what tells one request from another under the same Idempotency-Key."""
    asked = f"{request.method} {request.raw_path}\n".encode("utf-8", "surrogatepass")
    return hashlib.sha256(asked + raw).digest()


def _again(request: web.Request, asking: bytes, known: tuple[bytes, int, bytes]) -> web.Response:
    """Answer what the same request was answered before; raises Problem if it was another one."""
    asked_before, status, content = known
    if asked_before != asking:
        raise Problem(
            "key_reused",
            "This Idempotency-Key belongs to another request; use a new one for each.",
        )
    request[_OUTCOME] = "repeated"
    return _response(status, content)


def _response(status: int, content: bytes) -> web.Response:
    return web.Response(
        status=status, body=content, content_type="application/json", headers=HEADERS
    )
