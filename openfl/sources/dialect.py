"""How a table is written: its separator, its header, its quotes, and whether decimals have a comma.

Found out from its first lines alone, by trying every separator there is in such files and taking
the one that gives the most fields, alike in all lines. (`csv.Sniffer` knows no "::" and takes a
letter for a separator where there is only one column; clevercsv is exact and takes seconds.)
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from openfl.core.errors import DataError
from openfl.sources.column_names import known_name, plain_name
from openfl.sources.options import ReadOptions

SEPARATORS = ("\t", ";", "::", "|", ",")
"""Commas come last: they stand in numbers and titles, too."""
_CERTAIN = ("\t", ";")
"""Hardly ever anything but a separator, when they cut all lines alike."""
_ALIKE = 0.75
"""Least part of the lines that a separator must cut into the same number of fields."""
_LOOKED_AT = 100
"""Lines."""
_IN_WORDS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": '"|"',
    "::": '"::"',
    " ": "spaces",
}
_STAND_IN = "\x1f"
"""Of a separator of more than one character, which the csv module does not know."""
_NUMBER = re.compile(r'="?[\d]*"?|[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?')
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


@dataclass(frozen=True)
class Table:
    """How a table is read. header: the names in it, as written; empty when it has none. width:
    columns. rows: the first ones, without the header. quoted: whether fields may be in quotes.
    escape: "\\\\" where a backslash stands before a quote within a field, else None."""

    separator: str
    quoted: bool
    escape: str | None
    header: tuple[str, ...]
    width: int
    rows: Sequence[Sequence[str]] = field(repr=False)

    @cached_property
    def names(self) -> dict[str, int]:
        """Plain name -> the position of the column."""
        return {plain_name(name): at for at, name in reversed(list(enumerate(self.header)))}

    def position(self, *names: str) -> int | None:
        """Of the first of some columns, by plain name, that there is."""
        return next((self.names[name] for name in names if name in self.names), None)

    @cached_property
    def decimal_comma(self) -> bool:
        """Whether numbers are written 4,5."""
        if self.separator == ",":
            return False
        return any(_DECIMAL_COMMA.fullmatch(cell.strip()) for row in self.rows for cell in row)

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The fields of each line, the header's too."""
        return _reader(lines, self.separator, self.quoted, self.escape)

    @property
    def in_words(self) -> str:
        """ "columns separated by tabs, no header"."""
        words = f"columns separated by {_IN_WORDS.get(self.separator, repr(self.separator))}"
        if self.decimal_comma:
            words += ", decimal commas"
        return words if self.header else f"{words}, no header"


def table_of(text: str, whole: bool, options: ReadOptions) -> Table | None:
    """How the table that begins with `text` is read; None when it is no table of two columns or
    more. DataError: `data.separator` cuts nothing."""
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text, maxsplit=4 * _LOOKED_AT)
    lines = [line for line in lines if line]
    if not whole and len(lines) > 1:
        lines.pop()  # may be cut off
    if not lines:
        return None
    found = _with_separator(lines, options.separator) if options.separator else _cut(lines)
    if found is None:
        if options.separator:
            raise DataError(
                f"data.separator = {options.separator!r}: the first line has no such separator:"
                f" {lines[0].strip()[:80]!r}"
            )
        return None
    separator, quoted, escape, rows = found
    width = Counter(map(len, rows)).most_common(1)[0][0]
    has_header = _has_header(rows, width)
    header = tuple(name.strip() for name in rows[0]) if has_header else ()
    return Table(separator, quoted, escape, header, width, rows[1 if has_header else 0 :])


_Cut = tuple[str, bool, "str | None", list[list[str]]]


def _cut(lines: Sequence[str]) -> _Cut | None:
    best: tuple[tuple[int, int], _Cut] | None = None
    for separator in SEPARATORS:
        found = _with_separator(lines, separator)
        if found is None:
            continue
        widths = Counter(map(len, found[3]))
        width, count = widths.most_common(1)[0]
        alike = count / len(found[3])
        if width < 2 or alike < _ALIKE or len(found[3][0]) != width:
            continue
        if separator in _CERTAIN:
            return found
        score = (int(10 * alike), width)
        if best is None or score > best[0]:
            best = score, found
    if best is not None:
        return best[1]
    found = _with_separator(lines, " ")
    if found is None:
        return None
    # Words are separated by spaces as well: of numbers only, as in "1 257 4.5".
    rows = found[3]
    numbers = all(_NUMBER.fullmatch(cell) for row in rows[1:] or rows for cell in row)
    return found if numbers and len(set(map(len, rows))) == 1 and len(rows[0]) > 1 else None


def _with_separator(lines: Sequence[str], separator: str) -> _Cut | None:
    """The first rows, cut at `separator`; None when it does not occur in them."""
    if not any(separator in line for line in lines[:_LOOKED_AT]):
        return None
    parts = [part.strip() for line in lines[:_LOOKED_AT] for part in line.split(separator)]
    in_quotes = sum(len(part) > 1 and part[0] == part[-1] == '"' for part in parts)
    quoted = separator in (",", ";") or in_quotes > len(parts) // 20
    escape = "\\" if quoted and any('\\"' in line for line in lines) else None
    rows: list[list[str]] = []
    try:
        for row in islice(_reader(lines, separator, quoted, escape), _LOOKED_AT):
            if any(cell.strip() for cell in row):
                rows.append(row)
    except csv.Error:
        pass
    return (separator, quoted, escape, rows) if rows else None


def _reader(
    lines: Iterable[str], separator: str, quoted: bool, escape: str | None
) -> Iterator[list[str]]:
    if separator == " ":
        return (line.split() for line in lines)
    if len(separator) > 1:
        long = separator
        lines = (line.replace(long, _STAND_IN) for line in lines)
        separator = _STAND_IN
    return csv.reader(
        lines,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        escapechar=escape,
    )


def _has_header(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the first row names columns: it has no number, and some column below it has only
    numbers, or each of its names is one that `columns` knows."""
    first = [cell.strip() for cell in rows[0]]
    if any(not cell or _NUMBER.fullmatch(cell) for cell in first if cell) or not any(first):
        return False
    if sum(known_name(plain_name(cell)) for cell in first) >= min(2, width):
        return True
    below = [row for row in rows[1:] if len(row) == width]
    if not below or len(first) != width:
        return False
    return any(all(_NUMBER.fullmatch(row[at].strip()) for row in below) for at in range(width))
