"""Songs like a song, by the rows of a group's model.

Two songs are alike as far as the same people like them: that is all a model knows of them. The
measure is the cosine of their vectors, times n / (n + `DOUBT`) for a song that the group has
evidence n of. A row with little evidence points where its one or two listeners happen to be, and
would lead every list otherwise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ModelView
from openfl.core.errors import GroupError
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.factorization.song_names import find_song, label
from openfl.learning.factorization.wishes import best_of
from openfl.learning.heads import Head

DOUBT = 10.0
"""Of 0 to 300 the one with which neighbours share a genre most often (benchmarks/novelty.py)."""


@dataclass(frozen=True, slots=True)
class SimilarSong:
    """likeness: -1 to 1. evidence: how many ratings of it, or counted plays, the group has."""

    song_id: str
    title: str | None
    artist: str | None
    likeness: float
    evidence: float


@dataclass(frozen=True, slots=True)
class SimilarSongs:
    """Songs like one song, most alike first. `notes` are sentences to show."""

    song_id: str
    title: str | None
    artist: str | None
    head: str
    items: tuple[SimilarSong, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def similar(
    head: Head,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    song: str,
    top: int,
) -> SimilarSongs:
    """The `top` songs that are most like `song`, which is named as for `find_song`, among those
    that have a name here and that some member of the group has ratings (or plays) of.

    UsageError: no song, or several, are called so. GroupError: the model knows nothing of it.
    ValueError: `top` < 1.
    """
    if top < 1:
        raise ValueError("top must be at least 1")
    known = set(catalogue) | set(ratings.songs if ratings is not None else ())
    wanted = find_song(song, catalogue, known)
    name = catalogue.get(wanted)
    own_key = item_keys((wanted,), head.key_bits)
    vector = head.vectors(own_key)[0]
    if not model.evidence(head.items, own_key)[0] or not vector.any():
        raise GroupError(
            f"{label(catalogue, wanted)}: the group has learned nothing of it that could be"
            " compared, as no member has taught it"
        )
    items = neighbours(head, model, ratings, catalogue, vector, (wanted,), top)
    notes = []
    same = [i for i in catalogue.songs if i != wanted and catalogue.songs[i].title == song.strip()]
    if same:
        names = ", ".join(label(catalogue, i) for i in sorted(same)[:3])
        notes.append(f"{song} is taken as the id of a song; called so: {names}")
    if not items:
        notes.append("no other song that the group knows has a name here")
    return SimilarSongs(
        song_id=wanted,
        title=None if name is None else name.title,
        artist=None if name is None else name.artist,
        head=head.name,
        items=items,
        notes=tuple(notes),
    )


def neighbours(
    head: Head,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    vector: NDArray[np.float64],
    but: tuple[str, ...],
    top: int,
) -> tuple[SimilarSong, ...]:
    """The `top` songs that point most where `vector`, float64[k], does, without those in `but`; of
    equal ones the smaller id first. ValueError: `top` < 1."""
    if top < 1:
        raise ValueError("top must be at least 1")
    known = set(catalogue) | set(ratings.songs if ratings is not None else ())
    others = np.array(sorted(known - set(but)), dtype=object)
    keys = item_keys(tuple(others), head.key_bits)
    evidence = model.evidence(head.items, keys)
    others, keys, evidence = others[evidence > 0], keys[evidence > 0], evidence[evidence > 0]
    rows = head.vectors(keys)
    lengths = np.linalg.norm(rows, axis=1) * float(np.linalg.norm(vector))
    cosine = rows @ vector / np.where(lengths > 0, lengths, 1.0)
    likeness = np.clip(cosine, -1.0, 1.0) * evidence / (evidence + DOUBT)
    return tuple(
        _named(catalogue, others[n], float(likeness[n]), float(evidence[n]))
        for n in best_of(likeness, top)
    )


def _named(catalogue: Catalogue, song_id: str, likeness: float, evidence: float) -> SimilarSong:
    song = catalogue.get(song_id)
    title, artist = (None, None) if song is None else (song.title, song.artist)
    return SimilarSong(song_id, title, artist, likeness, evidence)
