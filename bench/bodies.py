"""What the generated load is made of: webhooks as WATI posts them, of made-up customers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson

from tests.fakes.wati import Said

SECRET = "a-made-up-webhook-secret"
PATH = "/webhooks/line"

_FIRST_PHONE = 50370000000
_FIRST_NUMBER = 1 << 28  # far from the numbers that the fake provider gives what it is sent
_TEXTS = (
    "Hola, buenas tardes. ¿Tienen habitación libre para el fin de semana?",
    "¿Cuánto cuesta con desayuno incluido?",
    "Perfecto, gracias",
    "¿A qué hora es el check-in? Llegamos en el vuelo de las 14:35 y somos cuatro.",
)


def phone(customer: int) -> str:
    """Return the number of a customer, as WATI writes it."""
    return str(_FIRST_PHONE + customer)


def customer(phone: str) -> int:
    """Return whose number it is."""
    return int(phone) - _FIRST_PHONE


def text(number: int) -> str:
    """Return what the message with this number says."""
    return _TEXTS[number % len(_TEXTS)]


def request(number: int, customer: int, at: datetime) -> bytes:
    """Return the whole HTTP request that delivers the message with this number."""
    said = Said(_FIRST_NUMBER + number, phone(customer), "customer", text(number), at)
    body = orjson.dumps(said.webhook() | {"senderName": f"Persona {customer}", "avatarUrl": None})
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: webhooks/1.0\r\nAccept: */*\r\n"
        f"X-Relevo-Secret: {SECRET}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def requests(first: int, count: int, customers: int, start: datetime) -> Iterator[bytes]:
    """Yield requests with distinct message ids, over all customers in turn."""
    for number in range(first, first + count):
        at = start.astimezone(UTC) + timedelta(milliseconds=number - first)
        yield request(number, number % customers, at)
