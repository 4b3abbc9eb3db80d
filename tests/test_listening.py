"""An address that cannot be listened on is told by the key to change, and by nothing twice."""

import socket

import pytest

from relevo.errors import ConfigError
from relevo.http.server import listen


def refusal(host: str, port: int) -> str:
    with pytest.raises(ConfigError) as caught:
        listen(host, port)
    return str(caught.value)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal("127.0.0.1", port)
    assert line == (
        f"server.port: cannot listen on 127.0.0.1:{port} (Address already in use); "
        "stop what listens there, or choose another port"
    )


@pytest.mark.parametrize("host", ["203.0.113.9", "::zz", "no such host", "x" * 70, "a..b", "\xdf."])
def test_a_host_that_is_not_ours(host: str) -> None:
    line = refusal(host, 0)
    assert line.startswith(f"server.host: cannot listen on {host}:0 (")
    assert "such as 127.0.0.1" in line
