"""Calls under way have a bound, a line's own and all lines' together, however tokens come back."""

import asyncio
from datetime import timedelta

from relevo.http.pace import Slots
from tests.fakes.clock import settle
from tests.test_pace import Line


async def test_calls_that_hang_keep_others_waiting_however_many_tokens_have_come_back() -> None:
    line = Line()
    line.answering.clear()
    async with asyncio.TaskGroup() as callers:
        for name in "abcd":
            callers.create_task(line.call(name))
        await line.live_through(50)
        assert line.names == ["a", "b", "c"]
        line.answering.set()
        await settle()
        assert line.names == ["a", "b", "c", "d"]


async def test_lines_that_share_slots_have_them_in_turn() -> None:
    slots = Slots(2)
    busy = Line(slots=slots)
    quiet = Line(slots=slots, clock=busy.clock)
    busy.answering.clear()
    quiet.answering.clear()
    async with asyncio.TaskGroup() as callers:
        for name in "abcd":
            callers.create_task(busy.call(name))
        await settle()
        callers.create_task(quiet.call("other"))
        await settle()
        assert (busy.names, quiet.names, slots.taken) == (["a", "b"], [], 2)
        busy.answering.set()
        await settle()
        assert (busy.names, quiet.names) == (["a", "b", "c"], ["other"])
        quiet.answering.set()
        await busy.live_through(10)
    assert slots.taken == 0


async def test_a_call_that_is_stopped_gives_its_slot_back() -> None:
    slots = Slots(1)
    line = Line(slots=slots)
    line.answering.clear()
    first = asyncio.gather(line.call("a"), return_exceptions=True)
    await settle()
    second = asyncio.gather(line.call("b"), return_exceptions=True)
    third = asyncio.gather(line.call("c"), return_exceptions=True)
    await settle()
    second.cancel()
    first.cancel()
    await settle()
    assert (line.names, slots.taken) == (["a", "c"], 1)
    line.answering.set()
    await third
    assert slots.taken == 0


async def test_who_waits_for_a_slot_no_longer_than_it_said_leaves_it_to_the_next_line() -> None:
    slots = Slots(1)
    line = Line(slots=slots)
    other = Line(slots=slots, clock=line.clock)
    line.answering.clear()
    async with asyncio.TaskGroup() as callers:
        callers.create_task(line.call("a"))
        await settle()
        callers.create_task(line.call("b", timeout_seconds=5))
        await settle()
        callers.create_task(other.call("c"))
        await line.live_through(6)
        assert line.refused == ["b"]
        line.answering.set()
        await settle()
        assert other.names == ["c"]
    assert slots.taken == 0


async def test_one_line_has_no_more_calls_under_way_than_it_has_tokens() -> None:
    slots = Slots(9)
    line = Line(slots=slots)
    line.answering.clear()
    async with asyncio.TaskGroup() as callers:
        for name in "abcd":
            callers.create_task(line.call(name))
        await line.live_through(50)
        assert (line.names, slots.taken) == (["a", "b", "c"], 3)
        line.answering.set()
    assert slots.taken == 0


async def test_a_call_that_is_stopped_as_it_is_let_go_gives_its_slot_back_too() -> None:
    slots = Slots(3)
    line = Line(slots=slots)
    for name in "abc":
        await line.call(name)
    late = asyncio.gather(line.call("d"), return_exceptions=True)
    await settle()
    line.clock.advance_to(line.clock.now() + timedelta(seconds=10))
    assert slots.taken == 1
    late.cancel()
    await settle()
    assert slots.taken == 0
    line.answering.clear()
    others = [asyncio.gather(line.call(name)) for name in "efg"]
    await settle()
    assert line.names == [*"abcefg"]
    line.answering.set()
    for other in others:
        await other
