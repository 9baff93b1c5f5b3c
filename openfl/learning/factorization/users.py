"""What both factorizations keep of their listeners from one run to the next. It never leaves the
node."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from openfl.learning.ridge import Matrix

PrivateState = Mapping[str, NDArray[np.generic]]


def saved_listeners(factors: Matrix, keys: NDArray[np.uint64]) -> PrivateState:
    """The vectors of the listeners, and whose they are: `keys[n]` are hashes of their ids."""
    return {"user_factors": factors.astype(np.float32), "user_keys": keys}


def restored_listeners(
    state: PrivateState, keys: NDArray[np.uint64], shape: tuple[int, ...]
) -> Matrix:
    """The vectors that `saved_listeners` put into `state`; ValueError when it is of other listeners
    or another width."""
    factors, saved_keys = state.get("user_factors"), state.get("user_keys")
    if factors is None or saved_keys is None:
        raise ValueError("saved private state lacks user_factors or user_keys")
    if factors.shape != shape or not np.array_equal(saved_keys, keys):
        raise ValueError("saved private state is not of these listeners")
    restored = factors.astype(np.float64)
    if not bool(np.isfinite(restored).all()):
        raise ValueError("saved private state has values that are not finite")
    return restored
