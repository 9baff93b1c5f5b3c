"""Letterboxd, IMDb, Goodreads: one's ratings as a table, of films or of books."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from openfl.sources.interactions import Interactions, Item, Kind, Row, in_chunks
from openfl.sources.numbers import to_floats
from openfl.sources.source import Head, Reading, Source
from openfl.sources.table import date
from openfl.sources.table_rows import column_chunks

UNRATED = "not rated"
_ISBN13 = re.compile(r"97[89]\d{10}")

_Cells = Sequence[Sequence[str]]
_At = Callable[[str], int | None]


def _rows(
    reading: Reading,
    rating: str,
    dates: tuple[str, ...],
    wanted: tuple[str, ...],
    item: Callable[..., Item],
) -> Iterator[Row]:
    """Rows with a rating above 0. rating, dates: plain names of columns, of dates the first that
    there is. item: made of the texts in the columns `wanted`, "" where the table has none."""
    table = reading.head.table
    assert table is not None
    when_at = table.position(*dates)
    places = [table.names.get(name) for name in wanted]
    for columns in column_chunks(reading, table):
        blank = ("",) * len(columns.places)
        ratings = np.nan_to_num(to_floats(columns.cells[table.names[rating]], table.decimal_comma))
        whens = blank if when_at is None else columns.cells[when_at]
        texts = zip(*(blank if at is None else columns.cells[at] for at in places), strict=True)
        each = zip(columns.places, ratings.tolist(), whens, texts, strict=True)
        for place, value, when, parts in each:
            if value <= 0:
                reading.drop(UNRATED, place)
            else:
                yield Row(place, item(*parts), value, date(when))


def film(title: str, year: str) -> Item:
    """A film as films are named: "Title (1999)"."""
    year = year.strip()
    return Item(f"{title.strip()} ({year})" if year and title.strip() else title)


def book(title: str, author: str, isbn13: str, isbn: str) -> Item:
    """A book, by its ISBN-13 when it has one (Goodreads writes ="9780441172719")."""
    for text in (isbn13, isbn):
        if found := _ISBN13.search(text.replace("-", "")):
            return Item(title, author, found[0])
    return Item(title, author)


def _letterboxd(head: Head) -> float:
    if not head.has_columns("name", "year", "rating"):
        return 0.0
    return 1.0 if head.has_columns("letterboxduri") else 0.7


def _read_letterboxd(reading: Reading) -> Iterator[Interactions]:
    rows = _rows(reading, "rating", ("date", "watcheddate"), ("name", "year"), film)
    yield from in_chunks(rows, Kind.RATING)


def _imdb(head: Head) -> float:
    return float(head.has_columns("const", "yourrating", "title"))


def _read_imdb(reading: Reading) -> Iterator[Interactions]:
    rows = _rows(reading, "yourrating", ("daterated", "created"), ("title", "year"), film)
    yield from in_chunks(rows, Kind.RATING)


def _goodreads(head: Head) -> float:
    return float(head.has_columns("bookid", "title", "author", "myrating"))


def _read_goodreads(reading: Reading) -> Iterator[Interactions]:
    wanted = ("title", "author", "isbn13", "isbn")
    rows = _rows(reading, "myrating", ("dateread", "dateadded"), wanted, book)
    yield from in_chunks(rows, Kind.RATING)


LETTERBOXD = Source(
    "letterboxd", "Letterboxd ratings", "film", _letterboxd, _read_letterboxd, scale=(0.5, 5.0)
)
IMDB = Source("imdb", "IMDb ratings", "film", _imdb, _read_imdb, scale=(1.0, 10.0))
GOODREADS = Source(
    "goodreads", "Goodreads library", "book", _goodreads, _read_goodreads, scale=(1.0, 5.0)
)
