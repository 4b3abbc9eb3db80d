"""What is kept of what the fuzzer found: the smallest inputs that reach what no other reaches.

Reaching is measured by Python itself, line after line, so the same inputs are chosen anywhere, and
without the fuzzer.
"""

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.targets import CORPUS, ROOT, Target

INPUT_BYTES_MAX = 4096
"""A longer input is not kept: it is read by nobody."""

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


def keep(name: str, target: Target, samples: Iterable[Path], found: Iterable[Path]) -> int:
    """Leave in a target's corpus what is worth it of what was there and was found; return how many.

    The samples are kept elsewhere: what they reach needs nothing else.
    """
    known: set[Step] = set()
    for path in samples:
        known |= reached(target, path.read_bytes())
    folder = CORPUS / name
    bodies = {path.read_bytes() for path in (*folder.glob("*"), *found)}
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*"):
        path.unlink()
    kept = 0
    for body in sorted(bodies, key=lambda body: (len(body), body)):
        if len(body) <= INPUT_BYTES_MAX and (new := reached(target, body) - known):
            known |= new
            (folder / sha256(body).hexdigest()[:16]).write_bytes(body)
            kept += 1
    return kept
