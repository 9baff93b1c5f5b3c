"""LensKit's ALS, of ratings and of plays (see `fitting`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fitting
import numpy as np
import pandas as pd
from lenskit.als import BiasedMFScorer, ImplicitMFScorer
from lenskit.data import ItemList, from_interactions_df
from lenskit.training import TrainingOptions


def prepare(data: fitting.Data) -> tuple[fitting.Data, Any]:
    frame = pd.DataFrame(
        {"user_id": data.pairs[:, 0], "item_id": data.pairs[:, 1], "rating": data.values}
    )
    return data, from_interactions_df(frame)


def fit(prepared: tuple[fitting.Data, Any], configuration: Mapping[str, Any]) -> fitting.Answer:
    data, dataset = prepared
    options = {"user_embeddings": "prefer"} | dict(configuration)
    plays = options.pop("algorithm") == "implicit"
    scorer = (ImplicitMFScorer if plays else BiasedMFScorer)(**options)
    scorer.train(dataset, TrainingOptions(rng=0))

    def scores_of(user: int, songs: np.ndarray) -> np.ndarray:
        scored = scorer(int(user), ItemList(item_ids=songs))
        return np.asarray(scored.scores(), dtype=np.float64)

    def answer() -> Mapping[str, np.ndarray]:
        every = np.arange(data.songs)
        if plays:
            scores = np.stack([scores_of(user, every) for user in range(data.users)])
            return {"scores": np.where(np.isfinite(scores), scores, -np.inf)}
        predicted = np.full(len(data.asked), float(data.values.mean()))
        for user in np.unique(data.asked[:, 0]):
            at = np.flatnonzero(data.asked[:, 0] == user)
            scores = scores_of(user, data.asked[at, 1])
            predicted[at] = np.where(np.isfinite(scores), scores, predicted[at])
        return {"predicted": predicted}

    return answer


if __name__ == "__main__":
    fitting.main(prepare, fit)
