"""OpenFL in one place (see `fitting`): its steps and merge rule with one member, stopped by its own
validation ratings. Evaluation after every round, and the rounds after the best, count."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
import scipy.sparse as sp
from _ml100k import ml100k_csv

from openfl.learning.central import train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import head_of
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

MAX_ROUNDS = 60


def main() -> None:
    ratings = load_ratings(ml100k_csv())
    for number, told in enumerate(json.loads(Path(sys.argv[2]).read_text())):
        split = split_ratings(ratings, seed=told["seed"])
        path = Path(sys.argv[3]) / f"{number}.npz"
        task: MatrixFactorization | ImplicitFactorization
        wall, processor = time.perf_counter(), time.process_time()
        if told["kind"] == "rating":
            charter = rating_charter("benchmark", scale=ratings.scale)
            task = MatrixFactorization.from_charter(charter, ratings, split)
        else:
            charter = implicit_charter("benchmark")
            ones = np.ones(len(ratings), np.float32)
            played = dataclasses.replace(ratings, values=ones, scale=(0.0, 1.0))
            task = ImplicitFactorization.from_charter(charter, played, split)
        result = train_alone(task, np.random.default_rng(0), max_rounds=MAX_ROUNDS)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        if told["kind"] == "rating":
            rmse = np.array([result.validation.value, result.test.value])
            np.savez(path, wall=wall, processor=processor, rmse=rmse)
            continue
        keys = item_keys(ratings.songs, 40)
        at = (ratings.user_index[split.train], ratings.song_index[split.train])
        given = sp.csr_array(
            (np.ones(len(split.train)), at), shape=(len(ratings.users), len(ratings.songs))
        )
        head = head_of(charter, result.model)
        scores = head.scores(head.fold_in(given, keys), keys)
        scores[:, result.model.evidence(head.items, keys) == 0] = -np.inf
        np.savez(path, wall=wall, processor=processor, scores=scores)


if __name__ == "__main__":
    main()
