"""Which loss of own plays tells best which group serves a listener: measured against the truth.

Nodes of one listener each look at two groups that have not learned from them. Half of a listener's
plays are evidence; the truth is the gain in NDCG@10 on the other half, a tenth of all plays held
out at a time. docs/tasks.md shows what comes out, and what was chosen.

    python benchmarks/own_losses.py PLAYS.csv [--seeds 5] [--nodes 100]

PLAYS.csv: columns user_id,song_id,plays, at least 250 users with 40 plays each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from openfl.core.contribution import ModelView
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge
from openfl.learning.comparison import FEW_EXAMPLES, paired_gain
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.plays import load_plays
from openfl.learning.implicit.task import RANKED, ImplicitFactorization
from openfl.learning.splitting import Split, split_ratings

Losses = NDArray[np.float64]
CHARTER = implicit_charter("plays")
NOTHING = np.zeros(0, dtype=np.intp)
MIN_PLAYS = 40
ROUNDS = 15
CASES = {"25 and 25": (25, 25), "10 and 40": (10, 40), "two tastes": (25, 25)}
FROM_RANKS: dict[str, Callable[[Losses], Losses]] = {
    "discount": lambda ranks: 1 - 1 / np.log2(1 + ranks),
    "discount, to 10": lambda ranks: np.where(ranks > RANKED, 1.0, 1 - 1 / np.log2(1 + ranks)),
    "log of the rank": lambda ranks: np.log2(1 + np.minimum(ranks, 20_000)),
}


def listener(data: Ratings, user: int) -> Ratings:
    return data.only_users(lambda name: name == data.users[user])


def learned(data: Ratings, users: Sequence[int]) -> DenseModel:
    """What a group of these users learns, each a member."""
    tasks = []
    for user in users:
        plays = listener(data, user)
        tasks.append(ImplicitFactorization.from_charter(CHARTER, plays, split_ratings(plays)))
    rng = np.random.default_rng(0)
    model = DenseModel.empty(CHARTER)
    for _ in range(ROUNDS):
        model = merge(CHARTER, [task.local_step(model, rng) for task in tasks])
    return model


def tastes(data: Ratings) -> NDArray[np.float64]:
    """float64[users]: where each stands along the first axis that parts them."""
    played = sp.csr_array((np.ones(len(data)), (data.user_index, data.song_index)))
    users, values, _ = svds(played, k=8, rng=np.random.default_rng(0))
    users = users * values
    users /= np.maximum(np.linalg.norm(users, axis=1, keepdims=True), 1e-12)
    axis: NDArray[np.float64] = users[:, users.std(axis=0).argmax()]
    return axis


def dealt(
    data: Ratings, case: str, nodes: int, rng: np.random.Generator
) -> tuple[list[int], list[int], list[int]]:
    """(the users of one group, of the other, those who look at both)."""
    users = rng.permutation(np.flatnonzero(np.bincount(data.user_index) >= MIN_PLAYS))
    first, second = CASES[case]
    if case == "two tastes":
        users = users[np.argsort(tastes(data)[users], kind="stable")]
        third = len(users) // 3
        low, high = rng.permutation(users[:third]), rng.permutation(users[-third:])
        judges = [*low[first : first + nodes // 2], *high[second : second + nodes // 2]]
        return low[:first].tolist(), high[:second].tolist(), judges
    groups = users[:first].tolist(), users[first : first + second].tolist()
    return *groups, users[first + second :][:nodes].tolist()


class Judge:
    """A node of one listener, half of whose plays are evidence and half the truth."""

    def __init__(self, plays: Ratings, rng: np.random.Generator) -> None:
        self.plays = plays
        order = rng.permutation(len(plays))
        half = len(order) // 2
        self.evidence = order[:half]
        self.whole = self._task(Split(np.arange(len(plays)), NOTHING, NOTHING))
        self.folds = [self._without(part) for part in self._parts(self.evidence)]
        self.truth = [self._without(part) for part in self._parts(order[half:])]

    def _parts(self, positions: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        return np.array_split(positions, max(1, 10 * len(positions) // len(self.plays)))

    def _without(self, part: NDArray[np.intp]) -> ImplicitFactorization:
        everything = np.arange(len(self.plays))
        return self._task(Split(np.setdiff1d(everything, part), np.sort(part), NOTHING))

    def _task(self, split: Split) -> ImplicitFactorization:
        return ImplicitFactorization.from_charter(CHARTER, self.plays, split)

    def ranks(self, model: ModelView) -> Losses:
        """Of the plays that are evidence, each left out in turn; infinite where it is unknown."""
        losses = self.whole.own_losses(model).losses
        # The task tells them by row key; here they are in the order of the file.
        place = np.argsort(np.argsort(self.whole._rows))
        missing = 1 - losses[place[self.evidence]]
        return np.where(missing > 0, 2 ** (1 / np.maximum(missing, 1e-3)) - 1, np.inf)

    @staticmethod
    def ndcg(tasks: Sequence[ImplicitFactorization], model: ModelView) -> Losses:
        return np.array([task.evaluate(model).value for task in tasks])


def gain(before: Losses, after: Losses) -> tuple[float, float]:
    found = paired_gain(before, after, np.arange(len(before)))
    assert found is not None
    return found


def measured(data: Ratings, case: str, nodes: int, seed: int) -> dict[str, list[tuple[float, ...]]]:
    """By loss: the measured gain of every node, its standard error, and the true gain."""
    rng = np.random.default_rng(seed)
    first, second, judges = dealt(data, case, nodes, rng)
    models = learned(data, first), learned(data, second)
    found: dict[str, list[tuple[float, ...]]] = {}
    for user in judges:
        judge = Judge(listener(data, user), rng)
        before, after = (judge.ndcg(judge.truth, model) for model in models)
        true, error = gain(before, after)
        # Of the truth the plain error: what is said of it is no verdict.
        truth = true, error / (1 + FEW_EXAMPLES / len(before)) ** 0.5
        ranks = [judge.ranks(model) for model in models]
        folds = [judge.ndcg(judge.folds, model) for model in models]
        gains = {name: gain(loss(ranks[0]), loss(ranks[1])) for name, loss in FROM_RANKS.items()}
        gains["NDCG@10, a tenth in turn"] = gain(*folds)
        gains["NDCG@10, a tenth once"] = gain(folds[0][:1], folds[1][:1])[0], 0.0
        for name, one in gains.items():
            if abs(one[0]) < 1.0:  # a gain is within -1 to 1; at the ends nothing was measured
                found.setdefault(name, []).append((*one, *truth))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plays", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=100)
    options = parser.parse_args()
    data = load_plays(options.plays)
    for case in CASES:
        everybody: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(options.seeds):
            for name, gains in measured(data, case, options.nodes, seed).items():
                everybody.setdefault(name, []).extend(gains)
        for name, gains in everybody.items():
            seen, error, true, of_truth = np.array(gains).T
            both = np.hypot(error, of_truth)
            known = both > 1e-9  # of a single figure no error is known
            z = (seen - true)[known] / both[known]
            shown = f"rms z {np.sqrt((z**2).mean()):.2f}" if error.any() else "no error known"
            print(
                f"{case}, {name}: correlation {np.corrcoef(seen, true)[0, 1]:.2f}, difference"
                f" {100 * (seen - true).std():.1f} % (standard error of the truth"
                f" {100 * np.sqrt((of_truth**2).mean()):.1f} %), {shown}, mean gain"
                f" {100 * seen.mean():+.1f} % (true {100 * true.mean():+.1f} %)",
                flush=True,
            )


if __name__ == "__main__":
    main()
