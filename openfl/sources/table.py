"""Any table of ratings, plays or likes: MovieLens, Book-Crossing, u.data, and what people make.

Which column is what is told by the header (`column_names`), by the owner (`data.columns.*`), or,
without a header, by what the columns hold: user, item, rating and time, as in u.data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.sources import clock
from openfl.sources.column_names import plain_name
from openfl.sources.columns import roles_of
from openfl.sources.dialect import Table
from openfl.sources.interactions import NO_TIME, Interactions, Item, Kind
from openfl.sources.numbers import to_floats
from openfl.sources.source import Head, Items, Reading, Source
from openfl.sources.table_rows import Columns, column_chunks

UNRATED = "not rated (0 where ratings begin at 1)"
_UNIX_TIME = (1e8, 5e9)
_MAX_GRADES = 101
"""Different ratings that a column may hold to pass for ratings where no header says so."""
_FEW = 3
_TITLES_OR_IDS = frozenset({"track", "song", "movie", "film", "book", "item"})


def roles(head: Head) -> dict[str, int]:
    """Role -> column, of a table that has interactions; empty when it has none that can be told."""
    table = head.table
    if table is None:
        return {}
    found = roles_of(table, head.options, head.name)
    if not table.header:
        taken = set(found.values())
        guessed = {role: at for role, at in _by_content(table).items() if at not in taken}
        found = guessed | found
    if "artist" in found and "title" not in found and _is_title(table, found.get("item")):
        found["title"] = found.pop("item")
    says_what = "item" in found or "title" in found
    says_how = {"user", "rating", "plays"} & found.keys() or (
        "item" not in found and {"title", "artist"} <= found.keys()
    )
    if not says_what or not says_how or _is_about_words(table, found):
        return {}
    if "user" not in found and _of_many_people(table, found):
        return {}
    if "rating" in found and not any(head.options.columns.values()):
        values = to_floats([row[found["rating"]] for row in _full(table)], table.decimal_comma)
        if len(values) and np.isnan(values).all():
            return {}  # texts, such as "PG-13"
    return found


def _is_title(table: Table, at: int | None) -> bool:
    """Whether a column called "track" or the like has titles, not numbers."""
    if at is None or not table.header or plain_name(table.header[at]) not in _TITLES_OR_IDS:
        return False
    return any(any(c.isalpha() for c in row[at]) for row in _full(table))


def _of_many_people(table: Table, found: dict[str, int]) -> bool:
    """Whether rows without a user seem to be of several people: items come again, without a time,
    and there is a column of which it is not known what it is."""
    if "time" in found or len(found) >= table.width:
        return False
    names = [found[role] for role in ("item", "title", "artist") if role in found]
    rows = _full(table)
    items = {tuple(row[at] for at in names) for row in rows}
    return len(items) < 0.9 * len(rows)


def _is_about_words(table: Table, found: dict[str, int]) -> bool:
    """Whether the rows are what people wrote about items, such as MovieLens' tags.csv."""
    return "tag" in table.names and not ({"rating", "plays"} & found.keys())


def is_catalogue(head: Head) -> bool:
    """Whether the table says what items are called, and nothing of people."""
    table = head.table
    if table is None or any(head.options.columns.values()):
        return False
    found = roles_of(table, head.options, head.name) if table.header else _catalogue_columns(table)
    said = {"item", "title"} <= found.keys()
    return said and not ({"user", "rating", "plays"} & found.keys())


def _catalogue_columns(table: Table) -> dict[str, int]:
    """Of a list of items without a header, such as movies.dat: an id, and a title with letters."""
    rows = _full(table)
    if len(rows) < _FEW or table.width < 2:
        return {}
    ids = [row[0] for row in rows]
    titles = [row[1] for row in rows]
    named = sum(any(c.isalpha() for c in title) for title in titles)
    if len(set(ids)) == len(ids) and all(i.isdecimal() for i in ids) and named > 0.9 * len(titles):
        return {"item": 0, "title": 1}
    return {}


def _full(table: Table) -> Sequence[Sequence[str]]:
    return [row for row in table.rows if len(row) == table.width]


def _by_content(table: Table) -> dict[str, int]:
    """The columns of a table without a header, as far as they can be told."""
    rows = _full(table)
    columns = [
        to_floats([row[at] for row in rows], table.decimal_comma) for at in range(table.width)
    ]
    numeric = [not np.isnan(values).any() for values in columns]
    if table.width == 2:
        people = {row[0] for row in rows}
        return {"user": 0, "item": 1} if len(rows) >= _FEW and len(people) < len(rows) else {}
    if table.width not in (3, 4) or not numeric[2]:
        return {}
    found = {"user": 0, "item": 1}
    if _is_time(columns[2]):
        return found | {"time": 2} if table.width == 3 else {}
    if len(np.unique(columns[2])) > _MAX_GRADES or float(columns[2].max()) > 100:
        found["plays"] = 2
    else:
        found["rating"] = 2
    if table.width == 4 and numeric[3] and _is_time(columns[3]):
        found["time"] = 3
    elif table.width == 4:
        return {}
    return found


def _is_time(values: NDArray[np.float64]) -> bool:
    return bool(values.min() > _UNIX_TIME[0] and values.max() < _UNIX_TIME[1])


def _sniff(head: Head) -> float:
    return 0.6 if roles(head) else 0.0


def _sniff_catalogue(head: Head) -> float:
    return 0.55 if is_catalogue(head) else 0.0


def _read(reading: Reading) -> Iterator[Interactions]:
    table = reading.head.table
    found = roles(reading.head)
    if table is None or not found:
        raise DataError(
            f"{reading.part.name}: it cannot be told which column is what; say it, for example"
            ' data.columns.user = "1" and data.columns.item = "2"'
        )
    reading.remarks.append(_assumed(table, found))
    kind = Kind.RATING if "rating" in found else Kind.PLAY
    if kind == Kind.PLAY and "time" not in found:
        kind = Kind.COUNT
    unrated = _has_unrated_zeros(reading.head, found)
    known = _ById()
    for columns in column_chunks(reading, table):
        yield from _interactions(reading, table, found, kind, unrated, columns, known)


def _interactions(
    reading: Reading,
    table: Table,
    found: dict[str, int],
    kind: Kind,
    unrated: bool,
    columns: Columns,
    known: _ById,
) -> Iterator[Interactions]:
    cells, count = columns.cells, len(columns.places)
    strength_at = found.get("rating" if kind == Kind.RATING else "plays")
    if strength_at is None:
        strength = np.ones(count)
    else:
        strength = to_floats(cells[strength_at], table.decimal_comma)
    chunk = Interactions(
        kind,
        _items(cells, found, count, known),
        strength,
        _times(cells[found["time"]]) if "time" in found else [NO_TIME] * count,
        columns.places,
        list(map(str.strip, cells[found["user"]])) if "user" in found else None,
        # Rows beside each other are plays beside each other, unless each has its own time.
        adds=kind == Kind.COUNT or (kind == Kind.PLAY and "plays" in found),
    )
    yield without_zeros(reading, chunk) if unrated else chunk


def without_zeros(reading: Reading, chunk: Interactions) -> Interactions:
    """The rows with a rating; a 0 stands for none."""
    rated = np.asarray(chunk.strength) != 0
    for at in np.flatnonzero(~rated).tolist():
        reading.drop(UNRATED, chunk.places[at])
    keep = np.flatnonzero(rated).tolist()
    return Interactions(
        chunk.kind,
        [chunk.items[at] for at in keep],
        np.asarray(chunk.strength)[rated],
        np.asarray(chunk.times)[rated],
        [chunk.places[at] for at in keep],
        None if chunk.people is None else [chunk.people[at] for at in keep],
        adds=chunk.adds,
    )


def _has_unrated_zeros(head: Head, found: dict[str, int]) -> bool:
    """Whether 0 means that there is no rating, as in Book-Crossing."""
    table = head.table
    assert table is not None
    if "rating" not in found:
        return False
    values = to_floats([row[found["rating"]] for row in _full(table)], table.decimal_comma)
    values = values[~np.isnan(values)]
    books = {"isbn", "bookrating"} <= table.names.keys()
    return books and len(values) > 0 and bool((values == 0).any())


class _ById(dict[str, Item]):
    """Id -> the item that has nothing else, one object for each."""

    def __missing__(self, text: str) -> Item:
        self[text] = item = Item(id=text)
        return item


def _items(
    cells: Sequence[Sequence[str]], found: dict[str, int], count: int, known: _ById
) -> Sequence[Item]:
    blank = ("",) * count
    title = cells[found["title"]] if "title" in found else blank
    artist = cells[found["artist"]] if "artist" in found else blank
    item = cells[found["item"]] if "item" in found else blank
    if title is blank and artist is blank:
        return list(map(known.__getitem__, item))
    return list(map(Item, title, artist, item))


def _times(texts: Sequence[str]) -> NDArray[np.int64]:
    """Unix seconds of a column, of numbers or dates."""
    values = to_floats(texts)
    if np.isnan(values).all() and any(texts):
        return np.array([date(text) for text in texts], np.int64)
    for _ in range(2):
        values = np.where(values > 4.2e9, values / 1000, values)
    good = (values > 0) & (values < 4.2e9)
    return np.where(good, np.nan_to_num(values), NO_TIME).astype(np.int64)


def date(text: str) -> int:
    """Of a date as tables have them; NO_TIME when it is none that can be told."""
    found = clock.from_iso(text)
    if found != NO_TIME or not text.strip():
        return found
    return clock.from_form(
        text,
        "%Y/%m/%d",
        "%Y/%m/%d %H:%M:%S",
        "%d %b %Y, %H:%M",
        "%d %b %Y %H:%M",
        "%d %b %Y",
        "%d.%m.%Y",
    )


def _assumed(table: Table, found: dict[str, int]) -> str:
    """ "read as: user = userId, item = movieId; columns separated by commas"."""
    columns = ", ".join(
        f"{role} = {table.header[at] if table.header else f'column {at + 1}'}"
        for role, at in found.items()
    )
    if "user" not in found:
        columns += ", all of one person (data.columns.user names another)"
    return f"{columns}; {table.in_words} (data.columns, data.separator say otherwise)"


def _read_catalogue(reading: Reading) -> Iterator[Interactions]:
    """No rows; the names go to what other files of the same reading tell of."""
    table = reading.head.table
    assert table is not None
    found = roles_of(table, reading.options, reading.part.name)
    if not table.header:
        found = _catalogue_columns(table)
    labels = reading.memory.setdefault("labels", {})
    for columns in column_chunks(reading, table):
        artists = (
            columns.cells[found["artist"]] if "artist" in found else ("",) * len(columns.places)
        )
        ids, titles = columns.cells[found["item"]], columns.cells[found["title"]]
        for item, title, artist in zip(ids, titles, artists, strict=True):
            labels[item.strip()] = (title, artist)
    yield from ()


def _items_in(head: Head) -> Items:
    """Music or books, where artists or authors and titles are told and no ids; else ids."""
    found = roles(head)
    if "item" in found or not {"title", "artist"} <= found.keys():
        return "opaque"
    table = head.table
    by = plain_name(table.header[found["artist"]]) if table is not None and table.header else ""
    return "book" if "author" in by else "music" if "artist" in by else "opaque"


TABLE = Source("table", "table", "opaque", _sniff, _read, items_in=_items_in)
CATALOGUE = Source("catalogue", "names of items", "opaque", _sniff_catalogue, _read_catalogue)
