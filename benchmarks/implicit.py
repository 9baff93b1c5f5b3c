"""NDCG@10 of a group that learns from plays, on MovieLens 100K (a rating is a play), test split.

Compared: what is popular; implicit ALS in one place, each side solved exactly in turn (Hu, Koren
and Volinsky 2008, written out here, independent of the task); 16 members by user, out of step, with
the nodes' own row selection, int8, encoding and merging; and 16 members that learned the ratings,
by the same ranking. Songs of training and validation are left out of every list.

    python benchmarks/implicit.py [--nodes 16] [--rounds 15] [--row-fraction 0.25] [--seed 0]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from _ml100k import ml100k_csv

from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Charter, ModelView
from openfl.core.model_view import DenseModel
from openfl.group.publisher import Publisher
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.implicit.charter import ITEMS, implicit_charter, implicit_parameters
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import head_of
from openfl.learning.metrics import RankingReport, rank
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity

Matrix = np.ndarray
SHOWN = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30)


class Everything:
    """The whole data set in one place: who played what, and the ranking of any scores."""

    def __init__(self, ratings: Ratings) -> None:
        self.ratings = ratings
        self.split = split_ratings(ratings)
        self.keys = item_keys(ratings.songs, 40)
        self.plays = self._matrix(self.split.train, np.ones(len(ratings)))
        self._validation = self._matrix(self.split.validation, np.ones(len(ratings)))
        self._test = self._matrix(self.split.test, np.ones(len(ratings)))

    def _matrix(self, positions: np.ndarray, values: np.ndarray) -> sp.csr_array:
        at = (self.ratings.user_index[positions], self.ratings.song_index[positions])
        shape = (len(self.ratings.users), len(self.ratings.songs))
        return sp.csr_array((values[positions].astype(float), at), shape=shape)

    def report(self, scores: Matrix) -> RankingReport:
        seen = self.plays + self._validation
        return rank(lambda start, end: scores[start:end], seen, self._test)

    def of_model(self, charter: Charter, model: ModelView) -> RankingReport:
        """Everybody fitted to the model, as `openfl-node evaluate` does."""
        head = head_of(charter, model)
        given = self.plays
        if head.name == "rating":
            given = self._matrix(self.split.train, self.ratings.values)
        scores = head.scores(head.fold_in(given, self.keys), self.keys)
        scores[:, model.evidence(head.items, self.keys) == 0] = -np.inf
        return self.report(scores)


def central_als(plays: sp.csr_array, charter: Charter, start: Matrix, sweeps: int) -> Matrix:
    """float64[users, songs]: scores after alternating exact solutions."""
    parameters = implicit_parameters(charter)

    def solve(one: sp.csr_array, other: Matrix) -> Matrix:
        gram = other.T @ other
        solved = np.zeros((one.shape[0], other.shape[1]))
        for n in range(one.shape[0]):
            at = slice(one.indptr[n], one.indptr[n + 1])
            rows, strength = other[one.indices[at]], one.data[at]
            extra = parameters.alpha * strength
            ridge = parameters.prior + parameters.prior_per_evidence * strength.sum()
            left = gram + (rows * extra[:, None]).T @ rows + ridge * np.eye(len(gram))
            solved[n] = np.linalg.solve(left, (1 + extra) @ rows)
        return solved

    songs, by_song = start, plays.T.tocsr()
    for _ in range(sweeps):
        songs = solve(by_song, solve(plays, songs))
    return solve(plays, songs) @ songs.T


def parts_of(ratings: Ratings, nodes: int, seed: int) -> list[Ratings]:
    users = list(ratings.users)
    np.random.default_rng(seed).shuffle(users)
    owner = {user: n % nodes for n, user in enumerate(users)}
    return [ratings.only_users(lambda user, n=n: owner[user] == n) for n in range(nodes)]


def together(
    tasks: Sequence[ImplicitFactorization] | Sequence[MatrixFactorization],
    everything: Everything,
    row_fraction: float,
    rounds: int,
    shown: Sequence[int],
) -> tuple[ModelView, str]:
    """(the last model, NDCG and mean published KB after some rounds)."""
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
    course = []
    for number in range(1, rounds + 1):
        for n in rng.permutation(len(tasks)):
            work = tasks[n].local_step(replica.view(), rng)
            publishers[n].publish(work, number, None, 0.0)
        if number in shown:
            ndcg = everything.of_model(replica.charter, replica.view()).ndcg
            published = float(np.mean([p.published_bytes for p in publishers])) / 1000
            course.append(f"{number}: {ndcg:.4f}/{published:.0f}KB")
    return replica.view(), "  ".join(course)


def shown_report(name: str, report: RankingReport, central: float) -> str:
    return (
        f"{name:32} NDCG@10 {report.ndcg:.4f} ({100 * (report.ndcg / central - 1):+.1f} %)"
        f"  recall@10 {report.recall:.4f}  coverage {report.coverage:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--row-fraction", type=float, default=0.25)
    parser.add_argument("--factors", type=int, default=16)
    parser.add_argument("--sweeps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rated = load_ratings(ml100k_csv())
    played = dataclasses.replace(rated, values=np.ones(len(rated), np.float32), scale=(0.0, 1.0))
    everything = Everything(rated)
    charter = implicit_charter("benchmark", factors=options.factors, seed=options.seed)
    start = DenseModel.empty(charter).rows(ITEMS, everything.keys).astype(float)
    central = everything.report(central_als(everything.plays, charter, start, options.sweeps))

    tasks = [
        ImplicitFactorization.from_charter(charter, part)
        for part in parts_of(played, options.nodes, options.seed)
    ]
    model, course = together(tasks, everything, options.row_fraction, options.rounds, SHOWN)
    stars = rating_charter("benchmark", scale=rated.scale)
    raters = [
        MatrixFactorization.from_charter(stars, part)
        for part in parts_of(rated, options.nodes, options.seed)
    ]
    rating_model, _ = together(raters, everything, options.row_fraction, options.rounds, ())

    counts = np.asarray(everything.plays.sum(axis=0))
    popular = np.tile(counts, (len(rated.users), 1))
    print(f"{options.nodes} members, round: NDCG@10/published a member  {course}")
    print(shown_report("popularity", everything.report(popular), central.ndcg))
    name = f"model of ratings, {options.nodes} members"
    print(shown_report(name, everything.of_model(stars, rating_model), central.ndcg))
    print(shown_report("central implicit ALS", central, central.ndcg))
    name = f"implicit, {options.nodes} members"
    print(shown_report(name, everything.of_model(charter, model), central.ndcg))


if __name__ == "__main__":
    main()
