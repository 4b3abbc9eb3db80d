"""CSV files of the systems replaced: whatever wrote them, line by line."""

import codecs
import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relevo.errors import FileError

HEADER_BYTES_MAX = 4096
CHUNK_BYTES = 1 << 20


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file that the system would not let us read.

    Raises:
        FileError: if so.
    """
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


def count(path: Path) -> int:
    """Return how many lines a file has, which is about its rows; raises what `readable` raises."""
    with readable(path), path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))


def encoding(path: Path) -> str:
    """Tell how a text is written: UTF-8 if all of it can be, else what spreadsheets write.

    Raises:
        FileError: if it cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with readable(path), path.open("rb") as file:
        if file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return "utf-16"
        file.seek(0)
        try:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def rows(
    path: Path, written_in: str, refuse: Callable[[set[str]], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every row with the line it ends in, by the names of its columns in small letters.

    `refuse` is given the names, and raises `FileError` if these cannot be such rows.

    Raises:
        FileError: if it cannot be read, its names are refused, or it is no CSV.
    """
    with readable(path), path.open(encoding=written_in, errors="replace", newline="") as file:
        header = file.readline(HEADER_BYTES_MAX)
        delimiter = max(",;\t", key=header.count)
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        refuse(set(names))
        reader = csv.DictReader(file, names, delimiter=delimiter, restval="")
        for row in _lines(path, reader):
            yield reader.line_num + 1, row


def _lines(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, Any]]:
    try:
        yield from reader
    except csv.Error as error:
        raise FileError(
            f"{path}, line {reader.line_num + 1}: this is no CSV ({error}); export it anew"
        ) from error
