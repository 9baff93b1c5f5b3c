"""Which songs to play next: predictions for one user from a group's model.

Needs no running node: a model (live, or from a model file), the owner's ratings and a catalogue.
The user is fitted to the model on the spot, from all of their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from openfl.core.contribution import ModelView
from openfl.learning.csv_table import canonical
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.factorization.users import one_user
from openfl.learning.heads import Head

FEW_RATINGS = 5


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One song. `score`: by the head "rating" the rating expected of the user, within the
    group's scale; by "implicit" a preference, about 0 to 1 (for "popular" the group's plays)."""

    song_id: str
    title: str | None
    artist: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Songs for one user, best first.

    kind: "known" - from their ratings in this node's data; "folded-in" - from ratings
    given with the question; "popular" - nothing is known of the user, so this is what the group
    likes best. `notes` are sentences to show.
    """

    user: str
    kind: Literal["known", "folded-in", "popular"]
    head: str
    items: tuple[Recommendation, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values; `from_plain` is its inverse."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Recommendations:
        """The inverse of `to_plain`; KeyError or TypeError when it is not of one."""
        values = dict(plain)
        values["items"] = tuple(Recommendation(**item) for item in values["items"])
        values["notes"] = tuple(values["notes"])
        return cls(**values)


def recommend(
    head: Head,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    user: str,
    top: int,
    own: Mapping[str, float] | None = None,
) -> Recommendations:
    """The `top` songs for `user` among those not rated yet, by the head of `model`.

    Only songs named in the catalogue or met in `ratings` can be recommended, and only when some
    member of the group has ratings (or plays) of them. `own` ({song id: rating or plays}) answers
    for a user who is not in the data. Ties go to the smaller song id. ValueError: `top` < 1.
    """
    if top < 1:
        raise ValueError("top must be at least 1")
    given = own if own is not None else (ratings.of_user(user) if ratings is not None else {})
    given = {canonical(song): value for song, value in given.items()}
    met = set(given) if ratings is None else {*given, *ratings.left_out.get(canonical(user), ())}
    known_songs = set(catalogue) | set(ratings.songs if ratings is not None else ())
    candidates = np.array(sorted(known_songs - met), dtype=object)
    keys = item_keys(tuple(candidates), head.key_bits)
    learned = model.keys(head.items)
    nameless = len(learned) - int(
        np.isin(learned, item_keys(tuple(known_songs), head.key_bits)).sum()
    )
    known_to_group = model.evidence(head.items, keys) > 0
    candidates, keys = candidates[known_to_group], keys[known_to_group]

    notes = list(head.notes)
    kind: Literal["known", "folded-in", "popular"]
    if given:
        kind = "known" if own is None else "folded-in"
        values = np.array(list(given.values()), dtype=float)
        fitted = head.fold_in(one_user(values), item_keys(tuple(given), head.key_bits))
        scores = head.scores(fitted, keys)[0]
        if len(given) < FEW_RATINGS:
            plural = "" if len(given) == 1 else "s"
            notes.append(f"user {user} {head.few.format(len(given), plural)}: expect rough guesses")
    else:
        kind = "popular"
        scores = head.popularity(keys)
        notes.append(f"user {user} {head.nothing}")
    if not len(learned):
        notes.append("nothing is learned yet: the model knows no song")
    elif not len(candidates) and not nameless:
        all_of = "the only song" if len(learned) == 1 else f"all {len(learned):,} songs"
        notes.append(f"user {user} has {head.verb} {all_of} that the model knows")
    elif len(candidates) < top:
        if len(candidates):
            plural = "song is" if len(candidates) == 1 else "songs are"
            notes.append(
                f"only {len(candidates)} {plural} left that user {user} has not {head.verb}"
            )
        if nameless:
            notes.append(_nameless(nameless, len(learned), catalogue))
    # Candidates are sorted by id, and the sort is stable: equal scores keep that order.
    best = np.argsort(-scores, kind="stable")[:top]
    shown = head.shown(scores)
    return Recommendations(
        user=user,
        kind=kind,
        head=head.name,
        items=tuple(_named(catalogue, candidates[n], float(shown[n])) for n in best),
        notes=tuple(notes),
    )


def _nameless(count: int, of: int, catalogue: Catalogue) -> str:
    """Why songs that the model knows cannot be recommended here: keys are no names."""
    songs = f"{count:,} of the {of:,} songs that the model knows"
    if not len(catalogue):
        return (
            f"{songs} have no name here and cannot be recommended: give a songs.csv with song_id"
            " and title (data.catalogue_file)"
        )
    return (
        f"{songs} are not in the catalogue of {len(catalogue):,} (data.catalogue_file) and cannot"
        " be recommended: are there others, or are the ids written otherwise?"
    )


def _named(catalogue: Catalogue, song_id: str, score: float) -> Recommendation:
    song = catalogue.get(song_id)
    if song is None:
        return Recommendation(song_id, None, None, score)
    return Recommendation(song_id, song.title, song.artist, score)
