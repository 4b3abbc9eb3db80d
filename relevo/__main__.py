"""`python -m relevo`, and the command `relevo`."""

import sys


def main() -> None:
    """Run the command line; the exit code says how it went."""
    from relevo.cli import run  # noqa: PLC0415  (nothing is imported before it is needed)

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
