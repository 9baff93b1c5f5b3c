"""cornac's MF, in C++ by stochastic gradient descent (see `fitting`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cornac
import fitting
import numpy as np


def prepare(data: fitting.Data) -> tuple[fitting.Data, Any]:
    triples = [
        (int(u), int(s), float(r)) for (u, s), r in zip(data.pairs, data.values, strict=True)
    ]
    return data, cornac.data.Dataset.from_uir(triples, seed=0)


def fit(prepared: tuple[fitting.Data, Any], configuration: Mapping[str, Any]) -> fitting.Answer:
    data, trainset = prepared
    model = cornac.models.MF(num_threads=1, seed=0, verbose=False, **configuration).fit(trainset)
    users, songs = trainset.uid_map, trainset.iid_map

    def rating(user: int, song: int) -> float:
        if user not in users or song not in songs:
            return float(trainset.global_mean)
        return float(model.rate(users[user], songs[song]))

    def answer() -> Mapping[str, np.ndarray]:
        return {"predicted": np.array([rating(int(u), int(s)) for u, s in data.asked])}

    return answer


if __name__ == "__main__":
    fitting.main(prepare, fit)
