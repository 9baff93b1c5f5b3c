"""What tasks say of held-out examples, in one form, also when nothing is held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Evaluation
from openfl.learning.metrics import mean_with_error

NONE: NDArray[np.float64] = np.empty(0)
"""The losses of no examples."""


def evaluation(metric: str, losses: NDArray[np.float64]) -> Evaluation:
    """The mean of `losses` (float64[n], one an example) and its standard error. Of no example both
    are NaN; of one the error is as large as the mean (`metrics.mean_with_error`)."""
    return Evaluation(metric, *mean_with_error(losses), len(losses))
