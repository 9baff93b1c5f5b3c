"""How a group names its songs: in its charter, and in the data of its members.

A group of music, films or books goes by what items are called (`openfl.items`): the ids of a file
become canonical names, and what else is a member's business, its file's ids, ends here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Hyperparameter
from openfl.core.errors import ConfigError, DataError, GroupError
from openfl.items import KINDS, OPAQUE, RULES_VERSION, Label, NoName, isbn13, label_name, label_of
from openfl.learning.factorization.ratings import (
    Catalogue,
    Ratings,
    Song,
    last_of_each_pair,
)
from openfl.learning.factorization.song_data import SongData

ITEMS = "items"
ITEMS_VERSION = "items_version"
"""Hyperparameters of a charter; groups that name items by their ids have neither."""


def items_hyperparameters(kind: str) -> dict[str, Hyperparameter]:
    """What a new charter says of how its members name items; ConfigError for an unknown kind."""
    if kind not in KINDS:
        raise ConfigError(f"items are {' or '.join(KINDS)}, not {kind!r:.40}")
    return {} if kind == OPAQUE else {ITEMS: kind, ITEMS_VERSION: RULES_VERSION}


def items_from(values: dict[str, Hyperparameter]) -> str:
    """The kind of items, taken out of a charter's hyperparameters, which may be a stranger's.
    ValueError when the charter names them by rules that are not known here."""
    kind = values.pop(ITEMS, OPAQUE)
    version = values.pop(ITEMS_VERSION, None)
    if kind == OPAQUE and version is None:
        if ITEMS in values:
            raise ValueError(f'"{OPAQUE}" items are not said')
        return OPAQUE
    if kind not in KINDS or kind == OPAQUE:
        raise ValueError(f"items {kind!r:.40} are not known here")
    if isinstance(version, bool) or version != RULES_VERSION:
        raise ValueError(
            f"it names items by version {version!r:.20} of the rules, this node by {RULES_VERSION}"
        )
    return str(kind)


def items_of(charter: Charter | None, task: str, otherwise: str) -> str:
    """The kind of items of a group of this task; `otherwise` without one, or when it is of rules
    that are not known."""
    if charter is None or charter.task != task:
        return otherwise
    try:
        return items_from(dict(charter.hyperparameters))
    except ValueError:
        return otherwise


def check_items(charter: Charter, kind: str, own: str) -> None:
    """GroupError unless the group names items as this node does."""
    if kind != own:
        raise GroupError(
            f'group "{charter.name}" names its items by "{kind}"; this node does by "{own}"'
            " (task.items)"
        )


def name_items(data: SongData, kind: str, add: bool, skip: bool) -> SongData:
    """The data with canonical names for ids, in the data as in its catalogue.

    `add`: values of songs that turn out to be one are added up (plays); otherwise the last counts.
    DataError when songs of the data have no name, unless `skip`: then they are left out.
    """
    if kind == OPAQUE:
        return data
    ratings, catalogue = data.ratings, data.catalogue
    labels = {i: label for i in catalogue if (label := _label(kind, i, catalogue.get(i)))}
    for song in ratings.songs:
        if song not in labels and (label := _label(kind, song, None)) is not None:
            labels[song] = label
    names = {song_id: label_name(kind, label) for song_id, label in labels.items()}
    unnamed = [song for song in ratings.songs if song not in names]
    if unnamed and (not skip or len(unnamed) == len(ratings.songs)):
        raise DataError(
            f"{ratings.source or 'ratings'}: {len(unnamed):,} of the {len(ratings.songs):,} songs"
            f' have no name (the first is {unnamed[0]!r:.60}), and task.items = "{kind}" goes by'
            f" names: {_NEEDS[kind]} in a songs.csv (data.catalogue_file), or"
            ' task.items = "opaque"; data.skip_bad_rows = true goes on without them'
        )
    songs: dict[str, Song] = {}
    for song_id, label in labels.items():
        known = catalogue.get(song_id)
        genre = known.genre if known is not None else None
        songs[names[song_id]] = Song(names[song_id], label.title, label.by or None, genre)
    return replace(
        data,
        ratings=_renamed(ratings, names, add),
        catalogue=Catalogue(songs, catalogue.skipped),
        items=kind,
    )


_NEEDS = {
    "music": "song_id, artist and title",
    "film": "song_id and title, with the year behind it in brackets,",
    "book": "ids that are ISBNs, or song_id, artist (the author) and title",
}


def _label(kind: str, song_id: str, song: Song | None) -> Label | None:
    isbn = song_id if kind == "book" else ""
    if song is None and isbn13(isbn) is None:
        return None
    try:
        if song is None:
            return label_of(kind, song_id, isbn=isbn)
        return label_of(kind, song.title, "" if kind == "film" else song.artist or "", isbn)
    except NoName:
        return None


def _renamed(ratings: Ratings, names: dict[str, str], add: bool) -> Ratings:
    """With names for ids, songs of one name joined, and without songs that have none."""
    number: dict[str, int] = {}
    of_song = np.full(len(ratings.songs), -1, dtype=np.int32)
    for at, song in enumerate(ratings.songs):
        if song in names:
            of_song[at] = number.setdefault(names[song], len(number))
    song_index = of_song[ratings.song_index]
    named = song_index >= 0
    users, song_index, values = ratings.user_index[named], song_index[named], ratings.values[named]
    kept = last_of_each_pair(users, song_index, len(number))
    if add and len(kept) < len(values):
        values = _added_up(users, song_index, values, len(number))
    # People all of whose songs are left out are no users any more.
    kept_users, user_index = np.unique(users[kept], return_inverse=True)
    return replace(
        ratings,
        users=tuple(ratings.users[n] for n in kept_users),
        songs=tuple(number),
        user_index=user_index.astype(np.int32),
        song_index=song_index[kept],
        values=values[kept],
        scale=(ratings.scale[0], max(ratings.scale[1], float(values.max()))),
        duplicates=ratings.duplicates + len(values) - len(kept),
        skipped=ratings.skipped + int((~named).sum()),
        left_out={user: _named(songs, names) for user, songs in ratings.left_out.items()},
    )


def _added_up(
    users: NDArray[np.int32], songs: NDArray[np.int32], values: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """float32[n]: for each row, the sum over all rows of its pair."""
    _, number = np.unique(users.astype(np.int64) * count + songs, return_inverse=True)
    sums = np.bincount(number, weights=values.astype(np.float64))
    return np.asarray(sums[number], dtype=np.float32)


def _named(songs: Iterable[str], names: dict[str, str]) -> tuple[str, ...]:
    return tuple(names[song] for song in songs if song in names)
