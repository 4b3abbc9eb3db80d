"""What is kept of what the fuzzer found: the smallest inputs that reach what no other reaches.

Reaching is measured by Python itself, line after line, so the same inputs are chosen anywhere, and
without the fuzzer.
"""

import re
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.targets import ROOT, Target

INPUT_BYTES_MAX = 4096
"""A longer input is not kept: it is read by nobody."""

HASH_DIGITS = 16
_HASH = re.compile(f"[0-9a-f]{{{HASH_DIGITS}}}")

Step = tuple[str, int, int]
"""A file, and two lines of it that were reached one after the other."""

_OURS = str(ROOT / "relevo")


def reached(target: Target, body: bytes) -> set[Step]:
    """Return every step from line to line that an input takes through the product."""
    steps: set[Step] = set()
    before: dict[FrameType, int] = {}

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        if event == "line":
            line = frame.f_lineno
            steps.add((frame.f_code.co_filename, before.get(frame, 0), line))
            before[frame] = line
        return step

    sys.settrace(step)
    try:
        target(body)
    finally:
        sys.settrace(None)
    return steps


def keep(folder: Path, target: Target, samples: Iterable[Path], found: Iterable[Path]) -> int:
    """Leave in a corpus what is worth it of what was there and was found; return how much.

    What a person has put there has a name, and stays; what it reaches needs nothing else. Nor does
    what the samples reach, which are kept elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found_before = [path for path in folder.glob("*") if _HASH.fullmatch(path.name)]
    bodies = {path.read_bytes() for path in (*found_before, *found)}
    for path in found_before:
        path.unlink()
    known: set[Step] = set()
    for path in (*samples, *folder.glob("*")):
        known |= reached(target, path.read_bytes())
    for body in sorted(bodies, key=lambda body: (len(body), body)):
        if len(body) <= INPUT_BYTES_MAX and (new := reached(target, body) - known):
            known |= new
            (folder / sha256(body).hexdigest()[:HASH_DIGITS]).write_bytes(body)
    return sum(1 for _ in folder.glob("*"))
