"""Compares shared secrets without telling, by the time it takes, how much of one was right."""

import hmac

from relevo.http.channels import WebhookRequest


def carries_secret(expected: str, request: WebhookRequest) -> bool:
    """Tell whether a webhook carries our secret, as a header or in the URL we gave its provider."""
    by_header = secret_matches(expected, request.headers.get("x-relevo-secret"))
    return secret_matches(expected, request.query.get("secret")) or by_header


def secret_matches(expected: str, given: str | None) -> bool:
    """Tell whether the given secret is the expected one; without an expected one, nothing is."""
    if not expected or given is None:
        return False
    # Header bytes that are not UTF-8 arrive as surrogates: they must compare, not crash.
    return hmac.compare_digest(
        expected.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass")
    )
