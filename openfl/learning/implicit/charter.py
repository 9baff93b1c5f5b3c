"""The charter of a group that learns from plays or likes: which items, not which stars.

Three tables. `items`: a row of factors an item; its prior is 0, because the ridge on items is part
of what members propose (see `openfl.learning.implicit.task`). `listeners` and `plays` have
one row each, the upper triangle of a symmetric matrix: the mean of p p^T over a member's users,
and over its plays, each by its user. The group's weighted mean of the first, times its total
evidence, is the sum over all users there are. The last column of `plays` is the mean over plays
of how often the user played that item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Encoding, TableSchema
from openfl.core.errors import GroupError
from openfl.items import OPAQUE, key_bits
from openfl.learning.charter_values import (
    encoding_of,
    number,
    out_of_range,
    plain_table,
    reading,
    refuse_to_found,
    refuse_unknown,
    refuse_unusable,
    whole,
)
from openfl.learning.factorization.item_names import items_from, items_hyperparameters

TASK_KIND = "implicit"
ITEMS = "items"
LISTENERS = "listeners"
PLAYS = "plays"
ONLY_ROW: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
"""The keys of `listeners` and of `plays`."""

FACTOR_INITIAL_SCALE = 0.3
MAX_FACTORS = 64
USUAL_FACTORS = 16
USUAL_DAMPING = 1.5
USUAL_PRIOR = 8.0
"""Ranking profits from more factors than predicting stars: NDCG@10 on ml-100k is a tenth higher
with 16 than with 8, and lower again with 32."""
MATRIX_VALUE_LIMIT = 1000.0


@dataclass(frozen=True, slots=True)
class ImplicitParameters:
    """Hyperparameters of Hu, Koren and Volinsky (2008). An item played s times is preferred with
    confidence `1 + alpha * min(s, plays_limit)`, one never played is not with confidence 1.
    `prior + prior_per_evidence * plays` is the ridge on the factors of an item or user with so
    many plays in training; `damping` multiplies the shared estimate of an item's curvature;
    `encoding` is how items' rows travel, `items` how they are named (see `openfl.items`)."""

    factors: int
    alpha: float
    plays_limit: float
    damping: float
    prior: float
    prior_per_evidence: float
    encoding: Encoding = "int8"
    items: str = OPAQUE

    @property
    def triangle(self) -> int:
        """Numbers in the upper triangle of a matrix as wide as a row."""
        return self.factors * (self.factors + 1) // 2

    def ridge(self, plays: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: the ridge of items or users with `plays[n]` plays."""
        return self.prior + self.prior_per_evidence * plays


def implicit_charter(
    name: str,
    factors: int = USUAL_FACTORS,
    alpha: float = 1.0,
    plays_limit: float = 10.0,
    damping: float = USUAL_DAMPING,
    prior: float = USUAL_PRIOR,
    prior_per_evidence: float = 0.05,
    encoding: Encoding = "int8",
    seed: int = 0,
    items: str = OPAQUE,
) -> Charter:
    """The charter of a group that learns from plays. ConfigError names all that is out of range."""
    parameters = ImplicitParameters(
        factors=factors,
        alpha=float(alpha),
        plays_limit=float(plays_limit),
        damping=float(damping),
        prior=float(prior),
        prior_per_evidence=float(prior_per_evidence),
        encoding=encoding,
        items=items,
    )
    refuse_to_found(_problems(parameters))
    return Charter(
        name=name,
        task=TASK_KIND,
        tables=_tables(parameters),
        hyperparameters={
            "factors": factors,
            "alpha": parameters.alpha,
            "plays_limit": parameters.plays_limit,
            "damping": parameters.damping,
            "prior": parameters.prior,
            "prior_per_evidence": parameters.prior_per_evidence,
            **items_hyperparameters(items),
        },
        seed=seed,
    )


def implicit_parameters(charter: Charter) -> ImplicitParameters:
    """What a charter says about this task. It may come from a stranger, so all of it is checked.

    GroupError when it is of another task, or its parameters or tables are not what a group that
    learns from plays has.
    """
    with reading(charter, TASK_KIND):
        values = dict(charter.hyperparameters)
        parameters = ImplicitParameters(
            factors=whole(values.pop("factors")),
            alpha=number(values.pop("alpha")),
            plays_limit=number(values.pop("plays_limit")),
            damping=number(values.pop("damping")),
            prior=number(values.pop("prior")),
            prior_per_evidence=number(values.pop("prior_per_evidence")),
            encoding=encoding_of(charter, ITEMS),
            items=items_from(values),
        )
        refuse_unknown(charter, values)
        refuse_unusable(charter, _problems(parameters))
        if charter.tables != _tables(parameters):
            raise GroupError(
                f'group "{charter.name}": its tables are not those of a group that learns from'
                " plays"
            )
    return parameters


def _tables(parameters: ImplicitParameters) -> tuple[TableSchema, ...]:
    factors, triangle = parameters.factors, parameters.triangle
    return (
        TableSchema(
            name=ITEMS,
            width=factors,
            prior=(0.0,) * factors,
            prior_per_evidence=(0.0,) * factors,
            initial_scale=(FACTOR_INITIAL_SCALE,) * factors,
            encoding=parameters.encoding,
            key_bits=key_bits(parameters.items),
        ),
        # Every item feels this matrix, so it is exact; the other only sizes steps.
        plain_table(LISTENERS, triangle, "float32", MATRIX_VALUE_LIMIT),
        plain_table(PLAYS, triangle + 1, "float16", MATRIX_VALUE_LIMIT),
    )


def _problems(parameters: ImplicitParameters) -> list[str]:
    ranges = (
        ("factors", parameters.factors, 1, MAX_FACTORS),
        ("alpha", parameters.alpha, 0.01, 1e3),
        ("plays_limit", parameters.plays_limit, 1.0, MATRIX_VALUE_LIMIT),
        ("damping", parameters.damping, 0.5, 100.0),
        ("prior", parameters.prior, 0.001, 1e6),
        ("prior_per_evidence", parameters.prior_per_evidence, 0.0, 1e3),
    )
    return out_of_range(ranges)
