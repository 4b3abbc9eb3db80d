"""`relevo doctor`: whether the database is what it should be, and mending what can be mended."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.store.catalog import Difference
    from relevo.store.doctor import Finding
    from relevo.store.legacy_ids import BadIds

NOBODY_SERVES = (
    "No Relevo is running on this database; its start sees to unread messages and open turns."
)
ROWS_LATER = "The rows are looked at once no table and no column is missing."


def add(commands: Commands) -> None:
    """Add the command of this module."""
    doctor = opening.add(
        commands, "doctor", "check the schema and the rows, and mend what can be mended", _doctor
    )
    doctor.description = (
        "Compares tables, columns, constraints, indexes, policies and grants with what this "
        "version wants, and looks for rows that are stuck, orphaned or at odds with one another."
    )
    doctor.epilog = (
        "Exit codes: 0 sound; 1 something was found, also if --fix has mended it (look again); 2 "
        "it cannot be done."
    )
    doctor.add_argument(
        "--fix",
        action="store_true",
        help="mend what is safe to mend, also while Relevo serves; nothing is sent",
    )
    doctor.add_argument(
        "--legacy",
        type=Path,
        metavar="FILE",
        help="look at the conversation ids in a replaced system's SQLite file instead; with --fix "
        "empty those that are none, after a copy",
    )
    doctor.add_argument("--json", action="store_true", help="for a script")


async def _doctor(options: argparse.Namespace) -> int:
    if options.legacy is not None:
        return await _legacy(options)
    config = opening.config(options)
    opening.refuse_without_owner(config, "the doctor")
    database = await opening.database(config, make=False)
    try:
        return await _examine(options, database.urls.owner_url)
    finally:
        await database.stop()


async def _examine(options: argparse.Namespace, owner_url: str) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from relevo.clock import SystemClock
    from relevo.store import doctor
    from relevo.store.owner import as_owner

    on = Console(stderr=True)
    found: list[Finding] = []
    async with as_owner(owner_url) as connection:
        running = await doctor.processes(connection)
        differences = await doctor.schema(connection)
        readable = not any(difference.blinds for difference in differences)
        if readable:
            with Progress(console=on, transient=True, disable=not on.is_terminal) as progress:
                task = progress.add_task("examining", total=len(doctor.CHECKS))
                now = SystemClock().now()
                async for findings in doctor.rows(connection, now, mend=options.fix):
                    found += findings
                    progress.advance(task)
    if options.json:
        _tell_script(differences, found, readable=readable, running=running)
    else:
        _tell(differences, found, readable=readable, running=running)
    return BAD if differences or found else WELL


def _tell_script(
    differences: "Sequence[Difference]", found: "Sequence[Finding]", *, readable: bool, running: int
) -> None:
    from relevo import telling

    telling.show_json(
        {
            "sound": not (differences or found),
            "processes": running,
            "schema": [asdict(difference) for difference in differences],
            "rows_examined": readable,
            "rows": [
                {
                    "check": finding.check.name,
                    "business": finding.business_id,
                    "number": finding.number,
                    "thing": finding.check.thing,
                    "oldest_at": finding.oldest_at,
                    "explanation": finding.check.explanation,
                    "remedy": finding.check.remedy,
                    "mendable": finding.check.mends,
                    "mended": finding.mended,
                }
                for finding in found
            ],
        }
    )


def _tell(
    differences: "Sequence[Difference]", found: "Sequence[Finding]", *, readable: bool, running: int
) -> None:
    from rich.text import Text

    from relevo import terminal

    on = terminal.console()
    if not (differences or found):
        on.print(Text("Sound: the schema is what it should be, and no row is stuck or astray."))
        return
    for difference in differences:
        on.print(Text(f"schema: {terminal.escaped(f'{difference.about} {difference.what}')}"))
        on.print(Text(f"    to do: {terminal.escaped(difference.remedy)}", style="yellow"))
    if not readable:
        on.print(Text(ROWS_LATER))
    for line in (line for finding in found for line in _lines(finding)):
        on.print(Text(line, style="yellow" if line.startswith(" ") else ""))
    if not running and any(finding.check.waits_for_start for finding in found):
        on.print(Text(NOBODY_SERVES))
    on.print(Text(_what_now(differences, found)))


def _what_now(differences: "Sequence[Difference]", found: "Sequence[Finding]") -> str:
    if any(finding.mended for finding in found):
        if differences or any(finding.mended < finding.number for finding in found):
            return "Something was mended, not everything; look again."
        return "Everything that was found is mended; look again to be sure."
    if any(finding.check.mends for finding in found):
        return "`relevo doctor --fix` does what stands behind --fix."
    return "Nothing of this is safe to mend without a person."


def _lines(finding: "Finding") -> list[str]:
    from relevo import telling

    check = finding.check
    oldest = f"; the oldest since {telling.at(finding.oldest_at)}" if finding.oldest_at else ""
    number = telling.counted(finding.number, check.thing)
    what = f"{finding.business_id}: {number} ({check.name}){oldest}"
    if finding.mended:
        done = f"    mended {finding.mended}: {check.remedy}"
    elif check.mends:
        done = f"    --fix {check.remedy}"
    else:
        done = f"    to do: {check.remedy}"
    return [what, f"    {check.explanation}", done]


async def _legacy(options: argparse.Namespace) -> int:
    from relevo.clock import SystemClock
    from relevo.store import legacy_ids

    look = legacy_ids.clear if options.fix else legacy_ids.find
    bad = await asyncio.to_thread(look, options.legacy, SystemClock().now())
    _tell_legacy(bad, as_json=options.json)
    return BAD if bad.number else WELL


def _tell_legacy(bad: "BadIds", *, as_json: bool) -> None:
    from rich.text import Text

    from relevo import telling, terminal
    from relevo.metrics.logs import masked

    copy = None if bad.copy is None else str(bad.copy)
    if as_json:
        listed = [asdict(row) | {"wa_id": masked(row.wa_id)} for row in bad.listed]
        telling.show_json({"rows": bad.rows, "bad": bad.number, "listed": listed, "copy": copy})
        return
    on = terminal.console()
    if not bad.number:
        on.print(Text(f"Sound: {bad.rows} rows, and every conversation_id is one or empty."))
        return
    on.print(Text(f"{bad.number} of {bad.rows} rows have a conversation_id that is none:"))
    for row in bad.listed:
        on.print(Text(f"  row {row.number}  {masked(row.wa_id)}  {row.reason}"))
    if bad.number > len(bad.listed):
        on.print(Text(f"  and {bad.number - len(bad.listed)} more"))
    if copy is None:
        on.print(Text("`relevo doctor --legacy FILE --fix` empties them, after a copy."))
    else:
        on.print(Text(f"They are empty now. The file as it was: {terminal.escaped(copy)}"))
