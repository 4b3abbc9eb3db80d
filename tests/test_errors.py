"""What is expected to fail says so in words that a person may read."""

from relevo.errors import ConfigError, ProviderError, RelevoError, StoreUnavailableError


def test_a_providers_failure_is_one_word() -> None:
    failure = ProviderError("http_503")
    assert (failure.reason, str(failure)) == ("http_503", "http_503")


def test_a_database_that_is_away_is_named_by_the_url_that_was_tried() -> None:
    assert StoreUnavailableError("away").key == "database.url"
    away = StoreUnavailableError("away", key="database.owner_url")
    assert (away.key, str(away)) == ("database.owner_url", "away")


def test_every_failure_with_a_name_is_relevos() -> None:
    assert issubclass(ConfigError, RelevoError)
    assert issubclass(ProviderError, RelevoError)
