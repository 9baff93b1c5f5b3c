"""Surprise's SVD and SVD++ (see `fitting`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fitting
import numpy as np
import surprise

ALGORITHMS = {"SVD": surprise.SVD, "SVDpp": surprise.SVDpp}


def prepare(data: fitting.Data) -> tuple[fitting.Data, Any]:
    triples = [
        (int(u), int(s), float(r), None) for (u, s), r in zip(data.pairs, data.values, strict=True)
    ]
    reader = surprise.Reader(rating_scale=(float(data.values.min()), float(data.values.max())))
    return data, surprise.Dataset(reader).construct_trainset(triples)


def fit(prepared: tuple[fitting.Data, Any], configuration: Mapping[str, Any]) -> fitting.Answer:
    data, trainset = prepared
    options = dict(configuration)
    algorithm = ALGORITHMS[options.pop("algorithm")](random_state=0, **options).fit(trainset)

    def answer() -> Mapping[str, np.ndarray]:
        return {
            "predicted": np.array([algorithm.predict(int(u), int(s)).est for u, s in data.asked])
        }

    return answer


if __name__ == "__main__":
    fitting.main(prepare, fit)
