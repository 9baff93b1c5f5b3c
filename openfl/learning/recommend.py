"""Which songs to play next: predictions for one listener from a group's model.

Needs no running node: a model (live, or from a model file), the owner's ratings and a catalogue.
The listener is fitted to the model on the spot, from all of their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openfl.contribution import Charter, ModelView
from openfl.learning.matrix_factorization import item_keys, learned_rows
from openfl.learning.rating_charter import (
    ITEMS,
    MEAN,
    MEAN_KEYS,
    RatingParameters,
    rating_parameters,
)
from openfl.learning.ratings import Catalogue, Ratings
from openfl.learning.ridge import solve_ridge, with_constant

FEW_RATINGS = 5
POPULAR_SHRINKAGE = 10.0
"""A song's lead over the mean counts half when the group has this many ratings of it."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One song. `score` is the rating expected of the listener, within the group's scale."""

    song_id: str
    title: str | None
    artist: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Songs for one listener, best first.

    kind: "known" - from the listener's ratings in this node's data; "folded-in" - from ratings
    given with the question; "popular" - nothing is known of the listener, so this is what the group
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
        values = dict(plain)
        values["items"] = tuple(Recommendation(**item) for item in values["items"])
        values["notes"] = tuple(values["notes"])
        return cls(**values)


@dataclass(frozen=True)
class Listener:
    """One listener fitted to a model: factors float64[k], and a bias; units of the model."""

    factors: NDArray[np.float64]
    bias: float


def fold_in(
    charter: Charter, model: ModelView, keys: NDArray[np.uint64], ratings: NDArray[np.float64]
) -> Listener:
    """The listener who gave `ratings[n]` to the songs with row `keys[n]`; exact (ridge).

    GroupError when the charter is not of the rating task.
    """
    parameters = rating_parameters(charter)
    rows = learned_rows(model, keys)
    features = with_constant(rows[:, :-1])
    left = parameters.to_units(ratings) - _mean(model) - rows[:, -1]
    solution = solve_ridge(
        (features.T @ features)[None],
        (features.T @ left)[None],
        parameters.ridge(np.array([float(len(keys))])),
    )[0]
    return Listener(solution[:-1], float(solution[-1]))


def predict(
    charter: Charter, model: ModelView, listener: Listener, keys: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """float64[n]: the rating expected for each song, on the group's scale but not clipped to it."""
    rows = learned_rows(model, keys)
    raw = _mean(model) + listener.bias + rows[:, -1] + rows[:, :-1] @ listener.factors
    return rating_parameters(charter).to_ratings(raw)


def recommend(
    charter: Charter,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    user: str,
    top: int,
    own: Mapping[str, float] | None = None,
) -> Recommendations:
    """The `top` songs for `user` among those not rated yet.

    Only songs named in the catalogue or rated in `ratings` can be recommended, and only when some
    member of the group has rated them. `own` ({song id: rating}) answers for a listener who is not
    in the data. Ties go to the smaller song id. GroupError: the charter is not of the rating task.
    ValueError: `top` < 1.
    """
    if top < 1:
        raise ValueError("top must be at least 1")
    parameters = rating_parameters(charter)
    given = own if own is not None else (ratings.of_user(user) if ratings is not None else {})
    known_songs = set(catalogue) | set(ratings.songs if ratings is not None else ())
    candidates = np.array(sorted(known_songs - set(given)), dtype=object)
    keys = item_keys(tuple(candidates))
    evidence = model.evidence(ITEMS, keys)
    rated_by_group = evidence > 0
    candidates, keys = candidates[rated_by_group], keys[rated_by_group]
    evidence = evidence[rated_by_group]

    notes: list[str] = []
    kind: Literal["known", "folded-in", "popular"]
    if given:
        kind = "known" if own is None else "folded-in"
        listener = fold_in(
            charter, model, item_keys(tuple(given)), np.array(list(given.values()), dtype=float)
        )
        scores = predict(charter, model, listener, keys)
        if len(given) < FEW_RATINGS:
            plural = "" if len(given) == 1 else "s"
            notes.append(f"user {user} has only {len(given)} rating{plural}: expect rough guesses")
    else:
        kind = "popular"
        scores = _popularity(parameters, model, keys, evidence)
        notes.append(f"user {user} has no ratings here: these are the songs the group likes best")
    if not len(candidates):
        notes.append("the model knows no song that could be recommended")
    elif len(candidates) < top:
        plural = "song is" if len(candidates) == 1 else "songs are"
        notes.append(f"only {len(candidates)} {plural} left that user {user} has not rated")
    # Candidates are sorted by id, and the sort is stable: equal scores keep that order.
    best = np.argsort(-scores, kind="stable")[:top]
    shown = np.clip(scores, *parameters.scale)
    return Recommendations(
        user=user,
        kind=kind,
        head="rating",
        items=tuple(_named(catalogue, candidates[n], float(shown[n])) for n in best),
        notes=tuple(notes),
    )


def _named(catalogue: Catalogue, song_id: str, score: float) -> Recommendation:
    song = catalogue.get(song_id)
    if song is None:
        return Recommendation(song_id, None, None, score)
    return Recommendation(song_id, song.title, song.artist, score)


def _mean(model: ModelView) -> float:
    return float(model.rows(MEAN, MEAN_KEYS)[0, 0])


def _popularity(
    parameters: RatingParameters,
    model: ModelView,
    keys: NDArray[np.uint64],
    evidence: NDArray[np.float64],
) -> NDArray[np.float64]:
    """float64[n]: each song's mean rating, shrunk to the overall mean the fewer ratings it has."""
    biases = model.rows(ITEMS, keys)[:, -1].astype(np.float64)
    shrunk = biases * evidence / (evidence + POPULAR_SHRINKAGE)
    return parameters.to_ratings(_mean(model) + shrunk)
