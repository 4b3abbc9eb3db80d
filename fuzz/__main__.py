"""`python fuzz`: try to make the reading of what providers write fail.

Started by its folder, so Python looks for imports here; they are found from the project's root.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fuzz.command import run  # noqa: E402  (only now can it be found)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
