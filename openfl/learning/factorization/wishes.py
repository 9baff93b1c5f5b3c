"""What a user may wish for beside the songs that suit them best, and how that is met."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.learning.ridge import Matrix


@dataclass(frozen=True, slots=True)
class Wishes:
    """new_artists: only songs of artists of whom the user has met nothing.

    not_popular: 0 to 1, the share of the list that is for songs which suit the user more than they
    suit the others of the group (`Head.distinctive`), whatever their score. why: say which of the
    user's own songs made the score.

    ValueError when `not_popular` is not within 0..1.
    """

    new_artists: bool = False
    not_popular: float = 0.0
    why: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.not_popular <= 1.0:  # NaN is not
            raise ValueError(f"not_popular must be within 0..1, got {self.not_popular}")


NO_WISHES = Wishes()


def best_of(scores: NDArray[np.float64], top: int) -> NDArray[np.intp]:
    """intp[min(top, n)]: where the highest of `scores`, float64[n], are, best first; of equal ones
    the earlier."""
    return np.argsort(-scores, kind="stable")[:top]


def mixed(
    scores: NDArray[np.float64], distinctive: Matrix, top: int, share: float
) -> tuple[NDArray[np.intp], int]:
    """(intp[min(top, n)], which songs, by score; how many of these are discoveries).

    Of `top` places `share`, rounded up, goes to the songs with most in `distinctive`, float64[n],
    among those that the others, filled by score alone, leave. A discount on all scores, which is
    the usual dial, costs far more accuracy for the same variety: what it moves up first are songs
    that are next to unknown (benchmarks/novelty.py).
    """
    top = min(top, len(scores))
    places = min(top, math.ceil(share * top - 1e-9))
    order = best_of(scores, len(scores))
    usual, rest = order[: top - places], order[top - places :]
    found = rest[best_of(distinctive[rest], places)]
    chosen = np.concatenate((usual, found))
    return chosen[best_of(scores[chosen], top)], places
