"""A short form of `make chaos`, and of its judge: who looks for faults must be able to see them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.ledger import Findings, Letter, Reply, examine
from chaos.loop import Plan, kill_loop
from chaos.recovery import recovery
from chaos.server import Site
from relevo.store.embedded import DatabaseUrls

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANA, BEN = "50370000001", "50370000002"
KILLS = 6
LOOP_SECONDS_MAX = 240
"""A send that never left is repeated 20 s after it should have left; a doubt may last 120 s."""

FIRST = Letter("c1-1", ANA, NOON, posted_at=1, accepted_at=2)
SECOND = Letter("c1-2", ANA, NOON, posted_at=3, accepted_at=4)
ANSWERS = [Reply(ANA, "answer 1 to c1-1"), Reply(ANA, "answer 2 to c1-2")]


def judged(
    replies: Sequence[Reply],
    fates: str = "answered answered",
    *letters: Letter,
    **more: frozenset[str],
) -> Findings:
    told = letters or (FIRST, SECOND)
    named = dict(zip((m.token for m in told), fates.split(), strict=False))
    return examine(told, replies, named, **more)


def test_what_is_answered_once_and_in_order_is_well() -> None:
    assert judged(ANSWERS) == Findings()
    assert judged([Reply(ANA, "answer 1 to c1-1 c1-2"), Reply(BEN, "answer 2 to c2-3")]).sound


def test_an_accepted_message_without_a_reply_is_lost_whatever_the_books_say() -> None:
    assert judged(ANSWERS[:1]).lost == ["c1-2"]
    assert judged(ANSWERS, "answered in_flight").lost == ["c1-2"]
    assert judged(ANSWERS, "answered").lost == ["c1-2"]


def test_a_message_that_nobody_accepted_is_promised_nothing() -> None:
    unheard = Letter("c1-2", ANA, NOON, posted_at=3)
    assert judged(ANSWERS[:1], "answered", FIRST, unheard).sound


def test_a_message_may_be_left_to_a_colleague_only_where_one_wrote() -> None:
    fates = "answered answered_by_human"
    assert judged(ANSWERS[:1], fates).lost == ["c1-2"]
    assert judged(ANSWERS[:1], fates, with_agents=frozenset({ANA})).sound
    assert judged(ANSWERS[:1], "answered told").sound
    assert judged(ANSWERS[:1], "answered dead", with_agents=frozenset({ANA})).lost == ["c1-2"]


def test_a_text_that_comes_twice_is_doubled_unless_nobody_could_be_asked_for_it() -> None:
    twice, again = [*ANSWERS, ANSWERS[1]], ANSWERS[1].text
    assert judged(twice).doubled == [again]
    assert judged(twice, blind=frozenset({again})).sound
    assert judged([*twice, ANSWERS[1]], blind=frozenset({again})).doubled == [again]


def test_a_message_that_two_answers_are_about_is_doubled() -> None:
    assert judged([*ANSWERS, Reply(ANA, "answer 3 to c1-2")]).doubled == ["c1-2"]


def test_a_message_that_overtakes_an_older_accepted_one_is_out_of_order() -> None:
    assert judged(ANSWERS[::-1]).disordered == ["c1-2"]
    assert judged([Reply(ANA, "answer 1 to c1-2 c1-1")]).disordered == ["c1-2"]
    at_once = replace(SECOND, posted_at=1.5)
    assert judged(ANSWERS[::-1], "answered answered", FIRST, at_once).sound


def test_a_second_part_belongs_after_its_first() -> None:
    rest = Reply(ANA, "rest of answer 2 …")
    assert judged([*ANSWERS, rest]).sound
    assert judged([ANSWERS[0], rest, ANSWERS[1]]).disordered == ["rest of answer 2 …"]


@pytest.mark.process
@pytest.mark.timeout(LOOP_SECONDS_MAX)
async def test_killed_at_random_under_traffic_nothing_is_lost_doubled_or_out_of_order(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    outcome = await kill_loop(Plan(KILLS, customers=60, seed=1), Site(tmp_path, database), print)
    assert outcome.findings == Findings()
    assert (outcome.audited, outcome.exit_code) == (0, 0)
    assert outcome.messages > outcome.plan.customers


@pytest.mark.process
@pytest.mark.timeout(LOOP_SECONDS_MAX)
async def test_killed_with_open_turns_it_replies_and_has_every_deadline_again(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    measured = await recovery(300, seed=1, site=Site(tmp_path, database), say=print)
    assert measured.sound
    assert measured.overdue == 8
