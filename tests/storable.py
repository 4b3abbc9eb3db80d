"""What every reading of a webhook must hold, so that it is stored, or kept raw, never refused."""

from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC

from relevo.messages import (
    AddressChange,
    Arrival,
    Edit,
    InboundMessage,
    Revocation,
    StatusUpdate,
)


def assert_storable(found: tuple[Arrival, ...]) -> None:
    """Something was read, what it is about is named, and a database can hold all of it."""
    assert found
    for arrival in found:
        if isinstance(arrival, InboundMessage | StatusUpdate):
            assert arrival.keys
            assert all(arrival.keys)
        if isinstance(arrival, InboundMessage):
            assert arrival.addresses
            assert all(address.value for address in arrival.addresses)
            assert arrival.event_at is None or arrival.event_at.tzinfo is UTC
        if isinstance(arrival, Edit | Revocation):
            assert arrival.target
            assert arrival.event_at is None or arrival.event_at.tzinfo is UTC
        if isinstance(arrival, AddressChange):
            assert arrival.old
            assert arrival.new
        if isinstance(arrival, Edit | Revocation):
            assert arrival.target
        if isinstance(arrival, AddressChange):
            assert arrival.old
            assert arrival.new
            assert all(address.value for address in (*arrival.old, *arrival.new))
        assert_texts(astuple(arrival))


def assert_texts(value: object) -> None:
    """Every text in it can be stored and sent."""
    for text in texts_in(value):
        assert "\0" not in text
        text.encode()  # a lone surrogate refuses


def texts_in(value: object) -> Iterator[str]:
    """Yield the texts within nested tuples."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from texts_in(part)
