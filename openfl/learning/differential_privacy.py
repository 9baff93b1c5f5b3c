"""The Gaussian mechanism over users: what one person adds is bounded, and noise hides the rest.

Definition. Two data sets are neighbours when one is the other without all data of one user. What is
released is (epsilon, delta)-differentially private when no neighbour could be told apart from it
better than those two numbers allow (Dwork and Roth 2014, "The Algorithmic Foundations of
Differential Privacy", definition 2.4).

Mechanism. Every user's contribution is a vector over all rows at once. It is scaled down to an L2
norm of at most `clip`, so that taking a user away moves the sum of all of them by at most `clip`,
and normal noise of standard deviation `clip * noise_multiplier` is added to each number of the sum,
zeros included (ibid., appendix A; clipping each user as in McMahan et al. 2018, "Learning
Differentially Private Recurrent Language Models"). How much several releases spend together is for
an accountant to say (`openfl.node.privacy_budget`): nothing here knows epsilon.

This holds only when a user's vector is a function of that user's data and of what is public: means
over users, thresholds on counts and the like must not enter it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import MAX_CURVATURE
from openfl.learning.ridge import SparseMatrix

RandomBytes = Callable[[int], bytes]
"""So many random bytes. `os.urandom` where it matters: whoever can guess the noise can take it off,
and generators for simulation can be guessed from their output."""

TOLERATED_NOISE = 0.7
"""How far the noise of all releases together may move a row that one member alone stands behind, in
units of the model. Found on ml-100k; anything from 0.4 to 1 does."""
USERS_A_STEP = 8
"""Users for whom a precision of 1 is enough: clipped, half of them pulling at one row together move
it no further than they should. Found on ml-100k, where 12 still settle and 21 do not."""


@dataclass(frozen=True, slots=True)
class Release:
    """How one step is made private. clip: the most one user adds, L2, in units of the gradient.
    noise_multiplier: the noise's standard deviation in clips. precision: claimed for every row,
    whatever the data."""

    clip: float
    noise_multiplier: float
    precision: float

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise on each number."""
        return self.clip * self.noise_multiplier


def plan_release(clip: float, noise_multiplier: float, releases: int, users: int) -> Release:
    """A release of which about `releases` are to be made, on a node with about so many `users`, a
    figure that everybody may know.

    The precision is the higher of two: at which the noise of all releases moves a row by
    `TOLERATED_NOISE` (more noise, smaller steps), and at which the users do not overshoot.
    """
    noise = clip * noise_multiplier * math.sqrt(releases) / TOLERATED_NOISE
    precision = max(1.0, noise, users / USERS_A_STEP)
    return Release(clip, noise_multiplier, min(precision, MAX_CURVATURE))


def clipped(contributions: SparseMatrix, clip: float) -> SparseMatrix:
    """csr[users, rows] with every user's row scaled to an L2 norm of at most `clip`.

    contributions: csr[users, rows] without repeated entries. ValueError when a number in it is not
    finite: the bound would not hold.
    """
    norms = np.sqrt(np.asarray(contributions.multiply(contributions).sum(axis=1), dtype=np.float64))
    if not bool(np.isfinite(norms).all()):
        raise ValueError("a contribution that is not finite cannot be clipped")
    scale = clip / np.maximum(norms, clip)
    return (sp.diags_array(scale) @ contributions).tocsr()


def private_sum(
    contributions: SparseMatrix, release: Release, random_bytes: RandomBytes
) -> NDArray[np.float64]:
    """float64[rows]: the sum over users of what they contribute, clipped, with noise."""
    total = np.asarray(clipped(contributions, release.clip).sum(axis=0), dtype=np.float64)
    return total + release.noise_scale * normal(len(total), random_bytes)


def normal(count: int, random_bytes: RandomBytes) -> NDArray[np.float64]:
    """float64[count]: standard normal numbers, each from 52 random bits by the inverse of the
    distribution function (so none is beyond 8.3)."""
    bits = np.frombuffer(random_bytes(8 * count), dtype="<u8") >> np.uint64(12)
    from scipy.special import ndtri  # here, not above: only nodes with privacy need it

    return np.asarray(ndtri((bits.astype(np.float64) + 0.5) * 2.0**-52), dtype=np.float64)
