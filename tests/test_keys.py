"""What a key of the API reads like, and what is kept of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relevo.keys import CHANCE_BYTES, hash_of, id_of, is_key, made_of

chances = some.binary(min_size=CHANCE_BYTES, max_size=CHANCE_BYTES)


@given(chances, chances)
def test_a_key_names_its_id_and_is_recognised_by_its_hash(chance: bytes, other: bytes) -> None:
    key_id, text = made_of(chance)
    assert id_of(text) == key_id
    assert is_key(text, hash_of(text))
    assert is_key(made_of(other)[1], hash_of(text)) == (chance == other)
    assert len(text) == len("rlv_") + 13 + 1 + 43


def test_every_bit_of_chance_is_in_the_key() -> None:
    whole = made_of(bytes(CHANCE_BYTES))[1]
    ones = {made_of((1 << bit).to_bytes(CHANCE_BYTES))[1] for bit in range(CHANCE_BYTES * 8)}
    assert len(ones | {whole}) == CHANCE_BYTES * 8 + 1
    assert made_of(b"\xff" * CHANCE_BYTES)[1].replace("_", "").isalnum()


@pytest.mark.parametrize(
    "text",
    [
        *("", "rlv", "rlv__", "rlv_0000000000000_", "sk_live_0000000000000_" + "0" * 43),
        *("rlv_000000000000_" + "0" * 43, "rlv_0000000000000_" + "0" * 42 + "é"),
        *("rlv_0000000000000_" + "0" * 43 + "\n", " rlv_0000000000000_" + "0" * 43),
    ],
)
def test_what_is_no_key_names_no_id(text: str) -> None:
    assert id_of(text) is None
