"""What can be the url of a database; nothing of a url is ever in an error, it may be a password."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

PORT_MAX = 65_535

_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(:(?P<port>[0-9]{0,5}))?")
_PORT = re.compile(r"[0-9]{1,5}")


def postgres_url(value: SecretStr) -> SecretStr:
    """Return the url, which may be empty; ValueError when it is none."""
    url = value.get_secret_value()
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("should begin with postgresql://, or be empty")
    if url and not _is_read_as_meant(url):
        raise ValueError("is not a URL (are special characters of the password percent-encoded?)")
    return value


def _is_read_as_meant(url: str) -> bool:
    """Tell whether every part of the url is where it belongs.

    A `/`, `#` or `?` in a password ends the part that it stands in, and what is left of it would be
    taken for a port, a database or an option, and shown in errors.
    """
    try:
        parts = urlsplit(url)
        query = parts.query
        options = (
            dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
        )
    except ValueError:
        return False
    login, _, hosts = parts.netloc.rpartition("@")
    found = [_HOST.fullmatch(host) for host in hosts.split(",")]
    ports = [host["port"] for host in found if host] + options.get("port", "").split(",")
    is_cut = not login and "user" not in options and "@" in url
    return (
        all(found)
        and all(map(_is_port, filter(None, ports)))
        and not (is_cut or "#" in url or "@" in parts.path or "\0" in unquote(url))
    )


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and 0 < int(text) <= PORT_MAX
