"""Ratings and plays of many users: cut apart by user, put together, and grouped by genre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.factorization.ratings import Catalogue, Ratings, last_of_each_pair
from openfl.learning.factorization.song_data import SongData

Numbers = NDArray[np.int64]


def user_ids(data: SongData) -> tuple[str, ...]:
    """Who the users are."""
    return data.ratings.users


def join_songs(parts: Sequence[SongData]) -> SongData:
    """All of them as if they stood in one file, one after the other: of ratings of the same song by
    the same user the last one counts."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0].ratings
    users, user_index = _interned([part.ratings.users for part in parts])
    songs, song_index = _interned([part.ratings.songs for part in parts])
    user = np.concatenate(
        [index[p.ratings.user_index] for index, p in zip(user_index, parts, strict=True)]
    )
    song = np.concatenate(
        [index[p.ratings.song_index] for index, p in zip(song_index, parts, strict=True)]
    )
    kept = last_of_each_pair(user, song, len(songs))
    left_out: dict[str, tuple[str, ...]] = {}
    named: dict[str, object] = {}
    for part in parts:
        for who, what in part.ratings.left_out.items():
            left_out[who] = (*left_out.get(who, ()), *what)
        named |= {song_id: part.catalogue.get(song_id) for song_id in part.catalogue}
    ratings = Ratings(
        users=users,
        songs=songs,
        user_index=user[kept],
        song_index=song[kept],
        values=np.concatenate([part.ratings.values for part in parts])[kept],
        scale=(
            min(part.ratings.scale[0] for part in parts),
            max(part.ratings.scale[1] for part in parts),
        ),
        duplicates=sum(part.ratings.duplicates for part in parts) + len(user) - len(kept),
        source=first.source,
        left_out=left_out,
        skipped=sum(part.ratings.skipped for part in parts),
    )
    catalogue = Catalogue(named, sum(p.catalogue.skipped for p in parts))  # type: ignore[arg-type]
    return SongData(ratings, catalogue)


def join_ratings(parts: Sequence[SongData]) -> SongData:
    """As `join_songs`; DataError when the scales of the files differ."""
    first, *others = (part.ratings for part in parts)
    for other in others:
        if other.scale != first.scale:
            (low, high), (lower, higher) = first.scale, other.scale
            raise DataError(
                f"{other.source}: ratings are from {lower:g} to {higher:g}, but from {low:g} to"
                f" {high:g} in {first.source}: set data.rating_scale"
            )
    return join_songs(parts)


def favourite_genres(data: SongData) -> Numbers:
    """int64[users]: the genre (numbered by name) that each user rated most often. DataError when
    the catalogue names no genres."""
    ratings = data.ratings
    songs = [data.catalogue.get(song) for song in ratings.songs]
    names = sorted({song.genre for song in songs if song is not None and song.genre})
    if not names:
        raise DataError(
            "the data names no genres, which this split goes by: put a songs.csv with a column"
            " genre beside it"
        )
    number = {name: n for n, name in enumerate(names)}
    of_song = np.array(
        [number[s.genre] if s is not None and s.genre else -1 for s in songs], dtype=np.int64
    )
    genre = of_song[ratings.song_index]
    known = genre >= 0
    counts = np.zeros((len(ratings.users), len(names)), dtype=np.int64)
    np.add.at(counts, (ratings.user_index[known], genre[known]), 1)
    favourite: Numbers = counts.argmax(axis=1)
    return favourite


def upside_down(data: SongData) -> SongData:
    """The same ratings turned round: the best becomes the worst."""
    ratings = data.ratings
    low, high = (np.float32(bound) for bound in ratings.scale)
    return replace(
        data, ratings=replace(ratings, values=np.clip(low + high - ratings.values, low, high))
    )


def made_up_songs(
    users: int,
    user: Numbers,
    item: Numbers,
    values: NDArray[np.float32],
    scale: tuple[float, float],
) -> SongData:
    """What `users` users rated or played. user, item: int64[n], numbers; values: float32[n]."""
    occurring, item = np.unique(item, return_inverse=True)
    ratings = Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"i{n}" for n in occurring),
        user_index=user.astype(np.int32),
        song_index=item.astype(np.int32),
        values=values,
        scale=scale,
    )
    return SongData(ratings)


def equal_communities(users: int, communities: int) -> Numbers:
    """int64[users]: communities of equal size, give or take one, in order."""
    found: Numbers = np.arange(users) * communities // users
    return found


def _interned(
    lists: Sequence[tuple[str, ...]],
) -> tuple[tuple[str, ...], list[NDArray[np.int32]]]:
    """(each id once, in order of appearance; for each list: the places of its ids there)."""
    places: dict[str, int] = {}
    indices = []
    for ids in lists:
        found = [places.setdefault(name, len(places)) for name in ids]
        indices.append(np.array(found, dtype=np.int32))
    return tuple(places), indices
