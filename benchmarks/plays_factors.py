"""How many factors plays carry: NDCG@10 of the implicit task trained in one place, by factors.

Each seed deals other plays to the test. `--data` is a file of plays; with `--rated` every rating in
it is a play; without either MovieLens 100K, rated.

    python benchmarks/plays_factors.py [--data plays.csv [--rated]] [--factors 16,24,32] [--seeds 5]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.learning.central import SoloModel
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.implicit import task as implicit_task
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.plays import load_plays
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.splitting import split_ratings


def played(data: Path | None, rated: bool) -> Ratings:
    if data is not None and not rated:
        return load_plays(data)
    ratings = load_ratings(data or ml100k_csv())
    ones = np.ones(len(ratings), dtype=np.float32)
    return dataclasses.replace(ratings, values=ones, scale=(0.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rated", action="store_true")
    parser.add_argument("--factors", default="16,24,32")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    plays = played(options.data, options.rated)
    implicit_task.MAX_EVALUATED_USERS = len(plays.users)  # all of them
    print(f"{len(plays):,} plays, {len(plays.users):,} users, {len(plays.songs):,} songs")
    for factors in map(int, options.factors.split(",")):
        found = []
        for seed in range(options.seeds):
            charter = implicit_charter("benchmark", factors=factors, seed=seed)
            split = split_ratings(plays, seed=seed)
            task = ImplicitFactorization.from_charter(charter, plays, split)
            solo = SoloModel(task, np.random.default_rng(0))
            for _ in range(options.rounds):
                solo.step()
            found.append(1 - task.evaluate(solo.model, "test").value)
        spread = np.std(found, ddof=1) if len(found) > 1 else 0.0
        print(f"{factors} factors: NDCG@10 {np.mean(found):.4f} +- {spread:.4f}", flush=True)


if __name__ == "__main__":
    main()
