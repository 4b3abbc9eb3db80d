"""A phone is found by its beginning, however that is written. Every number here is made up."""

import pytest

from relevo.identity import beginnings, phone

WHOLE = {"IL": "+972501234567", "SV": "+50370000246", "US": "+12125550123", "": "+50370000246"}


@pytest.mark.parametrize(
    ("text", "region"),
    [
        *(("050", "IL"), ("050-12", "IL"), ("50 1", "IL"), ("97250", "IL"), ("+972 50", "IL")),
        *(
            ("0501234567", "IL"),
            ("+972 50-123-4567", "IL"),
            ("+972", "IL"),
            ("00972501234567", "IL"),
        ),
        *(("7000", "SV"), ("503 7", "SV"), ("(503) 7000", "SV"), ("(212) 55", "US"), ("503", "")),
    ],
)
def test_a_beginning_in_any_spelling_is_one_of_the_number(text: str, region: str) -> None:
    found = beginnings(text, region)
    assert [each for each in found if WHOLE[region].startswith(each)]
    digits = "".join(character for character in text if character.isdigit())
    assert found[0] == f"+{digits}"
    assert len(found) <= 3


def test_a_whole_number_begins_with_itself() -> None:
    for region, whole in WHOLE.items():
        assert beginnings(whole, region) == (whole,) == (phone(whole, region),)


@pytest.mark.parametrize("text", ["", "L-2077", "lid:5", "+", "5" * 41])
def test_what_is_no_phone_has_no_beginning(text: str) -> None:
    assert beginnings(text, "SV") == ()
