"""What every journal, with the inbox beside it, has to do: one suite for the fake and PostgreSQL.

A concrete module subclasses `JournalContract` and gives a fixture `stores` (`journal_rows.Stores`).
"""

from tests.changes_contract import ChangesContract
from tests.commit_contract import CommitContract
from tests.ingest_contract import IngestContract
from tests.sends_contract import SendsContract
from tests.thread_contract import ThreadContract


class JournalContract(
    IngestContract, ChangesContract, CommitContract, SendsContract, ThreadContract
):
    """All of it."""
