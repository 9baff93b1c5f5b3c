"""Reading named columns of a CSV file, fast, with errors that name the file, line and column.

The fast path hands out whole columns, a chunk of rows at a time, and knows no line numbers. Once
anything is wrong with a row, `BadRows` ends it, and the file is read once more, slowly and exactly:
by `read_table`, which then lists all bad rows, lowest line first, or goes on without them. So good
files cost nothing for the quality of the message about bad ones.

The rule for whoever reads another kind of file: what is wrong with one row is a text that
`Table.problem` returns, never an exception of its own, so that a file's problems come out together
and each can be left out. What is wrong with the file (missing, no header) is a DataError.
"""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from openfl.core.errors import DataError
from openfl.core.files import open_named
from openfl.learning.csv_dialect import (
    bad_characters,
    columns_found,
    never_closed,
    quoted,
    separator_hint,
    separator_of,
)

if TYPE_CHECKING:
    from _csv import Reader
    from typing import TextIO

CHUNK_ROWS = 4096
# Larger chunks are slower: the garbage collector walks every list of a row that is alive.
MAX_HEADER_LINES = 20
MAX_SHOWN = 10
"""Bad rows that a message lists."""
SKIPPING = "start --skip-bad-rows (data.skip_bad_rows = true) goes on without"

Columns = tuple[tuple[str, ...], ...]
T = TypeVar("T")


class BadRows(Exception):
    """Some row cannot be used: which, and why, is for the slow pass to find out."""


def _nothing_wrong(fields: Sequence[str]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Table:
    """A file and what is wanted of it. `problem`: what is wrong with the fields of a row, in the
    order `required + optional`; None when it can be used. `may_skip`: whether the owner can have
    bad rows left out. `advice`: what else can be done about bad rows."""

    path: Path
    required: Sequence[str]
    optional: Sequence[str] = ()
    problem: Callable[[Sequence[str]], str | None] = _nothing_wrong
    may_skip: bool = True
    advice: str = ""


@dataclass(slots=True)
class _Bad:
    """The bad rows of a file, as far as they are shown: "path:line: what is wrong"."""

    rows: int = 0
    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(text)


def read_table(table: Table, take: Callable[[Iterator[Columns]], T], skip: bool) -> tuple[T, int]:
    """(what `take` makes of the chunks of columns, how many bad rows were left out).

    `take` raises BadRows when it cannot use a value that `table.problem` has words for. DataError:
    as `column_chunks`; and, unless they are to be skipped, when there are bad rows: all of them are
    counted, the first `MAX_SHOWN` listed.
    """
    try:
        return take(column_chunks(table.path, table.required, table.optional)), 0
    except BadRows:
        pass
    bad = _Bad()
    chunks = _sound_chunks(table, bad)
    if not (skip and table.may_skip):
        for _ in chunks:
            pass
        raise DataError(_listed(table, bad))
    try:
        taken = take(chunks)
    except BadRows:
        raise DataError(f"{table.path}: the file changed while it was read") from None
    if bad.rows == bad.count:
        raise DataError(_listed(table, bad))
    return taken, bad.count


def column_chunks(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Columns]:
    """Column tuples of up to `CHUNK_ROWS` rows, in the order `required + optional`; stripped, and
    in the normal form C of Unicode, so that one id is one text however it was typed.

    An optional column that the file lacks is a column of empty strings. Blank lines are skipped.
    DataError: the file cannot be read, is empty, or has no header with the required columns.
    BadRows: a row has more or fewer fields than the header, or is no UTF-8 text or CSV.
    """
    with _opened(path) as stream:
        _, positions, width = _read_header(path, stream, required, optional)
        rows = filter(None, _csv_reader(stream))
        try:
            while chunk := list(islice(rows, CHUNK_ROWS)):
                try:
                    columns = tuple(zip(*chunk, strict=True))
                except ValueError:
                    columns = ()
                if len(columns) != width:
                    chunk = [row for row in chunk if not _is_blank(row)]
                    if any(len(row) != width for row in chunk):
                        raise BadRows
                    columns = tuple(zip(*chunk, strict=True)) or ((),) * width
                absent = ("",) * len(chunk)
                yield tuple(
                    absent if at is None else _canonical_column(columns[at]) for at in positions
                )
        except csv.Error:
            raise BadRows from None


def column_names(path: Path) -> tuple[str, ...]:
    """The names in the header, in lower case; empty for an empty file. DataError: it cannot be
    read, or its first line is not CSV."""
    with _opened(path) as stream:
        return tuple(name.strip().lower() for name in _header(path, stream)[1])


def rows_with_lines(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, canonical fields) of each row that has the form of one; slow. DataError as
    `column_chunks`."""
    for line, row in _rows(path, required, optional):
        if not isinstance(row, str):
            yield line, row


def canonical(text: str) -> str:
    """`text` as ids and labels are compared: without space around it, in normal form C."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def to_number(text: str) -> float | None:
    """The finite number that `text` means in a data file; None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python reads "1_0" as 10; a data file does not mean that.
    return value if math.isfinite(value) and "_" not in text else None


def not_a_number(text: str) -> str:
    """What is wrong with a text that should be a finite number (within float32)."""
    if not text:
        return "is empty"
    try:
        float(text.replace("_", "x"))
    except ValueError:
        hint = ""
        if re.fullmatch(r"[+-]?\d{1,3}([,' \u00a0\u202f]\d{3})+([.,]\d+)?|[+-]?\d+,\d+", text):
            hint = " (numbers are written like 1234.5: a decimal point, nothing between thousands)"
        return f"{quoted(text)} is not a number{hint}"
    return f"{quoted(text)} is not a finite number"


# --- the slow pass --------------------------------------------------------------------------------


def _sound_chunks(table: Table, bad: _Bad) -> Iterator[Columns]:
    """As `column_chunks`, without the bad rows, which are counted in `bad`."""
    chunk: list[tuple[str, ...]] = []
    for line, row in _rows(table.path, table.required, table.optional):
        bad.rows += 1
        problem = row if isinstance(row, str) else table.problem(row)
        if problem is not None:
            bad.add(f"{table.path}:{line}: {problem}")
            continue
        assert not isinstance(row, str)
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield tuple(zip(*chunk, strict=True))
            chunk = []
    if chunk:
        yield tuple(zip(*chunk, strict=True))


def _listed(table: Table, bad: _Bad) -> str:
    """One line for one bad row; else a heading that counts, a line each, and what can be done."""
    if not bad.count:
        return f"{table.path}: the file changed while it was read"
    one = bad.count == 1
    ways = [table.advice] if table.advice else []
    if table.may_skip and bad.count < bad.rows:
        ways.append(f"{SKIPPING} {'this row' if one else 'these rows'}")
    if one:
        return "; ".join([bad.shown[0], *ways])
    first = "" if bad.count <= MAX_SHOWN else f"; the first {MAX_SHOWN}"
    head = f"{table.path}: {bad.count:,} of {bad.rows:,} rows cannot be used{first}:"
    return "\n".join([head, *bad.shown, *ways])


def _rows(
    path: Path, required: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, tuple[str, ...] | str]]:
    """(line, canonical fields) of each row that is not blank, or (line, what is wrong with it)."""
    with _opened(path) as stream:
        header_line, positions, width = _read_header(path, stream, required, optional)
        for line, last, row in _records(stream, header_line + 1):
            if isinstance(row, str):
                yield line, row
            elif not _is_blank(row):
                if len(row) != width:
                    yield line, _ragged(row, width, line, last)
                    continue
                fields = tuple("" if at is None else canonical(row[at]) for at in positions)
                yield line, bad_characters("".join(fields)) or fields


def _ragged(row: Sequence[str], width: int, line: int, last: int) -> str:
    hint = separator_hint(row[0]) if len(row) == 1 else ""
    if last > line:
        hint = f" (it goes on to line {last}: is a quote not closed?)"
    return f"the row has {len(row)} fields, the header has {width}{hint}"


def _records(stream: TextIO, line: int) -> Iterator[tuple[int, int, list[str] | str]]:
    """(first line, last line, fields or what is wrong) of each record of the rest of a file, which
    begins at `line`. After one that is no CSV it goes on at the next line, so that an unclosed
    quote costs one row and not the rest of the file."""
    again: deque[str] = deque()
    taken: list[str] = []

    def lines() -> Iterator[str]:
        while True:
            text = again.popleft() if again else stream.readline()
            if not text:
                return
            taken.append(text)
            yield text

    reader = _csv_reader(lines())
    while True:
        taken.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            opened = never_closed(taken)
            at, end = line + (opened or 0), line + len(taken) - 1
            problem = str(error)
            if opened is not None:
                problem = "the quote that opens on this line is never closed"
            elif end > at:
                problem = f"a quote that opens on this line ends on line {end}, within a field"
            yield at, at, f"not valid CSV: {problem}"
            again.extendleft(reversed(taken[at - line + 1 :]))
            reader, line = _csv_reader(lines()), at + 1
            continue
        if row is None:
            return
        yield line, line + len(taken) - 1, row
        line += len(taken)


# --- opening, and the header ----------------------------------------------------------------------


def _is_blank(row: Sequence[str]) -> bool:
    """Whether a line held nothing but spaces (csv gives [] for "" and ["  "] for "  ")."""
    return not row or (len(row) == 1 and not row[0].strip())


def _canonical_column(column: tuple[str, ...]) -> tuple[str, ...]:
    """BadRows: see `bad_characters`."""
    text = "".join(column)
    if bad_characters(text):
        raise BadRows
    return tuple(map(str.strip if text.isascii() else canonical, column))


def _csv_reader(lines: Iterator[str] | TextIO) -> Reader:
    return csv.reader(lines, skipinitialspace=True, strict=True)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a file, bytes that are not UTF-8 as lone surrogates; failures to open or read it
    become DataError."""
    try:
        with TextIOWrapper(
            open_named(path), encoding="utf-8-sig", newline="", errors="surrogateescape"
        ) as stream:
            yield stream
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not a CSV file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _header(path: Path, stream: TextIO) -> tuple[int, list[str]]:
    """(last line, fields) of the first record that is not blank; no fields when the file is empty.
    What follows it can be read from `stream`. DataError when it is no CSV."""
    taken: list[str] = []
    first, last = 1, 0
    for last, text in enumerate(iter(stream.readline, ""), start=1):
        taken.append(text)
        try:
            row = next(_csv_reader(iter(taken)), [])
        except csv.Error as error:
            if never_closed(taken) is not None and len(taken) < MAX_HEADER_LINES:
                continue  # a name may go on on the next line
            what = columns_found(path, taken[:1]) if separator_of(taken[0]) else str(error)
            raise DataError(f"{path}:{first}: the header is not valid CSV: {what}") from None
        if not _is_blank(row):
            return last, row
        taken.clear()
        first = last + 1
    if taken:
        raise DataError(f"{path}:{first}: not valid CSV: the quote that opens here is never closed")
    return max(1, last), []


def _read_header(
    path: Path, stream: TextIO, required: Sequence[str], optional: Sequence[str]
) -> tuple[int, list[int | None], int]:
    """(its line, where each wanted column stands, or None, how many columns there are)."""
    line, header = _header(path, stream)
    if not header:
        raise DataError(f"{path}: the file is empty; its first line must be {','.join(required)}")
    names = [name.strip().lower() for name in header]
    missing = [name for name in required if name not in names]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise DataError(
            f"{path}:{line}: missing column{plural} {', '.join(missing)} in the header "
            f"{columns_found(path, header)}"
        )
    for name in (*required, *optional):
        if names.count(name) > 1:
            raise DataError(f"{path}:{line}: the header names column {name} twice")
    positions = [names.index(name) if name in names else None for name in (*required, *optional)]
    return line, positions, len(header)
