"""What groups with a parent could win: children that shrink towards the group everybody teaches.

Users are put into clusters of taste by one half of their ratings (k-means of their vectors under a
model of that half), and everything is trained and judged on the other half, so that a cluster
cannot be an echo of the very ratings it is judged by. Compared, pooled test RMSE: one model for
all; a model for each cluster; and for each cluster a model whose rows shrink towards those of the
one model instead of to zero,

    y = (sum h x + s D y_parent) / (sum h + s D),   D the charter's prior,

with several strengths s (s = 1: as strongly as to zero). The best of these is picked by the test
itself, in favour of parents. Everything is trained in one place, without messages: an upper bound.

    python benchmarks/parents.py [--data ratings.csv] [--clusters 3] [--seeds 5] [--rounds 20]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.core.contribution import MAX_PRECISION, Contribution
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import SoloModel
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import MEAN, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split

NOTHING = np.empty(0, dtype=np.intp)
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)


def some(ratings: Ratings, chosen: np.ndarray) -> Ratings:
    """The ratings marked in `chosen`, bool[n], as if the others did not exist."""
    users, user = np.unique(ratings.user_index[chosen], return_inverse=True)
    return Ratings(
        users=tuple(ratings.users[u] for u in users),
        songs=ratings.songs,
        user_index=user.astype(np.int32),
        song_index=ratings.song_index[chosen],
        values=ratings.values[chosen],
        scale=ratings.scale,
    )


def trained(task: MatrixFactorization, rounds: int) -> DenseModel:
    solo = SoloModel(task, np.random.default_rng(0))
    for _ in range(rounds):
        solo.step()
    return solo.model


def clusters_of(task: MatrixFactorization, count: int, rounds: int, seed: int) -> np.ndarray:
    """int[users]: k-means of the users' vectors, the best of 10 starts."""
    task.local_step(trained(task, rounds), np.random.default_rng(0))
    vectors = task.private_state()["user_factors"][:, :-1].astype(float)
    rng = np.random.default_rng([seed, 5])
    best, found = np.inf, np.zeros(len(vectors), dtype=int)
    for _ in range(10):
        centres = vectors[rng.choice(len(vectors), count, replace=False)]
        for _ in range(50):
            distance = ((vectors[:, None] - centres) ** 2).sum(axis=2)
            own = distance.argmin(axis=1)
            members = [vectors[own == n] for n in range(count)]
            centres = np.array(
                [m.mean(axis=0) if len(m) else c for m, c in zip(members, centres, strict=True)]
            )
        if distance.min(axis=1).sum() < best:
            best, found = distance.min(axis=1).sum(), own
    return found


def towards(contribution: Contribution, parent: DenseModel, strength: float) -> DenseModel:
    """The model of one contribution whose rows shrink towards `parent`, the mean rating excepted;
    where it has no row, the parent's."""
    charter, tables = parent.charter, {}
    for block in contribution.blocks:
        schema = charter.table(block.table)
        keys = np.union1d(parent.keys(block.table), block.keys)
        rows = parent.rows(block.table, keys).astype(float)
        evidence = parent.evidence(block.table, keys)
        at = np.searchsorted(keys, block.keys)
        h = np.minimum(block.evidence[:, None] * block.curvature.astype(float), MAX_PRECISION)
        prior = np.asarray(schema.prior) + np.outer(block.evidence, schema.prior_per_evidence)
        pull = prior * (1.0 if block.table == MEAN else strength)
        rows[at] = (h * block.values + pull * rows[at]) / (h + pull)
        tables[block.table] = DenseTable(keys, rows.astype(np.float32), evidence)
    return DenseModel(charter, tables)


def child(
    task: MatrixFactorization, parent: DenseModel, strength: float, rounds: int
) -> DenseModel:
    model = parent
    for _ in range(rounds):
        contribution = task.local_step(model, np.random.default_rng(0))
        model = towards(contribution, parent, strength)
    return model


def pooled(squares: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(squares))))


def measure(ratings: Ratings, count: int, rounds: int, seed: int) -> dict[str, float]:
    """Pooled test RMSE by what is compared."""
    charter = rating_charter("parents", ratings.scale)
    rng = np.random.default_rng([seed, 3])
    half = rng.random(len(ratings)) < 0.5
    first, second = some(ratings, half), some(ratings, ~half)
    everything = Split(np.arange(len(first)), NOTHING, NOTHING)
    sorter = MatrixFactorization.from_charter(charter, first, everything)
    cluster = dict(zip(first.users, clusters_of(sorter, count, rounds, seed), strict=True))
    known = np.array([user in cluster for user in second.users])
    second = some(second, known[second.user_index])
    is_test = rng.random(len(second)) < 0.2
    own = np.array([cluster[user] for user in second.users])[second.user_index]

    def task_of(chosen: np.ndarray) -> MatrixFactorization:
        part = some(second, chosen)
        test = is_test[chosen]
        split = Split(np.flatnonzero(~test), NOTHING, np.flatnonzero(test))
        return MatrixFactorization.from_charter(charter, part, split)

    whole = task_of(np.ones(len(second), dtype=bool))
    parent = trained(whole, rounds)
    parts = [task_of(own == n) for n in range(count) if (~is_test[own == n]).any()]
    found = {"one model": whole.evaluate(parent, "test").value}
    found["a model each"] = pooled([p.held_out_losses(trained(p, rounds), "test") for p in parts])
    for strength in STRENGTHS:
        models = [child(part, parent, strength, rounds) for part in parts]
        losses = [p.held_out_losses(m, "test") for p, m in zip(parts, models, strict=True)]
        found[f"parent, s = {strength:g}"] = pooled(losses)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="ratings.csv (default: MovieLens 100K)")
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    ratings = load_ratings(options.data or ml100k_csv())
    runs = [
        measure(ratings, options.clusters, options.rounds, seed) for seed in range(options.seeds)
    ]
    for name in runs[0]:
        values = np.array([run[name] for run in runs])
        change = 100 * (values / np.array([run["one model"] for run in runs]) - 1)
        spread = f"{change.min():+.2f} to {change.max():+.2f}"
        print(f"{name:16} {values.mean():.4f}  {change.mean():+.2f} % ({spread})")


if __name__ == "__main__":
    main()
