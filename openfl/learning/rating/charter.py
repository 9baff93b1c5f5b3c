"""The charter of a group that learns ratings, and the unit its numbers are in.

Within a model, ratings are in units in which every scale is 4.5 wide and centred on 0: the stars
from 0.5 to 5, moved. So the defaults for priors hold on every scale, and a row's values are of
order 1 whether people rate 1 to 5 or 0 to 100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Encoding, TableSchema
from openfl.core.errors import DataError, GroupError
from openfl.items import OPAQUE, key_bits
from openfl.learning.charter_values import (
    encoding_of,
    number,
    out_of_range,
    reading,
    refuse_to_found,
    refuse_unknown,
    refuse_unusable,
    whole,
)
from openfl.learning.factorization.item_names import items_from, items_hyperparameters
from openfl.learning.factorization.rating_scale import STRAY_WIDENS, Scale, format_scale
from openfl.learning.factorization.ratings import MAX_RATING, Ratings, locate_rating_outside
from openfl.learning.rating.relevance import RELEVANCE
from openfl.learning.rating.user_prior import USER_PRIOR
from openfl.learning.ridge import SAFE_RIDGE

TASK_KIND = "rating"
ITEMS = "items"
MEAN = "mean"
MEAN_KEYS: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
"""The only row of the table `mean`."""

FACTOR_INITIAL_SCALE = 0.3
"""Seeded factors break the symmetry of the first step; from 0.1 a group needs a round more, from
0.5 it ends slightly worse."""
MAX_FACTORS = 64
USUAL_FACTORS = 8
USUAL_DAMPING = 1.0
USUAL_PRIOR = 7.0
USUAL_USER_PRIOR = 0.4
USUAL_RELEVANCE = 50.0
_UNIT_WIDTH = 4.5


@dataclass(frozen=True, slots=True)
class RatingParameters:
    """Hyperparameters of the rating task. `prior + prior_per_evidence * n` is the ridge on the
    factors of a song (or user) with n ratings, `bias_prior` that on its bias; `damping`
    multiplies the curvature of every step; `encoding` is how songs' rows travel. `user_prior` is
    the ridge, for each user, on the matrix by which users are expected to like things because of
    which items they rated (see `openfl.learning.rating.user_prior`); 0: there is no such matrix.
    `items` is how songs are named (see `openfl.items`). `relevance` is how much weaker the ridge of
    users is along directions in which items differ (see `openfl.learning.rating.relevance`); 0: it
    is the same in all."""

    scale: Scale
    factors: int
    damping: float
    prior: float
    prior_per_evidence: float
    bias_prior: float
    encoding: Encoding = "int8"
    user_prior: float = 0.0
    items: str = OPAQUE
    relevance: float = 0.0

    @property
    def precision(self) -> type[np.floating]:
        """What sums over ratings are gathered in (see `openfl.learning.ridge.SAFE_RIDGE`)."""
        least = min(self.prior, self.bias_prior)
        return np.float32 if least >= SAFE_RIDGE else np.float64

    @property
    def width(self) -> int:
        """Columns of a song's row: its factors and its bias, last."""
        return self.factors + 1

    @property
    def unit(self) -> float:
        """How much one unit of the model is in ratings."""
        return (self.scale[1] - self.scale[0]) / _UNIT_WIDTH

    @property
    def centre(self) -> float:
        """The rating in the middle of the scale: 0 in units of the model."""
        return (self.scale[0] + self.scale[1]) / 2

    def to_units(
        self, ratings: NDArray[np.floating], dtype: type[np.floating] = np.float64
    ) -> NDArray[Any]:
        """Ratings in units of the model; floats of `dtype`."""
        units = ratings.astype(dtype)
        units -= dtype(self.centre)
        units /= dtype(self.unit)
        return units

    def to_ratings(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `to_units`."""
        return units * self.unit + self.centre

    def ridge(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n, width]: the prior's precision of a row with `counts[n]` ratings."""
        ridge = np.empty((len(counts), self.width))
        ridge[:, :-1] = (self.prior + self.prior_per_evidence * counts)[:, None]
        ridge[:, -1] = self.bias_prior
        return ridge


def rating_charter(
    name: str,
    scale: Scale = (0.5, 5.0),
    factors: int = USUAL_FACTORS,
    damping: float = USUAL_DAMPING,
    prior: float = USUAL_PRIOR,
    prior_per_evidence: float = 0.05,
    bias_prior: float = 5.0,
    encoding: Encoding = "int8",
    seed: int = 0,
    user_prior: float = USUAL_USER_PRIOR,
    items: str = OPAQUE,
    relevance: float = USUAL_RELEVANCE,
) -> Charter:
    """The charter of a rating group. ConfigError names every parameter that is out of range.

    With `user_prior` 0, `relevance` 0 and opaque items it is to the bit what versions before 0.2
    make, whose nodes can join.
    """
    parameters = RatingParameters(
        scale=(float(scale[0]), float(scale[1])),
        factors=factors,
        damping=float(damping),
        prior=float(prior),
        prior_per_evidence=float(prior_per_evidence),
        bias_prior=float(bias_prior),
        encoding=encoding,
        user_prior=float(user_prior),
        items=items,
        relevance=float(relevance),
    )
    refuse_to_found(_problems(parameters))
    return Charter(
        name=name,
        task=TASK_KIND,
        tables=_tables(parameters),
        hyperparameters={
            "scale_min": parameters.scale[0],
            "scale_max": parameters.scale[1],
            "factors": factors,
            "damping": parameters.damping,
            "prior": parameters.prior,
            "prior_per_evidence": parameters.prior_per_evidence,
            "bias_prior": parameters.bias_prior,
            **({USER_PRIOR: parameters.user_prior} if parameters.user_prior else {}),
            **({RELEVANCE: parameters.relevance} if parameters.relevance else {}),
            **items_hyperparameters(items),
        },
        seed=seed,
    )


def rating_parameters(charter: Charter) -> RatingParameters:
    """What a charter says about this task. It may come from a stranger, so all of it is checked.

    GroupError when it is of another task, or its parameters or tables are not what a rating group
    has.
    """
    with reading(charter, TASK_KIND):
        values = dict(charter.hyperparameters)
        parameters = RatingParameters(
            scale=(number(values.pop("scale_min")), number(values.pop("scale_max"))),
            factors=whole(values.pop("factors")),
            damping=number(values.pop("damping")),
            prior=number(values.pop("prior")),
            prior_per_evidence=number(values.pop("prior_per_evidence")),
            bias_prior=number(values.pop("bias_prior")),
            encoding=encoding_of(charter, ITEMS),
            user_prior=number(values.pop(USER_PRIOR, 0.0)),
            items=items_from(values),
            relevance=number(values.pop(RELEVANCE, 0.0)),
        )
        refuse_unknown(charter, values)
        refuse_unusable(charter, _problems(parameters))
        if charter.tables != _tables(parameters):
            raise GroupError(f'group "{charter.name}": its tables are not those of a rating group')
    return parameters


def check_ratings_fit(charter: Charter, ratings: Ratings) -> RatingParameters:
    """The charter's parameters, when these ratings can be learned under it.

    GroupError as `rating_parameters`. DataError when a rating is outside the group's scale (names
    file and line), or all of them lie on a far narrower scale, such as stars in a group that rates
    0 to 100: mixing these would spoil the group's model.
    """
    parameters = rating_parameters(charter)
    if not len(ratings):
        raise DataError(f"{ratings.source or 'ratings'}: there are no ratings to learn from")
    low, high = parameters.scale
    lowest, highest = float(ratings.values.min()), float(ratings.values.max())
    group = f'the scale {format_scale(parameters.scale)} of group "{charter.name}"'
    if lowest < np.float32(low) or highest > np.float32(high):
        worst = lowest if lowest < np.float32(low) else highest
        at, value = locate_rating_outside(ratings.source, parameters.scale) or (
            ratings.source or "ratings",
            f"{worst:g}",
        )
        values = ratings.values
        outside = int(((values < np.float32(low)) | (values > np.float32(high))).sum())
        raise DataError(
            f"{at}: column rating: {value} is outside {group} ({outside:,} of {len(values):,} here"
            f' are); data.rating_scale = "{format_scale((low, high))}" with'
            " data.skip_bad_rows = true goes on without them"
        )
    if STRAY_WIDENS * (ratings.scale[1] - ratings.scale[0]) < high - low:
        raise DataError(
            f"{ratings.source or 'ratings'}: the ratings are on the scale"
            f" {format_scale(ratings.scale)}, and {group} is far wider. Nothing is wrong with these"
            " ratings: the group rates otherwise, or was founded with a wrong rating among its"
            " founder's"
        )
    return parameters


def _tables(parameters: RatingParameters) -> tuple[TableSchema, ...]:
    factors = parameters.factors
    tables = (
        TableSchema(
            name=ITEMS,
            width=parameters.width,
            prior=(parameters.prior,) * factors + (parameters.bias_prior,),
            prior_per_evidence=(parameters.prior_per_evidence,) * factors + (0.0,),
            initial_scale=(FACTOR_INITIAL_SCALE,) * factors + (0.0,),
            encoding=parameters.encoding,
            key_bits=key_bits(parameters.items),
        ),
        # One number that everything is measured from: exact, so float32, and hardly shrunk.
        TableSchema(
            name=MEAN,
            width=1,
            prior=(0.001,),
            prior_per_evidence=(0.0,),
            initial_scale=(0.0,),
            encoding="float32",
        ),
    )
    if not parameters.user_prior:
        return tables
    users = TableSchema(
        name=USER_PRIOR,
        width=parameters.width,
        prior=(0.0,) * parameters.width,
        prior_per_evidence=(parameters.user_prior,) * parameters.width,
        initial_scale=(0.0,) * parameters.width,
        encoding="float16",
    )
    return (*tables, users)


def _problems(parameters: RatingParameters) -> list[str]:
    low, high = parameters.scale
    ranges = (
        ("factors", parameters.factors, 1, MAX_FACTORS),
        ("damping", parameters.damping, 0.5, 100.0),
        ("prior", parameters.prior, 0.001, 1e6),
        ("prior_per_evidence", parameters.prior_per_evidence, 0.0, 1e3),
        ("bias_prior", parameters.bias_prior, 0.001, 1e6),
        (USER_PRIOR, parameters.user_prior or 0.001, 0.001, 1e3),
        (RELEVANCE, parameters.relevance, 0.0, 1e6),
    )
    problems = out_of_range(ranges)
    width = high - low
    if not (math.isfinite(width) and width > 1e-6):
        problems.append(
            f"the rating scale {low:.9g} to {high:.9g} must be two numbers, the smaller first"
        )
    elif max(abs(low), abs(high)) > MAX_RATING:
        problems.append(f"the rating scale {low:.9g} to {high:.9g} must lie within +-1e9")
    return problems
