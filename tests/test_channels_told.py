"""docs/channels.md tells of every kind of channel that can be configured."""

import re
from pathlib import Path
from typing import get_args

from relevo.settings import Channel

TOLD = Path(__file__).parent.parent / "docs" / "channels.md"


def test_every_kind_has_a_row_in_both_tables() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TOLD.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = get_args(Channel.model_fields["kind"].annotation)
    assert {kind: rows.count(kind) for kind in kinds} == dict.fromkeys(kinds, 2)
