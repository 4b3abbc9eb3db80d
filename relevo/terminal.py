"""What other people wrote, shown so that it can neither steer a terminal nor pass for our words.

Control characters and those that turn the direction of text are shown as escapes. Every further
line of a text is marked, whether it was written as one or broken by the width of the terminal.
"""

import os
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path

from rich.console import Console
from rich.text import Text

FURTHER_LINE = " " * 10 + "| "

_PIPE_COLUMNS = 10_000  # no line is broken for a program that reads it
_COLUMNS_MIN = 20
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # Persian and emoji are written with them
_BYTE_MAX, _PLANE_MAX = 0xFF, 0xFFFF


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence: who reads has seen enough, and the exit code still counts."""
        self.quiet = True
        hang_up()


def console() -> Console:
    """Return what to print on: a terminal at its width, anything else without broken lines."""
    made = _Console(highlight=False)
    return made if made.is_terminal else _Console(highlight=False, width=_PIPE_COLUMNS)


def hang_up() -> None:
    """Let whatever is still printed go nowhere, also what Python prints at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def escaped(text: str) -> str:
    """Return the text on one line, with an escape for every character that does not show itself."""
    return "".join(map(_shown, text))


def escaped_json(text: str) -> str:
    """Return JSON with escapes also for what JSON itself leaves as it is."""
    return "".join(
        character if character == "\n" or _shown(character) == character else _in_json(character)
        for character in text
    )


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def quote(on: Console, head: str, text: str, *, style: str = "") -> None:
    """Print our `head` and somebody's text behind it; its further lines are marked as such."""
    first, *more = text.replace("\r\n", "\n").split("\n")
    lines = [head + escaped(first), *map(escaped, more)]
    columns = max(_COLUMNS_MIN, on.width - len(FURTHER_LINE))
    pieces = [piece.plain for line in lines for piece in Text(line).wrap(on, columns)]
    for number, piece in enumerate(pieces):
        on.print(Text(FURTHER_LINE * bool(number) + piece, style=style), soft_wrap=True)


def program(name: str = sys.argv[0]) -> str:
    """Return how this program is called from where it was called, for a shell."""
    path = Path(name)
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {path.parent.name}"
    return path.name if shutil.which(path.name) == name else shlex.quote(name)


def _shown(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    number = ord(character)
    if number <= _BYTE_MAX:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= _PLANE_MAX else f"\\U{number:08x}"
