"""Every phone number here is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.identity import canonical_key, is_region, normalised, phone
from relevo.messages import Address

ONE_PERSON = ["0501234567", "+972 50-123-4567", "972501234567", "+972501234567", "050.123.4567"]


@pytest.mark.parametrize("spelling", ONE_PERSON)
def test_one_person_has_one_phone_however_it_is_written(spelling: str) -> None:
    assert phone(spelling, "IL") == "+972501234567"


@pytest.mark.parametrize(
    ("value", "region", "expected"),
    [
        ("50370000246", "SV", "+50370000246"),
        ("70000246", "SV", "+50370000246"),
        ("50370000246", "US", "+50370000246"),
        ("972501234567", "US", "+972501234567"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("00972501234567", "IL", "+972501234567"),
        ("89161234567", "RU", "+79161234567"),
    ],
)
def test_digits_without_a_plus_are_read_as_the_number_that_exists(
    value: str, region: str, expected: str
) -> None:
    assert phone(value, region) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "+",
        "12",
        "abc",
        "1-800-FLOWERS",
        "120363012345678901@g.us",
        "US.13491208655302741918",
        "999999999999999999999",
        "+1234567890123",
        "5" * 41,
    ],
)
def test_what_is_no_phone_number_is_none(value: str) -> None:
    assert phone(value, "US") is None


def test_a_written_country_code_wins_over_the_region() -> None:
    assert phone("+50370000246", "US") == phone("+50370000246", "SV") == "+50370000246"


def test_of_two_good_readings_the_international_one_wins() -> None:
    assert phone("6469378778", "US") == "+6469378778"


def test_of_two_doubtful_readings_the_international_one_wins() -> None:
    assert phone("38258467886", "IL") == "+38258467886"


def test_a_number_that_does_not_read_back_is_no_phone() -> None:
    assert phone("0005273046391", "AE") is None


def test_the_key_of_a_person_is_the_phone() -> None:
    keys = {canonical_key("hotel", (Address("phone", value),), "IL") for value in ONE_PERSON}
    assert keys == {"phone:hotel:+972501234567"}


def test_a_phone_is_the_key_even_when_another_address_stands_first() -> None:
    addresses = (Address("bsuid", "IL.134"), Address("phone", "0501234567"))
    assert canonical_key("hotel", addresses, "IL") == "phone:hotel:+972501234567"


def test_without_a_phone_the_first_address_is_the_key() -> None:
    addresses = (Address("bsuid", "IL.134"), Address("user", "u-1"))
    assert canonical_key("hotel", addresses, "IL") == "bsuid:hotel:IL.134"


def test_an_unreadable_phone_still_has_a_key_of_its_own() -> None:
    assert canonical_key("hotel", (Address("phone", "+52 1 55"),), "IL") == "phone:hotel:+52155"


def test_two_businesses_never_share_a_key() -> None:
    addresses = (Address("phone", "0501234567"),)
    assert canonical_key("hotel", addresses, "IL") != canonical_key("shop", addresses, "IL")


def test_a_normalised_phone_has_its_plus() -> None:
    assert normalised(Address("phone", "0501234567"), "IL") == Address("phone", "+972501234567")


def test_another_kind_of_address_stays_as_it_is() -> None:
    assert normalised(Address("lid", "0501234567"), "IL") == Address("lid", "0501234567")


def test_an_address_that_is_no_phone_at_all_stays_as_it_is() -> None:
    assert normalised(Address("phone", "x+1@lid"), "IL") == Address("phone", "x+1@lid")


def test_a_region_is_a_country_with_phones() -> None:
    assert is_region("SV")
    assert not is_region("sv")
    assert not is_region("XX")
    assert not is_region("001")


@given(
    st.text(alphabet="+0123456789 -().x٣", max_size=45), st.sampled_from(["IL", "US", "SV", "AE"])
)
def test_normalising_twice_changes_nothing(value: str, region: str) -> None:
    once = normalised(Address("phone", value), region)
    assert normalised(once, region) == once


@given(st.from_regex(r"\+?[0-9]{4,16}", fullmatch=True), st.sampled_from(["IL", "US", "AE"]))
def test_a_phone_reads_back_as_itself_everywhere(value: str, region: str) -> None:
    good = phone(value, region)
    assert good is None or phone(good, "GB") == good
