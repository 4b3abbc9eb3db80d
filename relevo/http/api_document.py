"""The OpenAPI document, made of the declarations of the endpoints: it cannot say anything else."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relevo import __version__
from relevo.http.api_endpoints import Endpoint
from relevo.http.api_problems import CONTENT_TYPE, ERRORS_MAX, TYPE_PREFIX, WORDS
from relevo.http.api_reading import IDEMPOTENCY_HEADER, PATH_CHARACTERS_MAX
from relevo.http.api_shapes import ID_MAX

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_NAMED = re.compile(r"\{(\w+)(?::[^}]*)?\}")

ALWAYS = ("unauthorized", "forbidden", "invalid", "too_many_requests", "error", "unavailable")
"""Problems that every endpoint may have: a parameter that it does not know is `invalid`."""
OF_WRITES = ("unreadable", "too_slow", "too_large", "not_json", "key_reused")
"""Problems that everything with a body may have."""

_ABOUT = """Conversations, threads and turns of one business, and what people do with them.

Send a key as `Authorization: Bearer rlv_...`; `relevo keys create NAME --scope read` makes one.
What is another business's is answered 404. Instants are UTC, durations seconds. A parameter or a
field that is not known is refused. What is not done is answered `application/problem+json` and has
changed nothing: its `type` is for programs, its `detail` says to people what to do. A key may ask
100 times at once, and then 20 times a second. Whatever may change something takes an
`Idempotency-Key`."""

_HEADERS: dict[int, Schema] = {
    401: {
        "WWW-Authenticate": {
            "description": "`Bearer`, and `invalid_token` if there was a key.",
            "schema": {"type": "string"},
        }
    },
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}


def document(prefix: str, endpoints: Sequence[Endpoint]) -> bytes:
    """Return the OpenAPI 3.1 document of these endpoints, as JSON."""
    names, schemas = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        path = prefix + _NAMED.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, names)
    described = {
        "openapi": "3.1.0",
        "info": {"title": "Relevo", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas | {"Problem": _problem()},
            "responses": {f"{status}": _refusal(status) for status in set(WORDS.values())},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`relevo keys create`"}
            },
        },
        "security": [{"key": []}],
    }
    return orjson.dumps(described, option=orjson.OPT_SORT_KEYS)


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[Any, Schema], Schema]:
    """Return the reference to each model that is used, and what is referred to."""
    taken = {endpoint.body for endpoint in endpoints if endpoint.writes}
    given = {endpoint.answer for endpoint in endpoints}
    wanted = [(model, "validation") for model in taken] + [(m, "serialization") for m in given]
    wanted.sort(key=lambda each: each[0].__name__)
    references, schemas = models_json_schema(wanted, ref_template=_REFERENCE)  # type: ignore[arg-type]
    return {model: schema for (model, _), schema in references.items()}, schemas.get("$defs", {})


def _operation(endpoint: Endpoint, names: dict[Any, Schema]) -> Schema:
    described: Schema = {
        "operationId": endpoint.name,
        "tags": [endpoint.path.split("/")[1]],
        "summary": endpoint.summary,
        "description": f"Needs the scope `{endpoint.scope}`.",
        "parameters": [*_of_path(endpoint.path), *_of_query(endpoint.query)],
        "responses": {
            f"{endpoint.status}": {
                "description": HTTPStatus(endpoint.status).phrase,
                "content": {"application/json": {"schema": names[endpoint.answer]}},
            },
            **{
                f"{status}": {"$ref": f"#/components/responses/{status}"}
                for status in sorted({WORDS[word] for word in _problems(endpoint)})
            },
        },
    }
    if endpoint.writes:
        described["parameters"].append(_idempotency_key())
        described["requestBody"] = {
            "required": any(field.is_required() for field in endpoint.body.model_fields.values()),
            "content": {"application/json": {"schema": names[endpoint.body]}},
        }
    return described


def _problems(endpoint: Endpoint) -> Iterable[str]:
    yield from (*ALWAYS, *endpoint.problems)
    if "{" in endpoint.path or endpoint.query.model_fields:
        yield "not_found"
    if endpoint.writes:
        yield from OF_WRITES


def _of_path(path: str) -> Iterable[Schema]:
    for name in _NAMED.findall(path):
        number: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": ID_MAX}
        text: Schema = {"type": "string", "minLength": 1, "maxLength": PATH_CHARACTERS_MAX}
        schema = number if name == "id" else text
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _of_query(query: type[BaseModel]) -> Iterable[Schema]:
    for name, schema in query.model_json_schema().get("properties", {}).items():
        # Left out is how a query says null.
        hidden = {"title"} | ({"default"} if schema.get("default") is None else set())
        described = {key: value for key, value in schema.items() if key not in hidden}
        kinds = [kind for kind in described.pop("anyOf", []) if kind != {"type": "null"}]
        described |= kinds[0] if kinds else {}
        required = query.model_fields[name].is_required()
        told = described.pop("description", "")
        parameter = {"name": name, "in": "query", "required": required, "schema": described}
        yield parameter | ({"description": told} if told else {})


def _idempotency_key() -> Schema:
    return {
        "name": IDEMPOTENCY_HEADER,
        "in": "header",
        "required": False,
        "description": "Has the request done once, however often it is sent within 24 hours.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    }


def _refusal(status: int) -> Schema:
    words = ", ".join(f"`{word}`" for word, its in WORDS.items() if its == status)
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    return headers | {
        "description": f"{HTTPStatus(status).phrase}: {words}.",
        "content": {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }


def _problem() -> Schema:
    place = {
        "type": "object",
        "required": ["where", "what"],
        "properties": {
            "where": {"type": "string", "description": "Such as `query.limit`, `body.text`."},
            "what": {"type": "string", "description": "What should be there."},
        },
    }
    return {
        "type": "object",
        "description": "Why something is not done (RFC 9457). Nothing was changed.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"enum": [f"{TYPE_PREFIX}{word}" for word in WORDS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what to do."},
            "errors": {
                "type": "array",
                "items": place,
                "description": f"Of `invalid`: where, {ERRORS_MAX} places at most.",
            },
        },
    }
