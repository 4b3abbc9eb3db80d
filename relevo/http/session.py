"""The one outgoing session of a process; adapters share it and never close it."""

import aiohttp

CONNECTIONS_MAX = 200
"""To all providers, and to ourselves."""

Session = aiohttp.ClientSession


def open_session() -> Session:
    """Open it; whoever opened it closes it.

    It keeps no cookies: tenants share it. No proxy and no .netrc of the environment is heeded: a
    customer's words and our tokens go to the configured address, and nowhere else.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
