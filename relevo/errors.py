"""The failures that have a name. What is expected is data; anything else is a bug and crashes."""


class RelevoError(Exception):
    """A failure of Relevo with a sentence for a person."""


class ConfigError(RelevoError):
    """The configuration cannot be used; the message names the key and what to do."""


class FileError(RelevoError):
    """A file that was named cannot be used; the message says which, why, and what to do."""


class StoreUnavailableError(RelevoError):
    """The database cannot be reached or refuses work right now; nothing was stored.

    `key` names the url that was tried.
    """

    def __init__(self, why: str, *, key: str = "database.url") -> None:
        super().__init__(why)
        self.key = key


class StoreSetupError(RelevoError):
    """The database can be reached but must not be used: wrong role, wrong schema, no server."""


class ProviderError(RelevoError):
    """A provider's API gave no usable answer. `reason` is a word for metrics, never the body."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
