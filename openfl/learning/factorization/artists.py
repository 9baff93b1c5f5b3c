"""Songs of an artist, and songs like them, as the catalogue names artists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ModelView
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.factorization.recommend import Recommendation, Recommendations
from openfl.learning.factorization.similar import DOUBT, SimilarSongs, neighbours
from openfl.learning.factorization.song_names import folded
from openfl.learning.factorization.wishes import best_of
from openfl.learning.heads import Head


def songs_of(catalogue: Catalogue, artist: str) -> tuple[str, ...]:
    """The ids of the songs by `artist`, ascending, however the name is written."""
    wanted = folded(artist)
    artists = ((song_id, song.artist) for song_id, song in catalogue.songs.items())
    return tuple(sorted(i for i, name in artists if name and folded(name) == wanted))


def top_songs(
    head: Head, model: ModelView, catalogue: Catalogue, artist: str, top: int
) -> Recommendations:
    """What the group likes best of an artist; nothing when the catalogue has no such artist, or the
    group knows no song of theirs. ValueError: `top` < 1."""
    if top < 1:
        raise ValueError("top must be at least 1")
    ids, keys, evidence = _taught(head, model, songs_of(catalogue, artist))
    scores = head.popularity(keys)
    shown = head.shown(scores)
    return Recommendations(
        user="",
        kind="popular",
        head=head.name,
        items=tuple(
            Recommendation(
                ids[n],
                catalogue.songs[ids[n]].title,
                catalogue.songs[ids[n]].artist,
                float(shown[n]),
                float(evidence[n]),
            )
            for n in best_of(scores, top)
        ),
        notes=(head.counted,) if head.counted else (),
    )


def like_artist(
    head: Head,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    artist: str,
    top: int,
) -> SimilarSongs:
    """The `top` songs that are most like those of an artist, theirs among them: like the sum of the
    directions of these, each weighed as `similar` weighs what it finds. Nothing as `top_songs`."""
    ids, keys, evidence = _taught(head, model, songs_of(catalogue, artist))
    rows = head.vectors(keys)
    lengths = np.linalg.norm(rows, axis=1)
    weights = np.where(lengths > 0, evidence / ((evidence + DOUBT) * np.maximum(lengths, 1e-12)), 0)
    vector = weights @ rows
    found = neighbours(head, model, ratings, catalogue, vector, (), top) if len(ids) else ()
    return SimilarSongs(f"artist {artist}", None, artist, head.name, found, ())


def _taught(
    head: Head, model: ModelView, ids: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.uint64], NDArray[np.float64]]:
    """(ids, row keys, evidence) of those songs that some member has taught."""
    keys = item_keys(ids, head.key_bits)
    evidence = model.evidence(head.items, keys)
    known = np.flatnonzero(evidence > 0)
    return tuple(ids[n] for n in known), keys[known], evidence[known]
