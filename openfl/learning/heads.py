"""`Head`: what a model is asked: which users these are, and how they would like some songs.

One a kind of group that can recommend. Kinds that learn something else need none.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from openfl.learning.ridge import Matrix, SparseMatrix


class Head(Protocol):
    """name: as the charter calls the task. items: the table with a row a song, whose keys have
    `key_bits` bits. verb, few, nothing: words for notes about a user. notes: what must be said of
    every answer; counted: of one whose scores are popularity."""

    name: str
    items: str
    key_bits: int
    verb: str
    few: str
    nothing: str
    notes: tuple[str, ...]
    counted: str

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        """float64[m, width]: users fitted to `given`, csr[m, n] of ratings (or plays) of the
        songs with row `keys[n]`."""
        ...

    def scores(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """float64[m, n]: what each user would give each song; higher is better."""
        ...

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: how good a guess each song is for somebody nothing is known of."""
        ...

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores as people should see them."""
        ...

    def distinctive(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """float64[m, n]: how much more each user would like each song than the others of the group
        would; for comparing the songs of one user, nothing else."""
        ...

    def influence(
        self, given: SparseMatrix, keys: NDArray[np.uint64], of: NDArray[np.uint64]
    ) -> Matrix:
        """float64[n, m]: what each of the m songs of `given`, csr[1, m] with row `keys[m]`, adds to
        the score that its user has of each song with row `of[n]`. Exact: a user is the solution of
        a ridge regression, so a score is a sum over the songs it was fitted to, and of what it
        would be for anybody."""
        ...

    def vectors(self, keys: NDArray[np.uint64]) -> Matrix:
        """float64[n, k]: the songs in the space in which users are compared with them."""
        ...
