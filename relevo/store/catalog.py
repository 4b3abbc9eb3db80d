"""The schema as facts, and how a database's facts differ from those of this version.

`schema.json` beside this file holds the facts of a freshly migrated database; `make schema` writes
it anew after a migration, and a test compares. What somebody added for himself, a table or an index
that forbids nothing, is his business; what can forbid or allow more than we do is a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from relevo.store.sql import statements

if TYPE_CHECKING:
    import asyncpg

REFERENCE = Path(__file__).parent / "schema.json"
NOT_VALID, OFF, INVALID = " NOT VALID", " SWITCHED OFF", " INVALID"
MEND_FIRST = "mend the rows that break it (`relevo doctor --fix` does what it can);"
OWNER = ("{owner}", "CURRENT_USER")
"""How facts name the owner of the tables, and how he names himself."""


class Fact(NamedTuple):
    """What is about what: a constraint of a table, a grant on a sequence; `name` may be empty."""

    kind: str
    on: str
    name: str

    def __str__(self) -> str:
        match self.kind:
            case "table" | "sequence" | "role":
                return f"{self.kind} {self.on}"
            case "row security":
                return f"row security of table {self.on}"
            case "column":
                return f"column {self.on}.{self.name}"
            case "grant":
                role, column = role_and_column(self)
                return f"what {role} may do with {self.on}{column and f'.{column}'}"
            case _:
                return f"{self.kind} {self.name} of table {self.on}"


def role_and_column(grant: Fact) -> tuple[str, str]:
    """Return whose a grant is, and on what column; empty for the whole table."""
    role, _, column = grant.name.partition(" (")
    return role, column.removesuffix(")")


Facts = Mapping[Fact, str]
"""How each is written, as PostgreSQL writes it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as this version wants it, in a sentence, and what a person does about it."""

    about: str
    what: str
    remedy: str
    blinds: bool = False
    """The rows cannot be looked at without it."""


async def facts(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[Fact, str]:
    """Return what the schema is now."""
    rows = await connection.fetch(statements("catalog")["facts"])
    return {Fact(row["kind"], row["on_table"], row["name"]): row["written"] for row in rows}


@cache
def reference() -> Facts:
    """Return what this version wants the schema to be."""
    return {Fact(*fact): written for *fact, written in orjson.loads(REFERENCE.read_bytes())}


def as_json(found: Facts) -> bytes:
    """Write facts as `schema.json` holds them: one a line, so that a change is seen."""
    lines = [orjson.dumps([*fact, written]) for fact, written in sorted(found.items())]
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def differences(found: Facts, wanted: Facts) -> list[Difference]:
    """Return how a database differs, a missing table once and not with all its parts."""
    gone = {fact.on for fact in wanted if fact.kind == "table" and fact not in found}
    ours = {fact.on for fact in wanted}
    missing = [fact for fact in wanted if fact not in found]
    return [
        *(_missing(fact, wanted[fact]) for fact in missing if fact.kind == "table"),
        *(
            _missing(fact, wanted[fact])
            for fact in missing
            if fact.kind != "table" and fact.on not in gone and not _implied(fact, found, wanted)
        ),
        *(
            _changed(fact, found[fact], written)
            for fact, written in wanted.items()
            if found.get(fact, written) != written
        ),
        *(
            _extra(fact, written)
            for fact, written in found.items()
            if fact not in wanted and fact.on in ours and _matters(fact, written, wanted)
        ),
    ]


def _missing(fact: Fact, wanted: str) -> Difference:
    blinds = fact.kind in {"table", "column"}
    return Difference(str(fact), "is missing", _make(fact, wanted), blinds)


def _changed(fact: Fact, found: str, wanted: str) -> Difference:
    for mark, what, remedy in (
        (NOT_VALID, "was never checked against the rows that were there", "{} VALIDATE {};"),
        (OFF, "is switched off", "as a superuser: {} ENABLE TRIGGER ALL;"),
        (INVALID, "is invalid, so nothing uses it", f"REINDEX INDEX CONCURRENTLY {fact.name};"),
    ):
        if found == wanted + mark:
            named = f"CONSTRAINT {fact.name}"
            return Difference(str(fact), what, remedy.format(f"ALTER TABLE {fact.on}", named))
    what = f"is {found or 'off'}, and should be {wanted or 'nothing more'}"
    return Difference(str(fact), what.replace(*OWNER), _make_anew(fact, found, wanted))


def _extra(fact: Fact, found: str) -> Difference:
    return Difference(
        str(fact),
        f"is not Relevo's, and can change what is stored or seen ({found})",
        f"find out who made it; if nobody needs it: {_drop(fact, found)}",
    )


def _implied(fact: Fact, found: Facts, wanted: Facts) -> bool:
    """Tell whether it is missing only because something is that is told itself."""
    if fact.kind == "index":
        behind = fact._replace(kind="constraint")
        return behind in wanted and behind not in found
    if fact.kind == "grant":
        _role, column = role_and_column(fact)
        return bool(column) and Fact("column", fact.on, column) not in found
    return False


def _matters(fact: Fact, found: str, wanted: Facts) -> bool:
    """Tell whether an addition can forbid or allow what Relevo does not."""
    if fact.kind == "column":
        return " NOT NULL" in found
    if fact.kind == "index":
        unique = found.startswith("CREATE UNIQUE")
        return unique and fact._replace(kind="constraint") not in wanted
    return fact.kind in {"constraint", "policy", "trigger", "rule", "grant"}


def _make(fact: Fact, wanted: str) -> str:
    match fact.kind:
        case "column":
            return (
                "what it held is lost: compare with a backup; "
                f"ALTER TABLE {fact.on} ADD COLUMN {fact.name} {wanted};"
            )
        case "constraint":
            return f"{MEND_FIRST} ALTER TABLE {fact.on} ADD CONSTRAINT {fact.name} {wanted};"
        case "index":
            return f"{wanted};"
        case "policy":
            return f"CREATE POLICY {fact.name} ON {fact.on} {wanted};".replace(*OWNER)
        case "grant":
            return _grant("GRANT", fact, wanted.split(", "))
        case _:
            return "restore it from a backup"


def _make_anew(fact: Fact, found: str, wanted: str) -> str:
    match fact.kind:
        case "constraint":
            made = _make(fact, wanted)
            return made.replace(" ADD ", f" DROP CONSTRAINT {fact.name}, ADD ", 1)
        case "index" | "policy":
            return f"{_drop(fact, found)} {_make(fact, wanted)}"
        case "row security":
            table = f"ALTER TABLE {fact.on}"
            return f"{table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        case "grant":
            has, needs = set(found.split(", ")), set(wanted.split(", "))
            missing, excess = sorted(needs - has), sorted(has - needs)
            given = [_grant("GRANT", fact, missing)] if missing else []
            taken = [_grant("REVOKE", fact, excess)] if excess else []
            return " ".join([*given, *taken])
        case "role":
            return f"ALTER ROLE {fact.on} NOLOGIN NOSUPERUSER NOBYPASSRLS; revoke its memberships"
        case _:
            return f"make it so with ALTER {'SEQUENCE' if fact.kind == 'sequence' else 'TABLE'}"


def _drop(fact: Fact, found: str) -> str:
    match fact.kind:
        case "constraint" | "column":
            return f"ALTER TABLE {fact.on} DROP {fact.kind.upper()} {fact.name};"
        case "index":
            return f"DROP INDEX {fact.name};"
        case "grant":
            return _grant("REVOKE", fact, found.split(", "))
        case _:
            return f"DROP {fact.kind.upper()} {fact.name} ON {fact.on};"


def _grant(verb: str, fact: Fact, privileges: list[str]) -> str:
    role, column = role_and_column(fact)
    of = f" ({column})" if column else ""
    which = ", ".join(f"{privilege}{of}" for privilege in privileges)
    sequence = "SEQUENCE " if "USAGE" in privileges else ""
    return f"{verb} {which} ON {sequence}{fact.on} {'TO' if verb == 'GRANT' else 'FROM'} {role};"
