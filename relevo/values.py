"""What values of the configuration may look like: ids, URLs, ports, times, places."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr

from relevo.database_url import postgres_url
from relevo.identity import is_region

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DAY_SECONDS = 86_400


def is_id(value: object) -> bool:
    """Tell whether this can be an id; ids stand in URLs, keys and names of variables."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id(value: str) -> str:
    if not is_id(value):
        raise ValueError("use a-z, 0-9 and hyphens, at most 63, a letter or digit first")
    return value


def _base_url(value: str) -> str:
    if not value:
        return value
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("should begin with https:// and a host")
    if url.username is not None or url.query or url.fragment:
        raise ValueError("should have no user, query or fragment")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise ValueError("should begin with https://; plain http is for this machine only")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, KeyError, ValueError):
        raise ValueError("is not a time zone; write one like America/El_Salvador") from None
    return value


def _region(value: str) -> str:
    if not is_region(value):
        raise ValueError("is not a country code of ISO 3166; write two capitals like SV")
    return value


Id = Annotated[str, AfterValidator(_id)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(postgres_url)]
Region = Annotated[str, AfterValidator(_region)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Port = Annotated[int, Field(ge=0, le=65_535)]
UpToAnHour = Annotated[float, Field(gt=0, le=3600)]
GapSeconds = Annotated[float, Field(gt=0, le=30 * DAY_SECONDS)]
