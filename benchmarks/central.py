"""Accuracy and speed of the rating task trained in one place, on MovieLens 100K.

Prints the held-out RMSE of a fixed random 80/10/10 split (rounds chosen on validation, scored on
test) and of five-fold cross-validation (a fixed number of rounds, no held-out data looked at).

    python benchmarks/central.py [--rounds 30] [--data ratings.csv] [--scale 1-5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.learning.central import SoloModel, train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split

NOTHING = np.empty(0, dtype=np.intp)


def fixed_split(count: int, seed: int = 0) -> Split:
    order = np.random.default_rng(seed).permutation(count)
    tenth = count // 10
    return Split(
        train=np.sort(order[2 * tenth :]),
        validation=np.sort(order[tenth : 2 * tenth]),
        test=np.sort(order[:tenth]),
    )


def five_fold(
    ratings: Ratings, task_for: Callable[[Split], MatrixFactorization], rounds: int
) -> tuple[list[float], float]:
    """(test RMSE of each fold, mean seconds a fold)."""
    folds = np.array_split(np.random.default_rng(0).permutation(len(ratings)), 5)
    values, started = [], time.perf_counter()
    for n, fold in enumerate(folds):
        train = np.sort(np.concatenate([f for m, f in enumerate(folds) if m != n]))
        task = task_for(Split(train, NOTHING, np.sort(fold)))
        solo = SoloModel(task, np.random.default_rng(0))
        for _ in range(rounds):
            solo.step()
        values.append(task.evaluate(solo.model, "test").value)
    return values, (time.perf_counter() - started) / 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--scale", default="auto", help='for example "1-5" (default: detected)')
    options = parser.parse_args()

    ratings = load_ratings(options.data or ml100k_csv(), options.scale)
    charter = rating_charter("benchmark", scale=ratings.scale)

    def task_for(split: Split) -> MatrixFactorization:
        return MatrixFactorization.from_charter(charter, ratings, split)

    started = time.perf_counter()
    result = train_alone(
        task_for(fixed_split(len(ratings))), np.random.default_rng(0), max_rounds=options.rounds
    )
    seconds = time.perf_counter() - started
    print(
        f"fixed split: validation {result.validation.value:.4f}, test {result.test.value:.4f} "
        f"+- {result.test.standard_error:.4f}, {result.rounds} rounds, {seconds:.2f} s"
    )
    values, seconds = five_fold(ratings, task_for, options.rounds)
    shown = " ".join(f"{value:.4f}" for value in values)
    print(f"five-fold: {np.mean(values):.4f} ({shown}), {seconds:.2f} s a fold")


if __name__ == "__main__":
    main()
