"""Rounds in lockstep against rounds out of step, on MovieLens 100K split by user, in one process.

In lockstep all nodes train from the same model and then publish; out of step each trains from what
those before it have just published. The nodes' own code does the rest: row selection, int8,
encoding, merging. No network: every contribution reaches everybody. Prints, a line a case, the
pooled held-out RMSE above central training in percent, and the published KB a node so far.

    python benchmarks/lockstep.py [--nodes 8] [--rounds 6] [--row-fractions 0.25 0.5 1.0]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from _ml100k import ml100k_csv

from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Encoding
from openfl.group.publisher import Publisher
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity


def tasks_of(
    ratings: Ratings, nodes: int, seed: int, encoding: Encoding = "int8"
) -> list[MatrixFactorization]:
    charter = rating_charter("lockstep", scale=ratings.scale, encoding=encoding)
    users = list(ratings.users)
    np.random.default_rng(seed).shuffle(users)
    owner = {user: n % nodes for n, user in enumerate(users)}
    tasks = []
    for node in range(nodes):
        mine = ratings.only_users(lambda user, node=node: owner[user] == node)
        tasks.append(MatrixFactorization.from_charter(charter, mine, split_ratings(mine)))
    return tasks


def course(
    tasks: list[MatrixFactorization], row_fraction: float, lockstep: bool, rounds: int
) -> list[tuple[float, float]]:
    """(pooled test RMSE, mean published KB) after each round."""
    rng = np.random.default_rng(0)
    replica = Replica(tasks[0].charter)
    publishers = [
        Publisher(
            replica,
            Libp2pSealer(generate_identity()),
            RowSelector(row_fraction),
            rng,
            epoch=1,
            examples=task.train_examples,
            inline_limit_bytes=1 << 20,
        )
        for task in tasks
    ]
    out = []
    for number in range(1, rounds + 1):
        shared = replica.view()
        for n in rng.permutation(len(tasks)):
            view = shared if lockstep else replica.view()
            work = tasks[n].local_step(view, rng)
            publishers[n].publish(work, number, None, 0.0)
        found = [task.evaluate(replica.view(), "test") for task in tasks]
        squares = sum(e.value**2 * e.count for e in found)
        published = float(np.mean([p.published_bytes for p in publishers])) / 1000
        out.append((math.sqrt(squares / sum(e.count for e in found)), published))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--row-fractions", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    ratings = load_ratings(ml100k_csv())
    (everything,) = tasks_of(ratings, 1, options.seed)
    central = train_alone(everything, np.random.default_rng(0), max_rounds=60).test.value
    print(f"central test RMSE {central:.4f}; {options.nodes} nodes")
    for lockstep in (True, False):
        for row_fraction in options.row_fractions:
            tasks = tasks_of(ratings, options.nodes, options.seed)
            shown = " ".join(
                f"{100 * (value / central - 1):+.2f}%/{kilobytes:.0f}KB"
                for value, kilobytes in course(tasks, row_fraction, lockstep, options.rounds)
            )
            name = "lockstep" if lockstep else "out of step"
            print(f"{name:11}  rows sent {row_fraction:4.0%}  {shown}")


if __name__ == "__main__":
    main()
