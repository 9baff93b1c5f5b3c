"""Published robust aggregation rules: pure functions on arrays, one idea each.

All take a `Stack`: the proposals of all members for some rows, with how sure each is. Members that
have nothing to say about a row have precision 0 there and take no part. Coordinate rules return a
*centre*; `shrunk` pulls it towards zero by the prior, as the precision-weighted mean of the
registers is (openfl/aggregation/replica.py): with `weighted_mean` it is that mean.

The rules differ from their papers where contributions here do: not every member has every row, and
members are unequally sure. Krum selects members instead of making rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

CLIPPING_STEPS = 3
"""Of centred clipping: few are enough from a good start such as the median."""


@dataclass(frozen=True, slots=True)
class Stack:
    """values, precision: float64[members, n, width]; evidence: float64[members, n]. Precision and
    evidence are 0 where a member has no register."""

    values: Matrix
    precision: Matrix
    evidence: Matrix

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool[members, n]: who has a register for which row."""
        return np.asarray(self.evidence > 0)


def weighted_mean(stack: Stack) -> Matrix:
    """float64[n, width]: sum h x / sum h; 0 where nobody is sure of anything."""
    return _ratio((stack.precision * stack.values).sum(0), stack.precision.sum(0))


def evidence_mean(stack: Stack) -> Matrix:
    """float64[n, width]: sum n x / sum n, the members' curvatures left out: federated averaging
    (McMahan et al., AISTATS 2017)."""
    weights = stack.evidence[:, :, None]
    return _ratio((weights * stack.values).sum(0), weights.sum(0))


def weighted_median(stack: Stack) -> Matrix:
    """float64[n, width]: column by column, the value with half of the precision on either side; the
    mean of two when that is exactly between them (Yin et al., ICML 2018, with weights)."""
    order = np.argsort(np.where(stack.precision > 0, stack.values, np.inf), axis=0, kind="stable")
    values = np.take_along_axis(stack.values, order, axis=0)
    reached = np.cumsum(np.take_along_axis(stack.precision, order, axis=0), axis=0)
    half = reached[-1] / 2
    slack = 1e-12 * half
    lower = np.argmax(reached >= half - slack, axis=0)[None]
    upper = np.argmax(reached > half + slack, axis=0)[None]
    low, high = (np.take_along_axis(values, at, axis=0)[0] for at in (lower, upper))
    return np.where(half > 0, (low + high) / 2, 0.0)


def trimmed_mean(stack: Stack, fraction: float) -> Matrix:
    """float64[n, width]: column by column, the weighted mean without the `fraction` largest and the
    `fraction` smallest values (each rounded up), of which at least one stays (Yin et al., ICML
    2018)."""
    sure = stack.precision > 0
    order = np.argsort(np.where(sure, stack.values, np.inf), axis=0, kind="stable")
    values = np.take_along_axis(stack.values, order, axis=0)
    weights = np.take_along_axis(stack.precision, order, axis=0)
    count = sure.sum(0)
    cut = np.minimum(np.ceil(fraction * count), np.maximum(count - 1, 0) // 2)
    place = np.arange(len(values))[:, None, None]
    weights = np.where((place >= cut) & (place < count - cut), weights, 0.0)
    return _ratio((weights * values).sum(0), weights.sum(0))


def centred_clip(stack: Stack, radius: float) -> Matrix:
    """float64[n, width]: from the median, `CLIPPING_STEPS` steps towards the mean in which no
    member's row pulls from further away than a radius (Karimireddy, He, Jaggi, ICML 2021).

    The radius is, row by row, `radius` times the median distance of the members from the centre:
    rows differ too much for one constant.
    """
    centre = weighted_median(stack)
    present = stack.present
    for _ in range(CLIPPING_STEPS):
        away = stack.values - centre
        distance = np.sqrt((away**2).sum(2))
        with np.errstate(all="ignore"):
            reach = radius * _median_of_present(distance, present)
            factor = np.where(distance > reach, reach / distance, 1.0)
        pull = stack.precision * away * factor[:, :, None]
        centre = centre + _ratio(pull.sum(0), stack.precision.sum(0))
    return centre


def distances(stack: Stack) -> tuple[Matrix, Matrix]:
    """(squared distances between members, numbers they are over), float64[members, members] each:
    summed over the columns of the rows that both have. Add up over parts of a model."""
    members = len(stack.values)
    known = np.repeat(stack.present[:, :, None], stack.values.shape[2], axis=2)
    mask = known.reshape(members, -1).astype(np.float64)
    flat = stack.values.reshape(members, -1) * mask
    squares = flat**2 @ mask.T
    total = squares + squares.T - 2 * flat @ flat.T
    return np.maximum(total, 0.0), mask @ mask.T


def krum_scores(squared: Matrix, shared: Matrix, hostile: int) -> Matrix:
    """float64[members]: the sum of each member's mean squared distances to its `members - hostile -
    2` nearest (at least one); smaller is more trustworthy (Blanchard et al., NeurIPS 2017). Members
    that share no row with it are no neighbours."""
    members = len(squared)
    mean = np.where(shared > 0, squared / np.maximum(shared, 1.0), np.inf)
    np.fill_diagonal(mean, np.inf)
    nearest = max(1, members - hostile - 2)
    return np.asarray(np.sort(mean, axis=1)[:, :nearest].sum(1))


def krum(squared: Matrix, shared: Matrix, hostile: int, chosen: int) -> NDArray[np.intp]:
    """intp[chosen]: the members with the best `krum_scores`, ascending. chosen = 1 is Krum, more is
    multi-Krum."""
    order = np.argsort(krum_scores(squared, shared, hostile), kind="stable")
    return np.sort(order[: max(1, chosen)])


def hostile_members(members: int, fraction: float) -> int:
    """How many of the members a rule is to withstand."""
    return min(math.ceil(fraction * members), max(0, (members - 1) // 2))


def shrunk(centre: Matrix, precision: Matrix, prior: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """(float64[n, width] of the centre pulled to zero as far as the prior is surer than the
    members, bool[n, width] of where anybody is sure of anything). precision: summed over members.
    """
    total = precision + prior
    return _ratio(precision * centre, total), total > 0


def _ratio(top: Matrix, bottom: Matrix) -> Matrix:
    """top / bottom, 0 where the bottom is 0."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)


def _median_of_present(numbers: Matrix, present: NDArray[np.bool_]) -> Matrix:
    """float64[n]: down the columns, of those that are there; NaN where none is."""
    ordered = np.sort(np.where(present, numbers, np.inf), axis=0)
    count = present.sum(0)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, np.maximum(count - 1, 0))
    picked = [np.take_along_axis(ordered, at[None], axis=0)[0] for at in (low, high)]
    return np.where(count > 0, (picked[0] + picked[1]) / 2, np.nan)
