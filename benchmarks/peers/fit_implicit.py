"""The ALS of `implicit`, in C++ with conjugate gradients (see `fitting`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fitting
import implicit
import numpy as np
import scipy.sparse as sp


def prepare(data: fitting.Data) -> sp.csr_matrix:
    ones = np.ones(len(data.pairs), np.float32)
    return sp.csr_matrix((ones, data.pairs.T), shape=(data.users, data.songs))


def fit(plays: sp.csr_matrix, configuration: Mapping[str, Any]) -> fitting.Answer:
    model = implicit.als.AlternatingLeastSquares(num_threads=1, random_state=0, **configuration)
    model.fit(plays, show_progress=False)

    def answer() -> Mapping[str, np.ndarray]:
        return {"scores": model.user_factors @ model.item_factors.T}

    return answer


if __name__ == "__main__":
    fitting.main(prepare, fit)
