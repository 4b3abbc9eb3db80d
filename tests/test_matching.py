"""One message, one row (rule 5)."""

from dataclasses import replace

import pytest

from relevo.matching import absorb, find_send, match_history, same_text
from relevo.messages import Address, Author, HistoryItem, Message, Source, Untold, correlation_key
from relevo.turns import Part
from tests.script import at, item


def row(
    row_id: int,
    time: str,
    author: Author = Author.CUSTOMER,
    body: str = "ok",
    *keys: str,
    source: Source = Source.WEBHOOK,
    untold: Untold | None = None,
) -> Message:
    return Message(
        id=row_id,
        author=author,
        kind="text",
        body=body,
        event_at=at(time),
        received_at=at(time),
        source=source,
        channel_id="line",
        address=Address("phone", "+50370000001"),
        keys=keys,
        untold=untold,
    )


PART = Part(
    message_id=9,
    turn_id=1,
    number=1,
    text="Hola!",
    correlation_id="relevo-1",
    created_at=at("10:00:00"),
    first_started_at=at("10:00:00"),
)


def test_any_id_proves_a_message_whatever_else_differs() -> None:
    found = match_history(
        (item("11:00:00", Author.AGENT, "edited", "h1", "w1"),),
        (row(1, "10:00:00", Author.CUSTOMER, "ok", "w1"),),
    )
    assert (found.new, found.known, found.by_content) == ((), 1, 0)
    assert found.learned == ((1, "h1"),)


def test_without_a_common_id_side_content_and_moment_decide() -> None:
    found = match_history((item("10:00:02", Author.CUSTOMER, " ok ", "h1"),), (row(1, "10:00:00"),))
    assert (found.new, found.known, found.by_content) == ((), 1, 1)
    assert found.learned == ((1, "h1"),)


@pytest.mark.parametrize(
    "other",
    [
        item("10:00:03", Author.CUSTOMER, "ok"),
        item("09:59:57", Author.CUSTOMER, "ok"),
        item("10:00:00", Author.AGENT, "ok"),
        item("10:00:00", Author.CUSTOMER, "OK"),
        item("", Author.CUSTOMER, "ok"),
        replace(item("10:00:00", Author.CUSTOMER, "ok"), kind="image"),
    ],
)
def test_what_differs_in_any_of_these_is_another_message(other: HistoryItem) -> None:
    assert match_history((other,), (row(1, "10:00:00"),)).new == (other,)


def test_a_row_without_a_time_of_its_own_matches_by_id_only() -> None:
    untimed = replace(row(1, "10:00:00"), timed=False)
    assert match_history((item("10:00:00", Author.CUSTOMER, "ok"),), (untimed,)).new


def test_each_item_proves_one_row_and_each_row_one_item() -> None:
    rows = (row(1, "10:00:00"), row(2, "10:00:01"))
    items = tuple(item(f"10:00:0{n}", Author.CUSTOMER, "ok", f"h{n}") for n in range(3))
    found = match_history(items, rows)
    assert found.learned == ((1, "h0"), (2, "h1"))
    assert [i.keys for i in found.new] == [("h2",)]


def test_a_row_that_an_id_has_proven_is_not_proven_again_by_content() -> None:
    rows = (row(1, "10:00:00", Author.CUSTOMER, "ok", "w1"),)
    items = (
        item("10:00:01", Author.CUSTOMER, "ok", "w2"),
        item("10:00:00", Author.CUSTOMER, "ok", "w1"),
    )
    assert [i.keys for i in match_history(items, rows).new] == [("w2",)]


@pytest.mark.parametrize(
    ("time", "ours"),
    [("10:01:59", True), ("09:58:01", True), ("10:02:01", False), ("09:57:59", False)],
)
def test_our_own_sends_are_dated_by_another_clock_and_when_the_provider_took_them(
    time: str, *, ours: bool
) -> None:
    said = row(1, "10:00:00", Author.ASSISTANT, "Hola!", source=Source.TURN)
    found = match_history((item(time, Author.AGENT, "Hola!"),), (said,))
    assert bool(found.new) is not ours


def test_a_part_in_doubt_is_proven_by_its_correlation_first() -> None:
    other = item("10:00:01", Author.AGENT, "Hola!", "s0")
    mine = item("", Author.AGENT, "?", correlation_key("relevo-1"))
    assert find_send(PART, (other, mine), ()) == mine


@pytest.mark.parametrize(
    ("candidate", "proves"),
    [
        (item("09:59:58", Author.UNKNOWN, "Hola! ", "s1"), True),
        (item("10:30:00", Author.AGENT, "Hola!"), True),
        (item("09:57:59", Author.AGENT, "Hola!"), False),
        (item("10:00:00", Author.CUSTOMER, "Hola!"), False),
        (item("10:00:00", Author.AGENT, "Hola"), False),
        (item("", Author.AGENT, "Hola!"), False),
        (item("10:00:00", Author.AGENT, "Hola!", "taken"), False),
    ],
)
def test_a_part_in_doubt_is_proven_by_content_that_proves_nothing_else(
    candidate: HistoryItem, *, proves: bool
) -> None:
    rows = (
        row(9, "10:00:00", Author.ASSISTANT, "Hola!", "local:relevo-1"),
        row(8, "10:00:30", Author.AGENT, "Hola!", "taken"),
    )
    assert (find_send(PART, (candidate,), rows) is not None) is proves


def test_a_webhook_takes_the_place_of_a_row_that_only_waits_to_be_told() -> None:
    came = row(2, "10:00:01", untold=Untold.UNREAD)
    known = row(1, "10:00:00", source=Source.HISTORY, untold=Untold.CONTEXT)
    (pair,) = absorb((came,), (known,), frozenset())
    assert (pair.duplicate, pair.kept, pair.by_webhook) == (1, 2, False)


@pytest.mark.parametrize(
    ("author", "untold", "taken"),
    [
        (Author.CUSTOMER, None, frozenset[int]()),
        (Author.CUSTOMER, Untold.FAILED, frozenset[int]()),
        (Author.CUSTOMER, Untold.CONTEXT, frozenset({1})),
        (Author.AGENT, Untold.CONTEXT, frozenset[int]()),
    ],
)
def test_a_webhook_for_a_row_told_joined_or_not_the_customers_adds_nothing(
    author: Author, untold: Untold | None, taken: frozenset[int]
) -> None:
    came = row(2, "10:00:01", author, untold=Untold.UNREAD)
    known = row(1, "10:00:00", author, source=Source.HISTORY, untold=untold)
    (pair,) = absorb((came,), (known,), taken)
    assert (pair.duplicate, pair.kept, pair.by_webhook) == (2, 1, True)


@pytest.mark.parametrize("author", [Author.CUSTOMER, Author.AGENT])
def test_an_imported_row_always_gives_way_to_a_webhook(author: Author) -> None:
    came = row(2, "10:00:01", author, untold=Untold.UNREAD)
    known = row(1, "10:00:00", author, source=Source.IMPORT)
    (pair,) = absorb((came,), (known,), frozenset())
    assert (pair.duplicate, pair.kept, pair.by_webhook) == (1, 2, False)


def test_twins_take_one_witness_each_and_a_turns_own_messages_none() -> None:
    came = tuple(row(n, "10:00:00", untold=Untold.UNREAD) for n in (3, 4, 5))
    seen = tuple(row(n, "10:00:00", source=Source.HISTORY) for n in (1, 2))
    pairs = absorb(came, seen, frozenset({3}))
    assert [(p.duplicate, p.kept) for p in pairs] == [(4, 1), (5, 2)]
    history = replace(came[0], source=Source.HISTORY)
    assert absorb((history,), (history, *seen), frozenset()) == ()
    assert absorb((came[0],), (came[0],), frozenset()) == ()


def test_outer_white_space_is_the_providers_to_change() -> None:
    assert same_text(" Hola\n", "Hola")
    assert not same_text("Hola a", "Hola  a")


def test_two_webhooks_with_the_same_words_are_two_messages() -> None:
    came = row(2, "10:00:01", untold=Untold.UNREAD)
    earlier = row(1, "10:00:00", untold=Untold.CONTEXT)
    assert absorb((came,), (earlier,), frozenset()) == ()


def test_an_item_without_ids_proves_one_part_only() -> None:
    told = row(8, "10:00:00", Author.ASSISTANT, "Hola!", "local:relevo-0", source=Source.TURN)
    (found,) = [item("10:00:01", Author.AGENT, "Hola!")]
    assert find_send(PART, (found,), (told, row(9, "10:00:00", Author.ASSISTANT, "Hola!"))) is None


def test_the_nearest_of_several_rows_is_the_message() -> None:
    rows = (row(1, "10:00:00"), row(2, "10:00:02"))
    found = match_history((item("10:00:02", Author.CUSTOMER, "ok", "h1"),), rows)
    assert found.learned == ((2, "h1"),)


def test_an_item_that_is_listed_twice_is_one_message() -> None:
    first = item("10:00:00", Author.AGENT, "La 77", "h1", "local:1", item_id=5)
    again = item("10:00:00", Author.AGENT, "La 77", "h1", item_id=6)
    assert match_history((first, again), ()).new == (first,)
