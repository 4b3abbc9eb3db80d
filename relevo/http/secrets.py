"""Compares shared secrets without telling, by the time it takes, how much of one was right."""

import hmac


def secret_matches(expected: str, given: str | None) -> bool:
    """Tell whether the given secret is the expected one; without an expected one, nothing is."""
    if not expected or given is None:
        return False
    # Header bytes that are not UTF-8 arrive as surrogates: they must compare, not crash.
    return hmac.compare_digest(
        expected.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass")
    )
