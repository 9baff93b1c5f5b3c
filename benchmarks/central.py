"""Accuracy and speed of the rating task trained in one place, on MovieLens 100K.

Prints the held-out RMSE of a fixed random 80/10/10 split (rounds chosen on validation, scored on
test) and of five-fold cross-validation (a fixed number of rounds, no held-out data looked at): each
of `--seeds` deals the ratings to five folds anew. Or of a split in two files, such as u1.base and
u1.test of the data set's own distribution, which the package fetched here does not have.

    python benchmarks/central.py [--rounds 30] [--seeds 5] [--data ratings.csv] [--scale 1-5]
        [--user-prior 0] [--relevance 0] [--base u1.base --test u1.test]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.learning.central import SoloModel, train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import USUAL_RELEVANCE, USUAL_USER_PRIOR, rating_charter
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
    ratings: Ratings, task_for: Callable[[Split], MatrixFactorization], rounds: int, seed: int = 0
) -> tuple[list[float], float]:
    """(test RMSE of each fold, mean seconds a fold)."""
    folds = np.array_split(np.random.default_rng(seed).permutation(len(ratings)), 5)
    values, started = [], time.perf_counter()
    for n, fold in enumerate(folds):
        train = np.sort(np.concatenate([f for m, f in enumerate(folds) if m != n]))
        values.append(after(rounds, task_for(Split(train, NOTHING, np.sort(fold)))))
    return values, (time.perf_counter() - started) / 5


def after(rounds: int, task: MatrixFactorization) -> float:
    """Test RMSE after a fixed number of rounds."""
    solo = SoloModel(task, np.random.default_rng(0))
    for _ in range(rounds):
        solo.step()
    return task.evaluate(solo.model, "test").value


def in_two_files(base: Path, test: Path, scale: str) -> tuple[Ratings, Split]:
    """Ratings of lines `user item rating ...`, apart by tabs, and which are of which file."""
    lines = [path.read_text(encoding="utf-8").split("\n") for path in (base, test)]
    rows = [[line.split("\t")[:3] for line in part if line.strip()] for part in lines]
    with tempfile.TemporaryDirectory() as folder:
        joined = Path(folder) / "ratings.csv"
        with joined.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("user_id", "song_id", "rating"), *rows[0], *rows[1]])
        ratings = load_ratings(joined, scale)
    if len(ratings) != len(rows[0]) + len(rows[1]):
        raise SystemExit(f"{base} and {test} have ratings in common")
    places = np.arange(len(ratings))
    return ratings, Split(places[: len(rows[0])], NOTHING, places[len(rows[0]) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--scale", default="auto", help='for example "1-5" (default: detected)')
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--user-prior", type=float, default=USUAL_USER_PRIOR)
    parser.add_argument("--relevance", type=float, default=USUAL_RELEVANCE)
    parser.add_argument("--base", type=Path, help="a split's training ratings, apart by tabs")
    parser.add_argument("--test", type=Path, help="its test ratings")
    options = parser.parse_args()
    of_users = {"user_prior": options.user_prior, "relevance": options.relevance}

    if options.base and options.test:
        ratings, split = in_two_files(options.base, options.test, options.scale)
        charter = rating_charter("benchmark", ratings.scale, **of_users)
        task = MatrixFactorization.from_charter(charter, ratings, split)
        print(f"{options.test.name}: {after(options.rounds, task):.4f}")
        return
    ratings = load_ratings(options.data or ml100k_csv(), options.scale)
    charter = rating_charter("benchmark", ratings.scale, **of_users)

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
    means = []
    for seed in range(options.seeds):
        values, seconds = five_fold(ratings, task_for, options.rounds, seed)
        means.append(np.mean(values))
        shown = " ".join(f"{value:.4f}" for value in values)
        print(f"five-fold: {np.mean(values):.4f} ({shown}), {seconds:.2f} s a fold")
    if len(means) > 1:
        print(f"mean of {len(means)} seeds: {np.mean(means):.4f} +- {np.std(means, ddof=1):.4f}")


if __name__ == "__main__":
    main()
