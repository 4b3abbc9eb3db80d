"""What was measured, beside what was promised: the table, the JSON, the verdict."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table

GIB = 1024**3

Verdict = Literal["ok", "missed target", "below floor"]
STYLES: dict[Verdict, str] = {"ok": "green", "missed target": "yellow", "below floor": "bold red"}


@dataclass(frozen=True, slots=True)
class Promise:
    """A target, and the floor under it; `more_is_better` says on which side of them is well."""

    what: str
    target: float
    floor: float
    unit: str
    more_is_better: bool = True

    def verdict(self, measured: float) -> Verdict:
        """Judge a measurement."""
        sign = 1 if self.more_is_better else -1
        if sign * measured >= sign * self.target:
            return "ok"
        return "missed target" if sign * measured >= sign * self.floor else "below floor"

    def written(self, value: float, *, bound: bool = False) -> str:
        """Write a value of this kind, as a bound with its sign."""
        digits = 2 if value < 10 and value != int(value) else 0 if value >= 100 else 1
        digits = 2 if not self.unit else digits
        number = f"{value:,.{digits}f}".removesuffix(".0")
        sign = ("≥ " if self.more_is_better else "≤ ") if bound else ""
        return f"{sign}{number} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table. `line` is that of the design's table, `how` says what it rests on."""

    line: int
    promise: Promise
    measured: float
    how: str

    @property
    def verdict(self) -> Verdict:
        """Return how the measurement stands to what was promised."""
        return self.promise.verdict(self.measured)


def machine() -> dict[str, Any]:
    """Return what the measurements were made on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def print_table(
    results: Sequence[Result],
    on: dict[str, Any],
    seconds: float,
    title: str = "Relevo's speed on this machine",
) -> None:
    """Print everything for a person."""
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in ("", "what", "target", "floor", "measured", "verdict"):
        right = heading in {"target", "floor", "measured"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "what")
    for result in results:
        promise, verdict = result.promise, result.verdict
        table.add_row(
            str(result.line),
            f"{promise.what}\n[dim]{result.how}[/dim]",
            promise.written(promise.target, bound=True),
            promise.written(promise.floor, bound=True),
            promise.written(result.measured),
            f"[{STYLES[verdict]}]{verdict}[/]",
        )
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    console.print(
        f"{on['cores']} cores, {on['memory_gib']} GiB, Python {on['python']}, everything on this "
        f"machine; load average before the start {on['load_before']}; took {seconds:.0f} s"
    )


def as_json(results: Sequence[Result], on: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return everything for a script."""
    rows = [
        {
            "line": result.line,
            "what": result.promise.what,
            "target": result.promise.target,
            "floor": result.promise.floor,
            "measured": result.measured,
            "unit": result.promise.unit,
            "verdict": result.verdict,
            "how": result.how,
        }
        for result in results
    ]
    return {"machine": on, "seconds": round(seconds, 1), "results": rows}
