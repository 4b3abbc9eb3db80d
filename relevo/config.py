"""The configuration: `relevo.toml`, the environment, and the files they name, read once at start.

Rules:

* The environment wins over the file. An unknown key or `RELEVO_` variable stops the start.
* A secret is given by the name of an environment variable or of a file, never by itself. What was
  read is in no repr, dump or error text.
* Without businesses and channels the product is a sandbox with short times, to be looked at.
* Relative paths start at the folder of the file, without one at the working directory.

Everything that cannot be used is a `ConfigError` of one line: the key, what is wrong, what to do.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relevo.errors import ConfigError
from relevo.settings import (
    Assistant,
    Business,
    Channel,
    Config,
    Database,
    Priority,
    Server,
)
from relevo.sources import Sources
from relevo.values import is_id

FILE_NAME = "relevo.toml"
FILE_BYTES_MAX = 1_048_576

_ONCE: dict[str, type[BaseModel]] = {
    "server": Server,
    "database": Database,
    "assistant": Assistant,
}
_REPEATED: dict[str, type[BaseModel]] = {"business": Business, "channel": Channel}
_LATER = ("sessions", "cluster")
_NO_KEYS = ("RELEVO_CONFIG", "RELEVO_NO_SKIPS")  # the second is the test suite's
# how a cluster describes a service called relevo, or relevo-…, to every pod beside it
_KUBERNETES = re.compile(r"RELEVO_(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)")

_SHOULD_BE = {
    "model_type": "a table",
    "dict_type": "a table",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "a text, in quotes",
    "path_type": "a text, in quotes",
}

Document = dict[str, Any]
Place = tuple[int | str, ...]


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of `path`, else RELEVO_CONFIG, else ./relevo.toml if it exists.

    Raises:
        ConfigError: with one line for a person, when anything in it cannot be used.
    """
    said_by = "--config" if path else "RELEVO_CONFIG" if environ.get("RELEVO_CONFIG") else ""
    path = path or _chosen(environ)
    document = {} if path is None else _read(path, said_by)
    if not document.keys() & _REPEATED.keys():
        document |= _sandbox()
    variables = {variable.name: variable for variable in _variables(document)}
    given = [variables[name] for name in sorted(variables.keys() & environ.keys())]
    for variable in given:
        variable.table[variable.key] = _value(variable, environ[variable.name])
    _refuse_unknown(environ, variables)
    folder = Path() if path is None else path.parent
    try:
        return Config.model_validate(document, context=Sources(environ, folder))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(_line(first, document, given)) from None


def effective(config: Config) -> dict[str, Any]:
    """Return what is in force, under the file's own names, with the database's urls masked.

    Other secrets are not in it: only the names of their variables and files are.
    """
    return config.model_dump(mode="json", by_alias=True)


def _chosen(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("RELEVO_CONFIG"):
        return Path(named)
    return Path(FILE_NAME) if Path(FILE_NAME).exists() else None


def _read(path: Path, said_by: str) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        text = content.decode()
        document = tomllib.loads(text)
    except OSError as error:
        advice = f"give another file to {said_by}" if said_by else "make it a readable file"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {advice}") from None
    except ValueError as error:  # also what is no UTF-8
        raise ConfigError(f"{path}: is not TOML: {_one_line(str(error))}; correct it") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes; shorten it")
    return document


def _sandbox() -> Document:
    """Return the product without configuration; short times, so that a person can watch a gap."""
    return {
        "business": [
            {"id": "demo", "quiet_seconds": 2, "gather_max_seconds": 20, "gap_seconds": 20},
        ],
        "channel": [{"id": "sandbox", "business": "demo", "kind": "sandbox"}],
    }


@dataclass(frozen=True, slots=True)
class _Variable:
    """An environment variable that is a key, and the table of the document it writes to."""

    name: str
    place: Place
    key: str
    table: Document


def _variables(document: Document) -> Iterator[_Variable]:
    """Yield every variable there can be; absent tables are added to the document, empty."""
    for name, table in _ONCE.items():
        entry = document.setdefault(name, {})
        yield from _of_table(f"RELEVO_{name}", (name,), table, entry)
    for name, table in _REPEATED.items():
        entries = document.get(name)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict) and is_id(entry.get("id")):
                yield from _of_table(f"RELEVO_{name}_{entry['id']}", (name, index), table, entry)


def _of_table(
    prefix: str, place: Place, table: type[BaseModel], entry: object
) -> Iterator[_Variable]:
    if isinstance(entry, dict):
        for key in table.model_fields.keys() - {"id"}:
            name = re.sub(r"[^A-Z0-9]", "_", f"{prefix}_{key}".upper())
            yield _Variable(name, (*place, key), key, entry)


def _value(variable: _Variable, text: str) -> object:
    """Return the text itself, but for `priority`, which is written as TOML's inline table."""
    if variable.key != "priority":
        return text
    try:
        return tomllib.loads(f"priority = {text}")["priority"]
    except tomllib.TOMLDecodeError:
        example = "{ vip = { gap_seconds = 60 } }"
        raise ConfigError(f"{variable.name}: is not TOML; write it like {example}") from None


def _refuse_unknown(environ: Mapping[str, str], variables: Mapping[str, _Variable]) -> None:
    """Refuse `RELEVO_` variables that are no keys, unless a key names them as a secret's place."""
    values = [(known.key, known.table.get(known.key)) for known in variables.values()]
    secrets = {value for key, value in values if key.endswith("_env")}
    known = {*variables, *_NO_KEYS, *secrets}
    for name in sorted(environ.keys() - known):
        in_pod = "KUBERNETES_SERVICE_HOST" in environ and _KUBERNETES.fullmatch(name)
        if name.startswith("RELEVO_") and not in_pod:
            raise ConfigError(f"{name}: unknown setting; {_advice(name, variables)}")


def _line(error: ErrorDetails, document: Document, given: list[_Variable]) -> str:
    """Return one line: the key (and the variable it came from), what is wrong, what to do."""
    context = error.get("ctx", {})
    place: Place = (*error["loc"], context["key"]) if "key" in context else error["loc"]
    sources = [
        variable.name for variable in given if place[: len(variable.place)] == variable.place
    ]
    origin = f" ({sources[0]})" if sources else ""
    return _one_line(f"{_title(place, document)}{origin}: {_said(error, place)}").lstrip(": ")


def _title(place: Place, document: Document) -> str:
    """Return `server.port`, or `channel "hotel": token_env` for a table that has an id."""
    if len(place) < 2 or place[0] not in _REPEATED:  # noqa: PLR2004  (a table and its index)
        return ".".join(map(str, place))
    table, index, *keys = place
    entry = document[str(table)][index]
    known = isinstance(entry, dict) and is_id(entry.get("id"))
    head = f'{table} "{entry["id"]}"' if known else f"{table} number {int(index) + 1}"
    return f"{head}: {'.'.join(map(str, keys))}" if keys else head


def _said(error: ErrorDetails, place: Place) -> str:
    """Return what is wrong and what to do; never what was written there."""
    match error["type"]:
        case "extra_forbidden" if place[0] in _LATER:
            return f"this version has no {place[0]} yet; remove the table"
        case "extra_forbidden":
            return f"unknown key; {_advice(str(place[-1]), _keys(place))}"
        case "missing" | "too_short" if len(place) == 1:
            return f"is missing; add a [[{place[0]}]] table"
        case "missing":
            return "is missing; add it"
        case "tuple_type":
            return f"should be a repeated table; write [[{place[0]}]]"
        case kind if kind in _SHOULD_BE:
            return f"should be {_SHOULD_BE[kind]}"
        case _:
            return error["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _keys(place: Place) -> Iterable[str]:
    """Return the keys that the table of this place can have."""
    table = str(place[0])
    if len(place) == 1:
        return (*_ONCE, *_REPEATED)
    if "priority" in place:
        return Priority.model_fields
    return (_ONCE | _REPEATED)[table].model_fields


def _advice(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "remove it"


def _one_line(text: str) -> str:
    return " ".join(text.split())
