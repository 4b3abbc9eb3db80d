"""Twilio's signature over a webhook: HMAC-SHA1 with the account's token. Pure.

Source: the vendor's own validator, `request_validator.py`. It signs the URL that Twilio called, its
query included, and after it every parameter of the form, sorted, also those that we do not know.
Whether a port that goes without saying is part of the URL is not sure, so both ways are tried.
A body that is no form is not signed itself: a hash of it is in the query, which is.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from relevo.http.secrets import secret_matches
from relevo.http.twilio_fields import form_of

HEADER = "x-twilio-signature"

_DEFAULT_PORTS = {"https": 443, "http": 80}


def is_signed(token: str, urls: Iterator[str], body: bytes, body_hash: str, given: str) -> bool:
    """Tell whether `given` is the signature under any of the URLs; without a token, it is not."""
    if not token or not given:
        return False
    if body_hash:
        if not secret_matches(hashlib.sha256(body).hexdigest(), body_hash.lower()):
            return False
        signed = b""
    else:
        form = form_of(body)
        if form is None:
            return False
        signed = b"".join(
            _bytes(name) + _bytes(value)
            for name in sorted(form)
            for value in sorted(set(form[name]))
        )
    return any(secret_matches(signature(token, url, signed), given) for url in urls)


def signature(token: str, url: str, signed: bytes) -> str:
    """Return what Twilio writes into its header."""
    digest = hmac.digest(token.encode(), _bytes(url) + signed, "sha1")
    return b64encode(digest).decode()


def urls_of(public_url: str, raw_query: str) -> Iterator[str]:
    """Return what the address may have looked like to Twilio: with and without its port."""
    url = urlsplit(public_url)
    host, _, port = url.netloc.rpartition(":") if url.port else (url.netloc, "", "")
    default = _DEFAULT_PORTS.get(url.scheme, 0)
    netlocs = (url.netloc, f"{host}:{port or default}", host)
    for netloc in dict.fromkeys(netlocs):
        yield urlunsplit((url.scheme, netloc, url.path, raw_query, ""))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
