"""What a document cannot say of the API, and schemathesis has to be told."""

from typing import Any

import schemathesis

KEY = "Idempotency-Key"


@schemathesis.hook
def before_load_schema(_context: Any, document: dict[str, Any]) -> None:
    """Leave out what is of one request and no other; `test_api.py` has its stories."""
    for path in document["paths"].values():
        for operation in path.values():
            parameters = operation.get("parameters", ())
            operation["parameters"] = [each for each in parameters if each.get("name") != KEY]
