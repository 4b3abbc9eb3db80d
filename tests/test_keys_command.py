"""`relevo keys` as a person calls it: a key is shown once, listed without itself, and revoked."""

from pathlib import Path

import orjson
import pytest

from relevo.commands.keys import SCOPES, WHY_NOT
from relevo.keys import Scope, id_of
from relevo.store.api_keys import Refusal
from relevo.store.embedded import DatabaseUrls
from tests.commands import BAD, WELL, configured

pytestmark = pytest.mark.postgres


def test_every_scope_and_every_refusal_is_explained() -> None:
    assert set(SCOPES) == set(Scope)
    assert set(WHY_NOT) == set(Refusal)


async def test_a_key_is_made_listed_and_revoked(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    create = ("keys", "create", "console", "--scope", "read", "--scope", "send")
    made = await relevo(*create)
    assert made.code == WELL
    said, once, key = made.out.splitlines()
    assert said.startswith("A key of hotel named console (read, send), until 20")
    assert "once" in once
    key_id = id_of(key)
    assert key_id is not None
    second = orjson.loads((await relevo(*create, "--for-ever", "--json")).out)
    assert (second["id"], second["expires_at"]) == (id_of(second["key"]), None)
    third = await relevo(*create)
    assert (third.code, "revoke the older one first" in third.out) == (BAD, True)
    revoked = await relevo("keys", "revoke", key)
    assert (revoked.code, revoked.out) == (WELL, f"Key {key_id} of hotel works no longer.\n")
    assert (await relevo("keys", "revoke", key_id)).out == revoked.out
    assert (await relevo("keys", "revoke", "nobody")).code == BAD
    listed = await relevo("keys", "list")
    assert (key_id in listed.out, second["id"] in listed.out) == (False, True)
    assert second["key"].rpartition("_")[2] not in listed.out
