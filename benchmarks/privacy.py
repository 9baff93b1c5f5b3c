"""What user-level differential privacy costs: held-out error on MovieLens 100K split by user.

A line a budget: the pooled held-out RMSE after all private rounds, nodes in lockstep, rows as they
travel (int8), noise and accountant as in a node with `privacy.enabled`. Beside it what a node has
without any of it: alone, together without privacy, and the users' own averages, which need neither.

    python benchmarks/privacy.py [--nodes 4 16 64] [--epsilons 8 3 1] [--seeds 3]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from _ml100k import ml100k_csv
from lockstep import tasks_of

from openfl.aggregation.quantize import quantize
from openfl.core.contribution import Contribution, Evaluation
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge, train_alone
from openfl.learning.differential_privacy import plan_release
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings
from openfl.node.privacy_budget import Accountant


def pooled(found: list[Evaluation]) -> float:
    return math.sqrt(sum(e.value**2 * e.count for e in found) / sum(e.count for e in found))


def as_sent(
    made: Contribution, task: MatrixFactorization, rng: np.random.Generator
) -> Contribution:
    return Contribution(
        tuple(
            quantize(block, task.charter.table(block.table), rng).row_block()
            for block in made.blocks
        )
    )


def together(tasks: list[MatrixFactorization], rounds: int) -> float:
    model, rng = DenseModel.empty(tasks[0].charter), np.random.default_rng(0)
    for _ in range(rounds):
        steps = [as_sent(task.local_step(model, rng), task, rng) for task in tasks]
        model = merge(tasks[0].charter, steps)
    return pooled([task.evaluate(model, "test") for task in tasks])


def private(
    tasks: list[MatrixFactorization],
    epsilon: float,
    delta: float,
    rounds: int,
    clip: float,
    users: int,
    seed: int,
) -> float:
    noise = Accountant(delta).noise_multiplier(epsilon, rounds)
    release = plan_release(clip, noise, rounds, users)
    model, rng = DenseModel.empty(tasks[0].charter), np.random.default_rng(seed)
    for _ in range(rounds):
        steps = [as_sent(task.private_step(model, release, rng.bytes), task, rng) for task in tasks]
        model = merge(tasks[0].charter, steps)
    return pooled([task.evaluate(model, "test") for task in tasks])


def own_averages(ratings: Ratings) -> float:
    """Every user's held-out ratings guessed as the mean of their training ratings."""
    split = split_ratings(ratings)
    users, values = ratings.user_index, ratings.values.astype(np.float64)
    train, test = split.train, split.test
    sums = np.bincount(users[train], values[train], len(ratings.users))
    means = sums / np.bincount(users[train], minlength=len(ratings.users))
    return float(np.sqrt(np.mean((values[test] - means[users[test]]) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[8, 3, 1])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--clip", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    ratings = load_ratings(ml100k_csv())
    print(f"users' own averages: RMSE {own_averages(ratings):.4f}")
    for nodes in options.nodes:
        plain = tasks_of(ratings, nodes, 0)
        rng = np.random.default_rng(0)
        alone = pooled([train_alone(task, rng).test for task in plain])
        tasks = [
            MatrixFactorization.from_charter(
                task.charter, task.ratings, split_ratings(task.ratings), public_songs=ratings.songs
            )
            for task in plain
        ]
        users = round(len(ratings.users) / nodes)
        print(
            f"{nodes} nodes of {users} users: alone {alone:.4f},"
            f" together without privacy {together(plain, options.rounds):.4f}",
            flush=True,
        )
        for epsilon in options.epsilons:
            found = [
                private(tasks, epsilon, options.delta, options.rounds, options.clip, users, seed)
                for seed in range(options.seeds)
            ]
            print(
                f"  epsilon {epsilon:g}: {np.mean(found):.4f}"
                f" (worst of {options.seeds} seeds {max(found):.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
