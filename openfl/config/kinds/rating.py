"""The kind "rating" in words, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openfl.config.kinds.description import Complaint, KindDescription
from openfl.config.kinds.factorization import FactorizationTask
from openfl.config.settings import setting
from openfl.config.text_checks import rating_bounds, rating_scale_problem

if TYPE_CHECKING:
    from openfl.config.sections import Config


@dataclass(frozen=True, slots=True)
class RatingData:
    """How ratings are read."""

    rating_scale: str = setting(
        "auto",
        'lowest and highest possible rating, such as "0.5-5". "auto" detects it when a group is'
        " founded and takes the group's when one is joined; a few ratings far off the scale of all"
        " others are then refused as mistakes, and a scale given here says that they are none.",
        allowed='"auto" or "LOWEST-HIGHEST"',
        check_text=rating_scale_problem,
    )

    @property
    def rating_bounds(self) -> tuple[float, float] | None:
        """(lowest, highest) rating; None when it is to be detected."""
        return rating_bounds(self.rating_scale)


@dataclass(frozen=True, slots=True)
class RatingTask:
    """Beside `FactorizationTask`."""

    bias_prior: float = setting(
        5.0,
        "how strongly the average of a song is held near the average of all: 5 for dense data, 3"
        " for sparse data.",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    user_prior: float = setting(
        0.4,
        "how strongly it is held near nothing what the group learns of people's taste from which"
        " songs they rated, whatever they gave them. 0: the group does not learn it, as groups"
        " founded by version 0.1.0, whose nodes can then join (with relevance 0, too).",
        minimum=0,
        maximum=1e3,
    )
    relevance: float = setting(
        50.0,
        "how much less strongly users' vectors are held near where they are expected, along"
        " directions in which the group's songs differ much: more for data with many ratings of"
        " each song. 0: alike along all, as groups founded by version 0.1.0.",
        minimum=0,
        maximum=1e6,
    )


def _complaints(config: Config) -> Iterator[Complaint]:
    if config.privacy.enabled and config.own(RatingData).rating_bounds is None:
        yield (
            ("privacy.enabled", "data.rating_scale"),
            "privacy.enabled needs data.rating_scale, for example 0.5-5: a scale detected from the"
            " ratings would be told to everybody",
        )


RATING = KindDescription(
    name="rating",
    predicts="the rating of a song",
    data_file="the columns user_id, song_id and rating",
    settings=(("data", RatingData), ("task", FactorizationTask), ("task", RatingTask)),
    reread=("rating_scale",),
    complaints=_complaints,
    metric="rmse",
    example="rating",
    score="rating expected",
    popularity="rating expected",
    evidence="ratings",
    private=True,
)
