"""A url of a database is refused where it would be read in another way than it was meant."""

import pytest

from relevo.config import load
from relevo.errors import ConfigError

LINE = "is not a URL (are special characters of the password percent-encoded?)"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://relevo:nobody/may-see@h:5432/d",
        "postgresql://relevo:nobody#may-see@h:5432/d",
        "postgresql://relevo:nobody?may-see@h:5432/d",
        "postgresql://relevo:1/nobody-may-see@h/d",
        "postgresql://relevo:1#nobody-may-see@h/d",
        "postgresql://relevo:1?nobody-may-see@h/d",
        "postgresql://relevo:1?nobody=may-see@h/d",
        "postgresql://relevo:nobody[may-see@h/d?sslmode=disable",
        "postgresql://relevo:nobody-may-see@h:port/d",
        "postgresql://relevo:nobody-may-see@h:70000/d",
        "postgresql://relevo:nobody-may-see@h:0/d",
        "postgresql://relevo:nobody-may-see@h:²/d",
        "postgresql://relevo:nobody-may-see@/d?host=/tmp&port=x",
        "postgresql://relevo:nobody-may-see@[::1/d",
        "postgresql://relevo:nobody-may-see@::1/d",
        "postgresql://relevo:nobody-may-see@[::1]x/d",
        "postgresql://relevo:nobody-may-see@h/d%00",
        "postgresql://relevo:nobody-may-see@h℀/d",
    ],
)
def test_what_is_no_url_is_refused_and_never_quoted(url: str) -> None:
    good = "postgresql://relevo@h/d"
    for environ, key in (
        ({"RELEVO_DATABASE_URL": url}, "url"),
        ({"RELEVO_DATABASE_URL": good, "RELEVO_DATABASE_OWNER_URL": url}, "owner_url"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(None, environ)
        assert str(caught.value) == (f"database.{key} (RELEVO_DATABASE_{key.upper()}): {LINE}")
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://relevo:a%2Fb%23c%3Fd@h:5432/d",
        "postgresql://relevo:p@ss@h/d",
        "postgresql://relevo@[::1]:5432/d?sslmode=disable",
        "postgresql://one:5432,two:5433/d?user=a@b&password=c",
        "postgres://relevo:x@/relevo?host=/run/postgres&port=5432",
        "postgresql:///relevo",
        "postgresql://",
    ],
)
def test_what_postgresql_takes_is_taken(url: str) -> None:
    assert load(None, {"RELEVO_DATABASE_URL": url}).database.url.get_secret_value() == url
