"""`OscillationDamping`: where to step from, so that rows do not swing to and fro for ever.

A diagonal Newton step is too long for a row whose true curvature exceeds the estimate it is divided
by. Such a row overshoots, comes back, and may end in a cycle of two; more damping would slow down
all others. So the steps of each row are compared. A row whose last two steps agree is taken as it
is. Of a row that turned back, d' being its step before the last and d the last, the next step is
taken from

    a = y + w / (1 - w) d,    w = (d . d') / (d' . d'), within -1..0

which is Aitken's delta-squared process, row by row (the vector form of Irons and Tuck, 1969): of a
row that swings by the factor w each time, a is the point it swings about. As w is never below -1, a
lies between the last two positions, in the nearer half. Where nothing moves any more, a = y: the
place at which a group ends up stays what it was.
"""

from __future__ import annotations

import numpy as np

from openfl.learning.ridge import Matrix


class OscillationDamping:
    """Remembers the last two positions of every row. The rows must be the same ones each time."""

    def __init__(self) -> None:
        self._last: Matrix | None = None
        self._step: Matrix | None = None

    def start_from(self, rows: Matrix) -> Matrix:
        """float64[n, width]: where to step from, the rows being at `rows` now."""
        start, last, before = rows, self._last, self._step
        step = None
        if last is not None:
            step = rows - last
            if before is not None:
                start = rows + _back(step, before) * step
        self._last, self._step = rows, step
        return start


def _back(step: Matrix, before: Matrix) -> Matrix:
    """float64[n, 1], -1/2..0: how much of its last step each row goes back."""
    size = np.einsum("nw,nw->n", before, before)
    product = np.minimum(np.einsum("nw,nw->n", step, before), 0.0)
    swing = np.maximum(np.divide(product, size, out=np.zeros_like(size), where=size > 0), -1.0)
    back: Matrix = swing / (1.0 - swing)
    return back[:, None]
