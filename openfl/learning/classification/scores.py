"""From features to probabilities: the units that features are seen in, and the losses of examples.

Whatever judges a model goes through here: training, held-out metrics, answers, influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Keys, ModelView
from openfl.learning.classification.charter import CENTRE, FEATURE_KEYS, FEATURES, SPREAD

Matrix = NDArray[np.float64]

MIN_PROBABILITY = 1e-9
"""What a prediction counts as that gave the true class no chance."""
MIN_SPREAD = 1e-9
MAX_STANDARDISED = 3.0
"""How far from its centre a feature may seem to be. What hardly ever varies, such as a pixel at the
edge of images, would else be blown up where it does, and be learned by heart."""
BLOCK_CELLS = 1 << 20
"""Numbers in one array while losses are worked out: 8 MB."""


@dataclass(frozen=True, slots=True)
class Units:
    """centre, spread: float64[f]."""

    centre: Matrix
    spread: Matrix

    def standardise(self, values: Matrix) -> Matrix:
        """float64[n, f + 1]: (values - centre) / spread, and a column of ones. A feature without
        spread is 0."""
        varies = self.spread > MIN_SPREAD
        z = np.ones((len(values), len(self.centre) + 1))
        z[:, :-1] = np.where(
            varies, (values - self.centre) / np.where(varies, self.spread, 1.0), 0.0
        )
        np.clip(z, -MAX_STANDARDISED, MAX_STANDARDISED, out=z)
        return z


def units_of(model: ModelView) -> Units:
    """The units of a model that has some."""
    return units_in(model.rows(FEATURES, FEATURE_KEYS))


def units_in(rows: NDArray[np.floating]) -> Units:
    """The units that rows `CENTRE` and `SPREAD` of `FEATURES` hold; float[2, f]."""
    exact = rows.astype(np.float64)
    return Units(exact[CENTRE], np.maximum(exact[SPREAD], 0.0))


def softmax(scores: Matrix) -> Matrix:
    """float64[n, classes]: each row sums to 1."""
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Matrix = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def log_losses(
    values: Matrix, labels: Keys, units: Units, keys: Keys, rows: NDArray[np.floating]
) -> Matrix:
    """float64[n]: -log of the probability of each example's class, that probability taken as
    `MIN_PROBABILITY` at least.

    values: float64[n, f]. labels: uint64[n], each among `keys`. keys: uint64[classes], ascending,
    of the classes there are, and `rows`: float[classes, f + 1], theirs. Memory is bounded by
    `BLOCK_CELLS`, however many examples or classes there are.
    """
    columns = np.searchsorted(keys, labels)
    weights = rows.astype(np.float64).T
    losses = np.empty(len(values))
    step = max(1, BLOCK_CELLS // max(weights.shape))
    for start in range(0, len(values), step):
        end = min(len(values), start + step)
        shares = softmax(units.standardise(values[start:end]) @ weights)
        losses[start:end] = shares[np.arange(end - start), columns[start:end]]
    np.maximum(losses, MIN_PROBABILITY, out=losses)
    np.log(losses, out=losses)
    return np.negative(losses, out=losses)
