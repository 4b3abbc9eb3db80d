"""Every phone number here is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.identity import (
    as_written,
    better_key,
    canonical_key,
    digit_spellings,
    is_region,
    normalised,
    phone,
    rank,
    scope,
)
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


@pytest.mark.parametrize(
    ("spellings", "region", "expected"),
    [
        # Brazil: WhatsApp keeps older numbers without their ninth digit.
        (
            ["553187654321", "5531987654321", "31 8765-4321", "(31) 98765-4321"],
            "BR",
            "5531987654321",
        ),
        # Mexico: WhatsApp writes a 1 after the country code, nobody dials it any more.
        (
            ["5215512345678", "525512345678", "55 1234 5678", "+52 1 55 1234 5678"],
            "MX",
            "525512345678",
        ),
        # Argentina: a 9 after the country code, a 15 at home, neither at some gateways.
        (["5491141234567", "541141234567", "011 15-4123-4567"], "AR", "5491141234567"),
    ],
)
def test_a_mobile_number_is_one_in_whatsapps_spelling_and_its_countrys(
    spellings: list[str], region: str, expected: str
) -> None:
    assert {phone(spelling, region) for spelling in spellings} == {f"+{expected}"}
    assert {phone(spelling, "SV") for spelling in spellings[:2]} == {f"+{expected}"}


@pytest.mark.parametrize("landline", ["+551131234567", "+50322001234", "+5521", "+5259"])
def test_a_landline_stays_what_it_is(landline: str) -> None:
    assert phone(landline, "SV") in {landline, None}


@pytest.mark.parametrize(
    ("told", "region", "written_to"),
    [
        ("553187654321", "BR", "+553187654321"),
        ("5215512345678", "SV", "+5215512345678"),
        ("541141234567", "AR", "+541141234567"),
        ("31 8765-4321", "BR", "+5531987654321"),
        ("(55) 98765-4321", "BR", "+5555987654321"),
        ("0501234567", "IL", "+972501234567"),
        ("not a phone", "IL", "not a phone"),
    ],
)
def test_a_customer_is_written_to_as_the_provider_spells_him(
    told: str, region: str, written_to: str
) -> None:
    assert as_written(Address("phone", told), region) == Address("phone", written_to)


def test_what_is_no_phone_is_written_as_it_stands() -> None:
    assert as_written(Address("bsuid", "IL.134"), "IL") == Address("bsuid", "IL.134")


LEAD = Address("lead", "L-7")
NUMBER = Address("phone", "+972501234567")


def test_a_lead_is_the_key_before_any_phone() -> None:
    assert canonical_key("hotel", (Address("lid", "1"), NUMBER, LEAD), "IL") == "lead:hotel:L-7"


@pytest.mark.parametrize(
    ("key", "addresses", "better"),
    [
        ("lid:hotel:1", (Address("lid", "1"), NUMBER), "phone:hotel:+972501234567"),
        ("phone:hotel:+972501234567", (NUMBER, LEAD), "lead:hotel:L-7"),
        ("phone:hotel:+972507654321", (NUMBER, Address("lid", "1")), "phone:hotel:+972507654321"),
        ("lead:hotel:L-8", (LEAD, NUMBER), "lead:hotel:L-8"),
        ("lid:hotel:1", (), "lid:hotel:1"),
    ],
)
def test_a_key_changes_only_for_a_more_lasting_one(
    key: str, addresses: tuple[Address, ...], better: str
) -> None:
    assert better_key("hotel", key, addresses, "IL") == better


NEW_NUMBER = Address("phone", "+972507654321")


@pytest.mark.parametrize(
    ("key", "changed", "after"),
    [
        ("phone:hotel:+972501234567", (NUMBER, NEW_NUMBER), "phone:hotel:+972507654321"),
        ("phone:hotel:+972509999999", (NUMBER, NEW_NUMBER), "phone:hotel:+972509999999"),
        ("lead:hotel:L-7", (NUMBER, NEW_NUMBER), "lead:hotel:L-7"),
        ("phone:hotel:+972501234567", (NUMBER, LEAD), "phone:hotel:+972501234567"),
    ],
)
def test_a_person_who_changes_his_number_is_named_by_the_new_one_unless_a_lead_names_him(
    key: str, changed: tuple[Address, Address], after: str
) -> None:
    assert better_key("hotel", key, (NUMBER, NEW_NUMBER), "IL", changed) == after


def test_the_key_of_a_person_is_the_phone() -> None:
    keys = {canonical_key("hotel", (Address("phone", value),), "IL") for value in ONE_PERSON}
    assert keys == {"phone:hotel:+972501234567"}


def test_a_phone_is_the_key_even_when_another_address_stands_first() -> None:
    addresses = (Address("bsuid", "IL.134"), Address("phone", "0501234567"))
    assert canonical_key("hotel", addresses, "IL") == "phone:hotel:+972501234567"


def test_without_a_phone_the_first_address_is_the_key() -> None:
    addresses = (Address("bsuid", "IL.134"), Address("user", "u-1"))
    assert canonical_key("hotel", addresses, "IL") == "bsuid:hotel:IL.134"
    assert canonical_key("hotel", addresses, "IL", "meta") == "bsuid:hotel:meta:IL.134"


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


def test_phones_and_leads_mean_the_same_on_every_line_and_bsuids_in_its_portfolio() -> None:
    kinds = ("lead", "phone", "bsuid", "lid", "subscriber")
    assert [scope(kind, "line", "meta") for kind in kinds] == ["", "", "meta", "line", "line"]
    assert [rank(f"{kind}:hotel:1") for kind in ("lead", "phone", "lid", "user")] == [0, 1, 2, 2]


def test_a_phone_is_looked_for_in_all_the_digits_it_may_be_written_in() -> None:
    assert digit_spellings("050-123-4567", "IL") == {
        *("972501234567", "00972501234567", "501234567", "0501234567")
    }
    assert "5215512345678" in digit_spellings("+52 1 55 1234 5678", "SV")
    assert digit_spellings("a lead", "IL") == frozenset()
