"""What the command line shows of what was found: for people in words, for scripts as JSON."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import MAXYEAR, datetime
from typing import Any, TypeVar

import orjson
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from rich.text import Text

from relevo import terminal
from relevo.clock import Clock, sleep
from relevo.store.inspection import Balance

STEP_SECONDS = 0.2

_AFTER_A_LOSS = (
    "Relevo itself never deletes or rewrites these rows. Keep the database as it is, find out who "
    "else writes to it, compare it with a backup, and look at the provider for customers who wait."
)

Told = Mapping[str, Any]
T = TypeVar("T")


def why(conversations: Sequence[Told], address: str, *, as_json: bool) -> None:
    """Show every conversation that an address leads to, oldest turn first."""
    if as_json:
        show_json({"address": address, "conversations": conversations})
        return
    console = terminal.console()
    if not conversations:
        console.print(Text(f"Nobody is known under {terminal.escaped(address)}."))
    for conversation in conversations:
        console.print(Text(terminal.escaped(conversation["canonical_key"]), style="bold"))
        if conversation["hold_until"] is not None:
            console.print(Text(f"  hold {until(conversation['hold_until'])}"))
        console.print(Text(f"  customer last wrote {at(conversation['last_customer_at'])}"))
        console.print(Text(f"  assistant last replied {at(conversation['last_assistant_at'])}"))
        console.print(Text(f"  history known to {at(conversation['known_to'])}"))
        if conversation["recall_owed_since"] is not None:
            since = at(conversation["recall_owed_since"])
            console.print(Text(f"  history since {since} is still to be asked for"))
        for turn in reversed(conversation["turns"]):
            show_turn(console, turn)
        if conversation["waiting"]:
            console.print(Text("\n  not told to the AI yet", style="bold"))
            show_messages(console, conversation["waiting"])


def say(sentence: str) -> None:
    """Print one sentence about what was done, or found."""
    terminal.console().print(Text(terminal.escaped(sentence)), soft_wrap=True)


def balances(found: Sequence[Balance], *, as_json: bool) -> None:
    """Show the books of every business."""
    if as_json:
        show_json([asdict(b) | {"remainder": b.remainder, "sound": b.sound} for b in found])
        return
    console = terminal.console()
    if not found:
        console.print(Text("There is nothing to audit yet."))
        return
    fates = sorted({fate for balance in found for fate in balance.fates})
    table = Table(title="What became of every accepted customer message")
    for column in ("business", "accepted", *fates, "remainder", "stranded", "unexplained"):
        table.add_column(column, justify="left" if column == "business" else "right")
    for b in found:
        counts = [b.accepted, *(b.fates.get(fate, 0) for fate in fates)]
        wrong = [b.remainder, b.stranded, b.unexplained]
        table.add_row(b.business_id, *map(str, (*counts, *wrong)), style="" if b.sound else "red")
    console.print(table)
    bad = [b for b in found if not b.sound]
    if not bad:
        console.print(Text("Nothing is missing."))
        return
    names = ", ".join(b.business_id for b in bad)
    console.print(Text(f"Something is missing: {names}.", style="bold red"))
    for line in (line for b in bad for line in _losses(b)):
        console.print(Text(f"  {line}"))
    console.print(Text(_AFTER_A_LOSS))


def _losses(b: Balance) -> Iterator[str]:
    if b.remainder > 0:
        yield (
            f"{b.business_id}: {b.remainder} accepted, and no longer stored (remainder); since "
            "when is not known"
        )
    if b.remainder < 0:
        yield (
            f"{b.business_id}: {-b.remainder} stored, and never counted as accepted (remainder); "
            "since when is not known"
        )
    if b.stranded:
        yield (
            f"{b.business_id}: {b.stranded} in flight, but neither unread nor in an open turn, so "
            f"nothing will answer them (stranded); the oldest came {at(b.stranded_since)}"
        )
    if b.unexplained:
        yield (
            f"{b.business_id}: {b.unexplained} with a fate that no turn gave them (unexplained); "
            f"the oldest came {at(b.unexplained_since)}"
        )


def line(who: str, text: str) -> None:
    """Show one line of a story."""
    styles = {"customer": "cyan", "assistant": "green", "agent": "yellow"}
    console = terminal.console()
    if who == "narrator":
        console.print(Text(f"\n{terminal.escaped(text)}", style="dim"))
        return
    terminal.quote(console, f"{who:>10}  ", text, style=styles[who])


async def wait(clock: Clock, seconds: float, why: str) -> None:
    """Wait, showing how long it takes."""
    console = Console()
    with Progress(*Progress.get_default_columns(), console=console, transient=True) as progress:
        task = progress.add_task(why, total=seconds)
        for _ in range(math.ceil(seconds / STEP_SECONDS)):
            await sleep(clock, STEP_SECONDS)
            progress.advance(task, STEP_SECONDS)


@contextmanager
def progress(what: str, expected: int) -> Iterator[Callable[[int], None]]:
    """Show how much of something long is done, on a terminal; yields what is told of each step."""
    on = Console(stderr=True)
    with Progress(console=on, transient=True, disable=not on.is_terminal) as shown:
        task = shown.add_task(what, total=expected)
        yield lambda steps: shown.advance(task, steps)


def verdict(*, knew: bool) -> None:
    """Show how a story ended."""
    good = "The second reply knew what the colleague had promised."
    bad = "The second reply did not know what the colleague had promised."
    console = terminal.console()
    console.print(Text(f"\n{good if knew else bad}", style="bold green" if knew else "bold red"))


def show_turn(console: Console, turn: Told) -> None:
    """Show a turn, as `inspection.why` tells it."""
    outcome = turn["outcome"] or f"{turn['stage']} …"
    reason = f" ({terminal.escaped(turn['reason'])})" if turn["reason"] else ""
    console.print(Text(f"\n  {at(turn['opened_at'])}  {outcome}{reason}", style="bold"))
    show_messages(console, turn["messages"])
    sends = turn["purpose"] == "send"
    if not sends:
        console.print(Text(f"    verdict: {_verdict(turn)}"))
        console.print(Text(f"    recall: {_recall(turn)}"))
    if turn["missed"]:
        left_out = turn["missed_left_out"]
        more = f" (and {left_out} older, left out)" if left_out else ""
        console.print(Text(f"    the AI was told what it had missed{more}:"))
        show_messages(console, turn["missed"])
    for text in turn["reply"]:
        terminal.quote(console, "    sent: " if sends else "    replied: ", text, style="green")
    for part in turn["outbox"]:
        if part["state"] != "accepted":
            what = "not sent" if sends else "not replied"
            console.print(Text(f"    {what}: {_part(part)}", style="yellow"))


def _verdict(turn: Told) -> str:
    if turn["silence_seconds"] is None:
        return f"{turn['verdict']}: nothing was known of this customer before"
    return (
        f"{turn['verdict']}: {turn['silence_seconds']:.0f} s of silence since "
        f"{at(turn['previous_customer_at'])}, a gap is more than {turn['threshold_seconds']:.0f} s"
    )


def _recall(turn: Told) -> str:
    if not turn["recall_reasons"]:
        return "not needed"
    asked = f"because: {', '.join(turn['recall_reasons'])}; since {at(turn['recall_since'])}"
    if turn["recall"] == "not_needed":
        return f"not complete ({asked})"
    found = f"{turn['recalled']} new, {turn['matched_by_content']} known by content"
    return f"{turn['recall']} ({asked}; {found})"


def _part(part: Told) -> str:
    again = ", sent again" if part["resent"] else ""
    reason = f" ({terminal.escaped(part['reason'])})" if part["reason"] else ""
    return f"part {part['part']} is {part['state']}{again}{reason}"


def show_messages(console: Console, messages: Iterable[Told]) -> None:
    """Show messages, a line each, with why they wait if they do."""
    for message in messages:
        waits = f"({message['state']})" if "state" in message else ""
        who = (message["author"], message["name"], waits, _changed(message))
        text = message["text"] or f"<{message['kind']}>"
        said_by = terminal.escaped(" ".join(filter(None, who)))
        terminal.quote(console, f"      {at(message['at'])}  {said_by}: ", text)


def _changed(message: Told) -> str:
    """Say what its author has done about a message since."""
    for word in ("revoked", "edited"):
        if instant := message.get(f"{word}_at"):
            return f"({word} {at(instant)})"
    return ""


def at(instant: datetime | None) -> str:
    """Write an instant, UTC."""
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}Z"


def tracked(items: Sequence[T], why: str) -> Iterable[T]:
    """Go through many things, showing how far it is to whoever waits at a terminal."""
    console = Console(stderr=True)
    return track(items, why, console=console, transient=True, disable=not console.is_terminal)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the cells may hold what other people wrote."""
    made = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(terminal.escaped(cell)) for cell in row))
    terminal.console().print(made)


def until(end: datetime) -> str:
    """Say how long a chat is, or was, a human's."""
    return "until `relevo resume`" if end.year == MAXYEAR else f"until {at(end)}"


def counted(number: int, one: str, more: str = "") -> str:
    """Write how many there are: 1 message, 2 messages."""
    return f"{number} {one}" if number == 1 else f"{number} {more or f'{one}s'}"


def show_bytes(content: bytes) -> None:
    """Give out bytes as they are."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        terminal.hang_up()


def show_json(content: Any) -> None:
    """Print for a script."""
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    try:
        sys.stdout.write(terminal.escaped_json(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        terminal.hang_up()
