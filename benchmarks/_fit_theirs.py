"""What `fit_beside.py` runs by an interpreter that has cornac and implicit; nothing else.

Reads an npz (users, items, values of the training ratings, and of the held-out ones) and a list of
settings, as JSON, fits each as often as asked, and prints as JSON the seconds of each fit, what it
scored and by how much memory grew. Factors for ranking are written beside the data.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import OrderedDict
from typing import Any

import numpy as np
from _memory import resident_peak_mb

sys.path.pop(0)  # here is a script implicit.py


def cornac_mf(data: Any, settings: dict[str, Any]) -> tuple[Any, float, float]:
    import cornac

    users, items = map(int, data["shape"])
    dataset = cornac.data.Dataset(
        users,
        items,
        OrderedDict((n, n) for n in range(users)),
        OrderedDict((n, n) for n in range(items)),
        (
            data["train_users"].astype(np.int64),
            data["train_items"].astype(np.int64),
            data["train_values"].astype(np.float32),
        ),
    )
    model = cornac.models.MF(use_bias=True, num_threads=1, seed=1, **settings)
    before = resident_peak_mb(reset=True)
    started = time.perf_counter()
    model.fit(dataset)
    return model, time.perf_counter() - started, resident_peak_mb() - before


def cornac_rmse(model: Any, data: Any, part: str) -> float:
    users, items = data[f"{part}_users"], data[f"{part}_items"]
    raw = model.global_mean + model.u_biases[users] + model.i_biases[items]
    raw = raw + np.einsum("nk,nk->n", model.u_factors[users], model.i_factors[items])
    low, high = data["scale"]
    return float(np.sqrt(np.mean((np.clip(raw, low, high) - data[f"{part}_values"]) ** 2)))


def implicit_als(data: Any, settings: dict[str, Any]) -> tuple[Any, float, float]:
    import scipy.sparse as sp
    from implicit.als import AlternatingLeastSquares

    at = (data["train_users"], data["train_items"])
    plays = sp.csr_matrix((data["train_values"].astype(np.float32), at), shape=tuple(data["shape"]))
    model = AlternatingLeastSquares(
        num_threads=1, random_state=1, dtype=np.float32, use_gpu=False, **settings
    )
    before = resident_peak_mb(reset=True)
    started = time.perf_counter()
    model.fit(plays, show_progress=False)
    return model, time.perf_counter() - started, resident_peak_mb() - before


def main() -> None:
    path, kind, wanted = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    data = dict(np.load(path))
    answers = []
    for number, settings in enumerate(wanted):
        fit = implicit_als if kind == "implicit" else cornac_mf
        model, seconds, memory = fit(data, settings)
        answer = {"settings": settings, "seconds": seconds, "memory_mb": memory}
        if kind == "implicit":
            answer["factors"] = f"{path}.{os.getpid()}.{number}.npz"
            np.savez(answer["factors"], users=model.user_factors, items=model.item_factors)
        else:
            for part in ("validation", "test"):
                answer[part] = cornac_rmse(model, data, part)
        answers.append(answer)
    module = __import__(kind)
    print(json.dumps({"version": module.__version__, "numpy": np.__version__, "fits": answers}))


if __name__ == "__main__":
    main()
