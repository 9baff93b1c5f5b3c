"""What a model is asked: which listeners these are, and how they would like some songs.

One head a kind of group that can recommend. Embedders that learn something else need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.learning.classification.charter import TASK_KIND as CLASSIFICATION
from openfl.learning.implicit.head import ImplicitHead
from openfl.learning.rating.head import RatingHead
from openfl.learning.ridge import Matrix, SparseMatrix


class Head(Protocol):
    """name: as the charter calls the task. items: the table with a row a song. verb, few,
    nothing: words for notes about a listener. notes: what must be said of every answer."""

    name: str
    items: str
    verb: str
    few: str
    nothing: str
    notes: tuple[str, ...]

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        """float64[m, width]: listeners fitted to `given`, csr[m, n] of ratings (or plays) of the
        songs with row `keys[n]`."""
        ...

    def scores(self, listeners: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """float64[m, n]: what each listener would give each song; higher is better."""
        ...

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: how good a guess each song is for somebody nothing is known of."""
        ...

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores as people should see them."""
        ...


_HEADS: Mapping[str, Callable[[Charter, ModelView], Head]] = {
    RatingHead.name: RatingHead,
    ImplicitHead.name: ImplicitHead,
}


def head_of(charter: Charter, model: ModelView) -> Head:
    """The head of a group's model; GroupError when models of its task recommend nothing, or the
    charter is not usable."""
    kind = _HEADS.get(charter.task)
    if kind is None:
        raise GroupError(
            f'group "{charter.name}" learns "{charter.task}": it recommends no songs'
            + (" (try: openfl-node predict)" if charter.task == CLASSIFICATION else "")
        )
    return kind(charter, model)
