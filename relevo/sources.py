"""Where the configuration looks up what it only names: environment variables and files.

Nothing that was looked up, and nothing that may be a secret written in the wrong place, is repeated
in an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

SECRET_CHARACTERS_MAX = 4096
TEXT_CHARACTERS_MAX = 100_000  # longer instructions would leave the model no room to listen

_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Sources:
    """The environment, and the folder that relative paths start at."""

    environ: Mapping[str, str]
    folder: Path


def secret(
    table: BaseModel, key: str, info: ValidationInfo, *, characters_min: int = 1
) -> SecretStr:
    """Return the secret that `<key>_env` or `<key>_file` names; empty when neither does."""
    variable, file = getattr(table, f"{key}_env"), getattr(table, f"{key}_file")
    if variable and file:
        raise wrong(f"{key}_file", f"is given beside {key}_env; keep one of them")
    if not variable and not file:
        return SecretStr("")
    named = f"{key}_file" if file else f"{key}_env"
    value = text_file(named, file, info) if file else _variable(named, variable, info)
    value = value.strip()
    if not characters_min <= len(value) <= SECRET_CHARACTERS_MAX:
        bounds = f"{characters_min} to {SECRET_CHARACTERS_MAX} characters"
        raise wrong(named, f"the secret should have {bounds}; it has {len(value)}")
    if not (value.isascii() and value.isprintable()):
        raise wrong(named, "the secret should be one line of plain characters")
    return SecretStr(value)


def text_file(key: str, name: str, info: ValidationInfo) -> str:
    """Return a text file's content; `name` is not repeated, it may be a secret put in its place."""
    try:
        with (sources(info).folder / name).open(encoding="utf-8") as file:
            text = file.read(TEXT_CHARACTERS_MAX + 1)
    except OSError as error:
        raise wrong(key, f"the file cannot be read: {error.strerror}") from None
    except ValueError:  # not UTF-8, or no possible name
        raise wrong(key, "the file is not a text file in UTF-8") from None
    if len(text) > TEXT_CHARACTERS_MAX:
        raise wrong(key, f"the file has over {TEXT_CHARACTERS_MAX} characters")
    return text


def sources(info: ValidationInfo) -> Sources:
    """Return the sources that the check was started with."""
    assert isinstance(info.context, Sources)
    return info.context


def require(kind: str, **given: str | SecretStr) -> None:
    """Refuse a kind whose keys are incomplete; a secret is asked for by the `_env` key's name."""
    for key, value in given.items():
        if not value:
            or_file = f" (or {key.removesuffix('_env')}_file)" if key.endswith("_env") else ""
            raise wrong(key, f"is needed for kind {kind}; set it{or_file}")


def wrong(key: str, text: str) -> PydanticCustomError:
    """Return an error about one key of the table that is being checked."""
    return PydanticCustomError("wrong", "{text}", {"key": key, "text": text})


def _variable(key: str, name: str, info: ValidationInfo) -> str:
    if not _VARIABLE_NAME.fullmatch(name):  # perhaps the secret itself: never repeated
        raise wrong(key, "write the NAME of an environment variable here, in capitals")
    value = sources(info).environ.get(name, "")
    if not value:
        or_file = f"{key.removesuffix('_env')}_file"
        raise wrong(key, f"environment variable {name} is not set; set it, or give {or_file}")
    return value
