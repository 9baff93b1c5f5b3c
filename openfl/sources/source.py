"""What a source is: the beginning of a file it looks at, a file it reads, its two functions."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from openfl.core.errors import DataError
from openfl.sources.containers import Part, counted, told_of
from openfl.sources.dialect import Table, table_of
from openfl.sources.interactions import Drops, Interactions
from openfl.sources.json_records import split
from openfl.sources.limits import HEAD_BYTES
from openfl.sources.options import ReadOptions
from openfl.sources.text import Encoding, as_utf8, decoded_head, encoding_of

if TYPE_CHECKING:
    from typing import BinaryIO
Items = Literal["music", "film", "book", "opaque"]
"""What is heard, seen or read; it says how an item is named (`identity.item_id`)."""


@dataclass(frozen=True)
class Head:
    """The beginning of a file, in the forms that a source may look for its marks in."""

    name: str
    data: bytes
    whole: bool
    encoding: Encoding
    options: ReadOptions

    @cached_property
    def text(self) -> str:
        """Decoded; a letter at the end may be missing."""
        return decoded_head(self.data, self.encoding, self.whole).removeprefix("\ufeff")

    @cached_property
    def json_start(self) -> str:
        """ "[" or "{", when it begins as JSON does; else empty."""
        first = self.text[:1000].lstrip()[:1]
        return first if first in ("[", "{") else ""

    @property
    def records(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """(key, object) of its first JSON records (see `json_records.split`), up to 50."""
        return self._json_records[0]

    @property
    def json_problem(self) -> str:
        """Why it has no JSON records, when that is for a fault of the file; else empty."""
        return "" if self.records else self._json_records[1]

    @cached_property
    def _json_records(self) -> tuple[Sequence[tuple[str, dict[str, Any]]], str]:
        found: list[tuple[str, dict[str, Any]]] = []
        if not self.json_start:
            return found, ""
        try:
            for key, record in split(io.BytesIO(self.text.encode(errors="replace")), self.name):
                value = _json(record)
                if isinstance(value, dict):
                    found.append((key, value))
                if len(found) == 50:
                    break
        except DataError as error:
            # The head ends somewhere; what is wrong with the rest is found when it is read.
            ends = not self.whole and "cut off" in str(error)
            return found, "" if ends else str(error).removeprefix(f"{self.name}: ")
        return found, ""

    @cached_property
    def first_line(self) -> dict[str, Any] | None:
        """The object in the first line, of a file with one a line."""
        line = self.text.lstrip().partition("\n")[0]
        value = _json(line.encode(errors="replace")) if line.startswith("{") else None
        return value if isinstance(value, dict) else None

    @cached_property
    def table(self) -> Table | None:
        """How it reads as a table; None when it does not."""
        if self.json_start or not self.text.strip() or self.text.lstrip().startswith("<"):
            return None
        return table_of(self.text, self.whole, self.options)

    def has_columns(self, *names: str) -> bool:
        """Whether it is a table with a header that has these names (`dialect.plain_name`)."""
        return self.table is not None and set(names) <= self.table.names.keys()


def _json(data: bytes) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


@dataclass
class Reading:
    """One file that is being read, and what is to be told of it."""

    part: Part
    head: Head
    options: ReadOptions
    drops: Drops
    advance: Callable[[int], None]
    """Called with numbers of bytes as they are read."""
    remarks: list[str] = field(default_factory=list)
    """What was assumed, and what does not look right."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What files of one export tell each other, by the name of their source."""

    def drop(self, reason: str, place: int) -> None:
        """A row (its line, or the number of its record) is left out."""
        self.drops.add(reason, f"{self.part.name}:{place}")

    def stream(self) -> BinaryIO:
        """Its bytes, from the start."""
        return counted(self.part.stream(), self.advance)

    def open_utf8(self) -> BinaryIO:
        """Its text as UTF-8, from the start."""
        return as_utf8(self.stream(), self.head.encoding)


@dataclass(frozen=True)
class Source:
    """One kind of export. name: as `data.format` has it. title: for people. sniff: how sure it is,
    0 to 1, that a file is one of its own. read: its rows; DataError for what is wrong with a file.
    order: files of lower order are read first, within one source. scale: that of its ratings, when
    the source says so."""

    name: str
    title: str
    items: Items
    sniff: Callable[[Head], float]
    read: Callable[[Reading], Iterator[Interactions]]
    order: Callable[[Head], int] = lambda head: 0
    scale: tuple[float, float] | None = None
    choose: Callable[[Sequence[Head]], dict[str, str]] = lambda heads: {}
    """Of all its files in one reading: the name of each that is not to be read -> why."""
    items_in: Callable[[Head], Items] | None = None
    """What a file is about, where that is not always `items`."""

    def items_of(self, head: Head) -> Items:
        """What a file of this source is about."""
        return self.items if self.items_in is None else self.items_in(head)


def head_of(part: Part, options: ReadOptions) -> Head:
    """The beginning of a file. DataError: it cannot be read."""
    with told_of(part.name), part.stream() as stream:
        data = stream.read(HEAD_BYTES)
        whole = len(data) < HEAD_BYTES or not stream.read(1)
    return Head(part.name, data, whole, encoding_of(data, whole, options.encoding), options)
