"""Writes a send for Meta's WhatsApp API, and reads its answer: taken, or may it be tried again?

Pure. Sources: Meta's reference of Cloud API messages and errors; 360dialog's, which passes both on.

* A 200 means taken, not delivered. Throttling is a 400: the code decides, and the HTTP status only
  where no code is known.
* There is no idempotent send. Our correlation id comes back in every status, which is how a send
  whose answer was lost is known again.
"""

from collections.abc import Iterator

import orjson

from relevo.http.cloud_api_fields import Thing, objects_of
from relevo.http.fields import count_of, id_of, read_object, scrubbed, text_of
from relevo.http.meta_errors import PROPER_FROM, FailureKind, by_code, by_text
from relevo.http.send_failures import TAKEN, UNREADABLE, by_status
from relevo.messages import Address, correlation_key
from relevo.outcomes import Accepted


def message_for(address: Address, text: str, correlation_id: str) -> bytes | None:
    """Return the body of a send; None where the address is none of WhatsApp's.

    A BSUID in `to` was seen to be accepted and dropped; its own field is `recipient`.
    """
    match address.kind:
        case "phone":
            target = {"to": address.value.removeprefix("+")}
        case "bsuid":
            target = {"recipient": scrubbed(address.value)}
        case _:
            return None
    return orjson.dumps(
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            **target,
            "type": "text",
            "text": {"body": scrubbed(text), "preview_url": False},
            "biz_opaque_callback_data": correlation_id,
        }
    )


def send_answer(status: int, body: bytes, correlation_id: str) -> Accepted | FailureKind:
    """Judge a send by its answer: what it says was not taken was not, what it leaves open is."""
    answer = read_object(body) or {}
    keys = [
        key for message in objects_of(answer.get("messages")) if (key := id_of(message.get("id")))
    ]
    errors = tuple(_errors(answer))
    if status in TAKEN and keys:
        accepted = Accepted((*dict.fromkeys(keys), correlation_key(correlation_id)))
        return UNREADABLE if errors else accepted
    if kind := _coded(errors):
        return kind
    if status in TAKEN:
        return UNREADABLE
    return by_status(status)


def _errors(answer: Thing) -> Iterator[Thing]:
    """Return Meta's one error, or those that 360dialog lists."""
    if isinstance(error := answer.get("error"), dict):
        yield error
    yield from objects_of(answer.get("errors"))


def _coded(errors: tuple[Thing, ...]) -> FailureKind | None:
    """Return what a code of Meta's means; None: there is none that we know."""
    for error in errors:
        # Small numbers are HTTP's as well: they are Meta's where the error bears its marks.
        is_metas = "fbtrace_id" in error or error.get("type") == "OAuthException"
        code = error.get("code")
        if (is_metas or count_of(code) >= PROPER_FROM) and (kind := by_code(code)):
            return kind
    said = (text_of(error.get(name)) for error in errors for name in ("message", "title"))
    return next((kind for text in said if (kind := by_text(text))), None)
