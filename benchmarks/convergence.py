"""Rounds to reach the central result when users are spread over nodes, merged exactly in-process.

No network and no quantization: this checks the learning task itself. One line a node count: the
pooled held-out RMSE after each round, and the first round within 1 % of central.

    python benchmarks/convergence.py [--rounds 8] [--nodes 8,16,64] [--data ratings.csv]
"""

from __future__ import annotations

import argparse
import hashlib
import math
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.core.contribution import Contribution, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge, train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import USUAL_USER_PRIOR, rating_charter
from openfl.learning.rating.task import MatrixFactorization


def node_of(user: str, nodes: int) -> int:
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=4).digest(), "big") % nodes


def parts(ratings: Ratings, nodes: int) -> list[Ratings]:
    """The ratings of each node that has any users, users dealt out by a hash of their id."""
    found = {user: node_of(user, nodes) for user in ratings.users}
    return [
        ratings.only_users(lambda user, node=node: found[user] == node)
        for node in sorted(set(found.values()))
    ]


def pooled(tasks: list[MatrixFactorization], model: DenseModel, split: str) -> float:
    results = [task.evaluate(model, split) for task in tasks]
    counted = [r for r in results if r.count]
    return math.sqrt(sum(r.value**2 * r.count for r in counted) / sum(r.count for r in counted))


def int8(contribution: Contribution, rng: np.random.Generator) -> Contribution:
    """Rows as they travel: int8 with stochastic rounding and one float16 scale a row."""
    blocks = []
    for block in contribution.blocks:
        values = block.values
        if block.values.shape[1] > 1:
            scale = (np.abs(values).max(axis=1, keepdims=True) / 127).astype(np.float16)
            scale = np.maximum(scale.astype(np.float32), 1e-7)
            values = np.clip(np.floor(values / scale + rng.random(values.shape)), -127, 127) * scale
            values = values.astype(np.float32)
        blocks.append(RowBlock(block.table, block.keys, values, block.evidence, block.curvature))
    return Contribution(tuple(blocks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--nodes", default="8,16,64")
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--user-prior", type=float, default=USUAL_USER_PRIOR)
    parser.add_argument("--int8", action="store_true", help="quantize rows as on the wire")
    options = parser.parse_args()

    ratings = load_ratings(options.data or ml100k_csv())
    charter = rating_charter("benchmark", ratings.scale, user_prior=options.user_prior)
    rng = np.random.default_rng(0)
    central = train_alone(MatrixFactorization.from_charter(charter, ratings), rng)
    print(
        f"central: validation {central.validation.value:.4f} test {central.test.value:.4f} "
        f"in {central.rounds} rounds"
    )
    for nodes in map(int, options.nodes.split(",")):
        tasks = [MatrixFactorization.from_charter(charter, part) for part in parts(ratings, nodes)]
        model = DenseModel.empty(charter)
        course: list[float] = []
        for _ in range(options.rounds):
            steps = [task.local_step(model, rng) for task in tasks]
            if options.int8:
                steps = [int8(step, rng) for step in steps]
            model = merge(charter, steps)
            course.append(pooled(tasks, model, "test"))
        bound = central.test.value * 1.01
        reached = next((n for n, value in enumerate(course, start=1) if value <= bound), None)
        shown = " ".join(f"{value:.4f}" for value in course)
        print(f"{nodes} nodes: test {shown}; within 1 % of central at round {reached}")


if __name__ == "__main__":
    main()
