"""Reading named columns of a CSV file, fast, with errors that name the file, line and column.

The fast path hands out whole columns, a chunk of rows at a time, and knows no line numbers. Whoever
finds something wrong with a value reads the file once more with `rows_with_lines`, which is slow
and exact. So good files cost nothing for the quality of the message about bad ones.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.errors import DataError
from openfl.files import open_named

if TYPE_CHECKING:
    from _csv import Reader

CHUNK_ROWS = 4096
# Larger chunks are slower: the garbage collector walks every list of a row that is alive.

Columns = tuple[tuple[str, ...], ...]


def column_chunks(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Columns]:
    """Column tuples of up to `CHUNK_ROWS` rows, in the order `required + optional`, stripped.

    An optional column that the file lacks is a column of empty strings. Blank lines are skipped.
    DataError: the file cannot be read, is empty, is not UTF-8, has no header with the required
    columns, or a row has more or fewer fields than the header.
    """
    with _open_reader(path) as reader:
        positions, width = _read_header(path, reader, required, optional)
        rows = filter(None, reader)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            try:
                columns = tuple(zip(*chunk, strict=True))
            except ValueError:
                columns = ()
            if len(columns) != width:
                yield _repaired(path, chunk, width, positions, (required, optional))
                continue
            absent = ("",) * len(chunk)
            yield tuple(
                absent if at is None else tuple(map(str.strip, columns[at])) for at in positions
            )


def column_names(path: Path) -> tuple[str, ...]:
    """The names in the header, in lower case; DataError as `column_chunks`."""
    with _open_reader(path) as reader:
        header = next((row for row in reader if not _is_blank(row)), [])
        return tuple(name.strip().lower() for name in header)


def rows_with_lines(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, stripped fields) of each row that is not blank; DataError as `column_chunks`."""
    with _open_reader(path) as reader:
        positions, width = _read_header(path, reader, required, optional)
        line = reader.line_num + 1
        for row in reader:
            if not _is_blank(row):
                if len(row) != width:
                    raise DataError(
                        f"{path}:{line}: the row has {len(row)} fields, the header has {width}"
                    )
                yield line, tuple("" if at is None else row[at].strip() for at in positions)
            line = reader.line_num + 1


def _is_blank(row: Sequence[str]) -> bool:
    """Whether a line held nothing but spaces (csv gives [] for "" and ["  "] for "  ")."""
    return not row or (len(row) == 1 and not row[0].strip())


def _repaired(
    path: Path,
    chunk: list[list[str]],
    width: int,
    positions: Sequence[int | None],
    names: tuple[Sequence[str], Sequence[str]],
) -> Columns:
    """The columns of a chunk, lines of spaces left out; DataError when a row is truly ragged."""
    kept = [row for row in chunk if not _is_blank(row)]
    if any(len(row) != width for row in kept):
        for _ in rows_with_lines(path, *names):
            pass
        raise DataError(f"{path}: the file changed while it was read")
    return tuple(tuple("" if at is None else row[at].strip() for row in kept) for at in positions)


@contextmanager
def _open_reader(path: Path) -> Iterator[Reader]:
    """A csv reader over the file; failures to read or decode it become DataError."""
    try:
        with TextIOWrapper(open_named(path), encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            try:
                yield reader
            except csv.Error as error:
                raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not a CSV file") from None
    except UnicodeDecodeError as error:
        line = _line_of_bad_bytes(path)
        raise DataError(f"{path}:{line}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _line_of_bad_bytes(path: Path) -> int:
    """The number of the first line that is not UTF-8."""
    with open_named(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _read_header(
    path: Path, reader: Reader, required: Sequence[str], optional: Sequence[str]
) -> tuple[list[int | None], int]:
    """Where each wanted column stands (None: not in the file), and how many columns there are."""
    header = next((row for row in reader if not _is_blank(row)), None)
    if header is None:
        raise DataError(f"{path}: the file is empty; its first line must be {','.join(required)}")
    names = [name.strip().lower() for name in header]
    missing = [name for name in required if name not in names]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        found = ", ".join(quoted(name.strip()) for name in header[:20])
        found += ", ..." if len(header) > 20 else ""
        hint = ""
        if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
            hint = "; fields must be separated by commas"
        raise DataError(
            f"{path}:{reader.line_num}: missing column{plural} {', '.join(missing)} in the header "
            f"(columns found: {found}){hint}"
        )
    for name in (*required, *optional):
        if names.count(name) > 1:
            raise DataError(f"{path}:{reader.line_num}: the header names column {name} twice")
    positions = [names.index(name) if name in names else None for name in (*required, *optional)]
    return positions, len(header)


def quoted(text: str, longest: int = 60) -> str:
    """A value in double quotes, on one line and not too long, as a message shows it."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def to_number(text: str) -> float | None:
    """The finite number that `text` means in a data file; None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python reads "1_0" as 10; a data file does not mean that.
    return value if math.isfinite(value) and "_" not in text else None
