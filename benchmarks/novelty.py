"""What `recommend --not-popular` costs and brings, and which songs `similar` finds.

16 members with a sixteenth of the people each learn together for 10 rounds, out of step, with the
nodes' own row selection, int8, encoding and merging. Everybody's list of ten is then made from the
group's model: people are fitted to what they may train on, and nothing that was trained on, or held
back for validation, is recommended. NDCG@10 is of the test part; coverage is the part of all songs
that is in anybody's list.

By the dial: `mixed`, as a node calls it. By the others: the usual discount, scores times
evidence^-power; and the same places for the songs of least evidence among the 100 best. "Evidence"
is what the group counts of a song; the median over the places that the dial gives away says how
popular they are, "score" is the mean of what people would get there. The power in `distinctive` was
chosen on the validation part: --choose prints that.

For `similar`, where the catalogue has genres: how often one of ten neighbours is of the genre of
the song, over 500 songs that the group knows well, by doubt (n in evidence / (evidence + n)).

    python benchmarks/novelty.py --plays FOLDER [--seeds 0,1,2] [--choose]
    python benchmarks/novelty.py                        MovieLens 100K, learned as ratings
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from _ml100k import ml100k_csv
from implicit import Everything, parts_of, together

import openfl.learning.implicit.head as implicit_head
import openfl.learning.rating.head as rating_head
from openfl.core.contribution import ModelView
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.factorization.similar import DOUBT
from openfl.learning.factorization.wishes import mixed
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.plays import load_plays
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import head_of
from openfl.learning.metrics import best_columns, ndcg
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

Matrix = np.ndarray
TOP = 10
MEMBERS, ROUNDS, ROW_FRACTION = 16, 10, 0.25
SHARES = (0.1, 0.2, 0.3, 0.5, 1.0)
EVIDENCE_POWERS = (0.05, 0.1, 0.2, 0.5)
POWERS = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
POOL = 100
DOUBTS = (0.0, DOUBT, 30.0, 100.0, 300.0)
QUERIES, KNOWN_WELL, NEIGHBOURS = 500, 50, 10


def learn(data: Ratings, plays: bool, seed: int) -> ModelView:
    parts = parts_of(data, MEMBERS, seed)
    everything = Everything(data)
    if plays:
        charter = implicit_charter("benchmark", seed=seed)
        tasks = [ImplicitFactorization.from_charter(charter, part) for part in parts]
        return together(tasks, everything, ROW_FRACTION, ROUNDS, ())[0]
    stars = rating_charter("benchmark", scale=data.scale, seed=seed)
    raters = [MatrixFactorization.from_charter(stars, part) for part in parts]
    return together(raters, everything, ROW_FRACTION, ROUNDS, ())[0]


class Lists:
    """Everybody's list by a model, and what it is worth on one part of what was held out."""

    def __init__(self, data: Ratings, model: ModelView, part: str) -> None:
        self.data, self.split, self.keys = data, split_ratings(data), item_keys(data.songs, 40)
        self.head = head_of(model.charter, model)
        self.evidence = model.evidence(self.head.items, self.keys)
        met = self._matrix(self.split.train)
        self.users = self.head.fold_in(met, self.keys)
        self.scores = self.head.scores(self.users, self.keys)
        if part == "test":
            met = met + self._matrix(self.split.validation)
        rows, columns = met.nonzero()
        self.scores[:, self.evidence == 0] = -np.inf
        self.scores[rows, columns] = -np.inf
        self.truth = self._matrix(self.split.positions(part)).toarray() != 0
        self.measured = self.truth.any(axis=1)
        usual, _ = self.worth(best_columns(self.scores, TOP))
        self.usual = usual

    def _matrix(self, positions: np.ndarray) -> sp.csr_array:
        at = (self.data.user_index[positions], self.data.song_index[positions])
        shape = (len(self.data.users), len(self.data.songs))
        return sp.csr_array((self.data.values[positions].astype(float), at), shape=shape)

    def worth(self, lists: Matrix) -> tuple[float, float]:
        """(NDCG@10, coverage), over the people with something held out."""
        lists, truth = lists[self.measured], self.truth[self.measured]
        hits = np.take_along_axis(truth, lists, axis=1)
        gains = ndcg(hits, truth.sum(axis=1), TOP)
        return float(gains.mean()), len(np.unique(lists)) / len(self.keys)

    def given_away(self, favour: Matrix, share: float) -> tuple[Matrix, list[np.ndarray]]:
        """(intp[users, 10]: lists of which `share` goes to what `favour` has most of; whom to)."""
        lists = np.zeros((len(self.scores), TOP), dtype=np.intp)
        discoveries = []
        for user in range(len(lists)):
            allowed = np.flatnonzero(np.isfinite(self.scores[user]))
            chosen, places = mixed(self.scores[user, allowed], favour[user, allowed], TOP, share)
            lists[user] = allowed[chosen]
            usual = (
                best_columns(self.scores[user : user + 1], TOP - places)[0] if places < TOP else ()
            )
            discoveries.append(np.setdiff1d(lists[user], usual))
        return lists, discoveries

    def line(self, name: str, lists: Matrix, discoveries: list[np.ndarray] | None = None) -> str:
        gain, coverage = self.worth(lists)
        text = (
            f"{name:38} {gain:.4f} {100 * (gain / self.usual - 1):+6.1f} %  {100 * coverage:5.1f} %"
        )
        if discoveries is None:
            return text
        user = np.repeat(np.arange(len(lists)), [len(found) for found in discoveries])
        songs = np.concatenate(discoveries)
        score = float(self.scores[user, songs].mean())
        return f"{text}  {np.median(self.evidence[songs]):8.0f}  {score:5.2f}"


def dial(data: Ratings, model: ModelView) -> None:
    lists = Lists(data, model, "test")
    distinctive = lists.head.distinctive(lists.users, lists.keys)
    print(f"{'':38} NDCG@10           coverage  evidence  score")
    everyone = list(best_columns(lists.scores, TOP))
    print(lists.line("as usual", np.array(everyone), everyone))
    for share in SHARES:
        print(lists.line(f"--not-popular {share}", *lists.given_away(distinctive, share)))
    least = np.full(lists.scores.shape, -np.inf)
    pool = best_columns(lists.scores, POOL)
    np.put_along_axis(least, pool, -lists.evidence[pool], axis=1)
    for share in SHARES[:3]:
        name = f"least evidence of {POOL} best, {share}"
        print(lists.line(name, *lists.given_away(least, share)))
    for power in EVIDENCE_POWERS:
        discounted = lists.scores * np.maximum(lists.evidence, 1.0) ** -power
        print(lists.line(f"score * evidence^-{power}", best_columns(discounted, TOP)))


def choose(data: Ratings, model: ModelView) -> None:
    lists = Lists(data, model, "validation")
    module = implicit_head if lists.head.name == "implicit" else rating_head
    chosen = module.DISCOUNT
    print("on the validation part, by the power in `distinctive`; share 0.2")
    for power in POWERS:
        module.DISCOUNT = power  # type: ignore[misc]
        favour = lists.head.distinctive(lists.users, lists.keys)
        mark = " (chosen)" if power == chosen else ""
        print(lists.line(f"power {power}{mark}", *lists.given_away(favour, 0.2)))
    module.DISCOUNT = chosen  # type: ignore[misc]


def neighbours(data: Ratings, model: ModelView, genres: dict[str, str]) -> None:
    """How often neighbours share a genre."""
    head, keys = head_of(model.charter, model), item_keys(data.songs, 40)
    evidence = model.evidence(head.items, keys)
    genre = np.array([genres.get(song, "") for song in data.songs])
    known = (genre != "") & (evidence > 0)
    well = np.flatnonzero(known & (evidence >= KNOWN_WELL))
    asked = np.random.default_rng(0).choice(well, min(QUERIES, len(well)), replace=False)
    chance = float(np.mean([(genre[known] == genre[song]).mean() for song in asked]))
    rows = head.vectors(keys)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    for doubt in DOUBTS:
        likeness = (rows[asked] @ rows.T) * evidence / np.maximum(evidence + doubt, 1.0)
        likeness[:, ~known] = -np.inf
        likeness[np.arange(len(asked)), asked] = -np.inf
        near = best_columns(likeness, NEIGHBOURS)
        same = float((genre[near] == genre[asked][:, None]).mean())
        median = np.median(evidence[near])
        print(f"similar, doubt {doubt:3.0f}: same genre {same:.3f}, median evidence {median:.0f}")
    print(f"chance: {chance:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plays", type=Path, metavar="FOLDER", help="plays.csv and songs.csv")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--choose", action="store_true")
    options = parser.parse_args()
    data = (
        load_ratings(ml100k_csv())
        if options.plays is None
        else load_plays(options.plays / "plays.csv")
    )
    print(f"{len(data.users)} people, {len(data.songs)} songs, {len(data)} ratings or plays")
    genres: dict[str, str] = {}
    if options.plays is not None:
        with (options.plays / "songs.csv").open(encoding="utf-8", newline="") as file:
            genres = {row["song_id"]: row.get("genre") or "" for row in csv.DictReader(file)}
    for seed in map(int, options.seeds.split(",")):
        model = learn(data, options.plays is not None, seed)
        print(f"seed {seed}")
        if options.choose:
            choose(data, model)
            continue
        dial(data, model)
        if any(genres.values()):
            neighbours(data, model, genres)


if __name__ == "__main__":
    main()
