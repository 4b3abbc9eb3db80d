"""The fuzzer's own process: one target, until its time is up or something fails.

    python -m fuzz.finding TARGET [FLAGS OF LIBFUZZER …] FOLDER …

Atheris has wheels for some versions of Python only, so nothing but `make fuzz` installs it. New
inputs go to the first folder; a failure is written to where `-artifact_prefix` says.
"""

import sys

import atheris

with atheris.instrument_imports(include=["relevo"], enable_loader_override=False):
    from fuzz.targets import FORMS, targets

from fuzz.mutating import mutated

FIELDS_SHARE = 2
"""One of so many changes flips bytes, the others change fields."""


def main(arguments: list[str]) -> None:
    """Fuzz; ends the process."""
    name = arguments[1]
    target, form = targets()[name], name in FORMS

    def change(body: bytes, size_max: int, seed: int) -> bytes:
        found = mutated(body, seed, form=form) if seed % FIELDS_SHARE else None
        if found is None or len(found) > size_max:
            return bytes(atheris.Mutate(body, size_max))
        return found

    atheris.Setup([arguments[0], *arguments[2:]], target, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
