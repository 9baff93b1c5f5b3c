"""Time of one local training step and one evaluation, by number of ratings a node holds.

Synthetic ratings: 80 a listener, songs drawn with a long tail. Best of several runs, since other
work on the machine only ever adds time. In a group another member has ratings of the same songs;
with `--alone` nobody has, and steps are exact (see `openfl.learning.proposals.exact_step`).

    python benchmarks/local_step.py [--ratings 5000,80000,1000000] [--factors 8] [--alone]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import cycle

import numpy as np

from openfl.learning.central import merge
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization

RATINGS_A_LISTENER = 80


def synthetic(count: int, rng: np.random.Generator) -> Ratings:
    """About `count` ratings of distinct pairs, in stars."""
    users = max(1, count // RATINGS_A_LISTENER)
    songs = 300 + int(4 * count**0.5)
    popularity = 1.0 / (np.arange(songs) + 10.0)
    user = np.repeat(np.arange(users), RATINGS_A_LISTENER)
    song = rng.choice(songs, len(user), p=popularity / popularity.sum())
    pair = np.unique(user * songs + song)
    song_names, song_index = np.unique(pair % songs, return_inverse=True)
    return Ratings(
        users=tuple(map(str, range(users))),
        songs=tuple(map(str, song_names)),
        user_index=(pair // songs).astype(np.int32),
        song_index=song_index.astype(np.int32),
        values=rng.integers(1, 11, len(pair)).astype(np.float32) / 2,
        scale=(0.5, 5.0),
    )


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ratings", default="5000,80000,1000000")
    parser.add_argument("--factors", type=int, default=8)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    charter = rating_charter("benchmark", factors=options.factors)
    print("train ratings  listeners  rows     step ms  ratings/s    evaluate ms")
    for count in map(int, options.ratings.split(",")):
        # 80 % of the ratings are trained on; ask for more, so that `count` is what a step sees.
        task = MatrixFactorization.from_charter(charter, synthetic(int(count * 1.4), rng))
        # Two models by turns: a task keeps what it fitted to the last one.
        members = 1 if options.alone else 2
        first = merge(charter, [task.local_step(merge(charter, []), rng)] * members)
        models = cycle([first, merge(charter, [task.local_step(first, rng)] * members)])
        repeats = 50 if count < 500_000 else 6
        step = best_seconds(
            lambda task=task, models=models: task.local_step(next(models), rng), repeats
        )
        evaluate = best_seconds(
            lambda task=task, models=models: task.evaluate(next(models)), repeats
        )
        print(
            f"{task.train_examples:>13,}  {len(task.ratings.users):>9,}  "
            f"{len(task.ratings.songs):>7,}  {step * 1e3:>7.2f}  "
            f"{task.train_examples / step:>9,.0f}  {evaluate * 1e3:>11.2f}"
        )


if __name__ == "__main__":
    main()
