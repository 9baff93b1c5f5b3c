"""The kind "implicit" in words, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.config.kinds.description import KindDescription
from openfl.config.kinds.factorization import FactorizationTask
from openfl.config.settings import setting


@dataclass(frozen=True, slots=True)
class ImplicitData:
    """How plays are read."""

    min_strength: float = setting(
        1.0,
        "a song counts as played by a user from so many plays on, or, in a file of ratings, from"
        " such a rating on; then as one play. 4 takes only good ratings for likes.",
        unit="plays",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    max_plays: float = setting(
        0.0,
        "most plays that a row can have. 0: a few rows of a million or more, and a hundred times as"
        " many as all others, are refused as mistakes.",
        unit="plays",
        minimum=0,
        maximum=1e9,
    )


@dataclass(frozen=True, slots=True)
class ImplicitTask:
    """Beside `FactorizationTask`."""

    alpha: float = setting(
        1.0,
        "how much more a play says than no play. A song played n times counts 1 + alpha * n, one"
        " that was not counts 1.",
        minimum=0.01,
        maximum=1_000,
    )
    plays_limit: float = setting(
        10.0,
        "plays of one song by one user beyond this say nothing more.",
        unit="plays",
        minimum=1,
        maximum=1_000,
    )


IMPLICIT = KindDescription(
    name="implicit",
    predicts="which songs are played, from plays or likes",
    data_file="user_id, song_id, and one of plays, count and rating, or none of them when each row"
    " is a play",
    settings=(("data", ImplicitData), ("task", FactorizationTask), ("task", ImplicitTask)),
    reread=("max_plays",),
    metric="ndcg_loss",
    example="play",
    score="preference",
    popularity="plays counted",
    evidence="plays counted",
)
