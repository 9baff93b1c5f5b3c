"""Central training beside other libraries: cornac's MF on ratings, implicit's ALS on plays.

On the same split of the same data, on one core, by turns, each fit in a process of its own. Both
sides are measured with their defaults (ours with the charter's, theirs with the same number of
factors), and with `--tune` with the best of a small grid, chosen on validation. Ours is from the
ratings in memory to the model with the best validation metric, all rounds, evaluations and waiting
for a better one counted; theirs is `fit` alone, their data set being made before. "as good" is ours
when stopped in the first round that is no worse on validation than theirs.

    python -m venv fit-venv && fit-venv/bin/pip install cornac implicit
    python benchmarks/fit_beside.py --their-python fit-venv/bin/python [--repeats 5] [--tune]
        [--data ml-100k,1m,10m,plays-ml-100k,plays-1m] [--plays plays.csv]

Data: MovieLens 100K; 1m and 10m: made up in the shapes of MovieLens 1M and 10M, twelve directions
of taste of falling strength, people and items as unequally active as lognormal and Zipf have it,
noise of 0.8 stars. plays-ml-100k: each rating is a play. plays-1m: made up, people play what they
like. plays: of the file `--plays`.

`--memory 25m` instead measures ours alone, on 25 million ratings.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import scipy.sparse as sp
from _memory import resident_peak_mb
from _ml100k import ml100k_csv
from central import fixed_split

from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.implicit.charter import ITEMS as PLAYED
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.plays import load_plays
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.metrics import rank
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split, split_ratings

SHAPES = {"1m": (1_000_000, 6040, 3706), "10m": (10_000_000, 69_878, 10_677)}
SHAPES["25m"] = (25_000_095, 162_541, 59_047)
DIRECTIONS = 12
MAX_ROUNDS = 60
PLAYS_LIMIT = 10
"""Of one song by one listener, as in the charter."""

OUR_GRID = [
    {"prior": prior, "prior_per_evidence": per, "user_prior": user, "relevance": relevance}
    for prior, per, user, relevance in itertools.product(
        (3.0, 5.0, 7.0, 10.0), (0.0, 0.02, 0.05), (0.0, 0.4), (0.0, 50.0)
    )
]
THEIR_GRID = [
    {"k": 8, "max_iter": epochs, "learning_rate": rate, "lambda_reg": shrinkage}
    for epochs, rate, shrinkage in itertools.product(
        (10, 20, 40, 80), (0.005, 0.01, 0.02), (0.01, 0.02, 0.05, 0.1)
    )
]
OUR_PLAYS_GRID = [
    {"prior": prior, "prior_per_evidence": per, "alpha": alpha}
    for prior, per, alpha in itertools.product((2.0, 4.0, 8.0, 16.0), (0.0, 0.05), (0.5, 1.0, 3.0))
]
THEIR_PLAYS_GRID = [
    {"factors": 16, "regularization": shrinkage, "alpha": alpha, "iterations": sweeps}
    for shrinkage, alpha, sweeps in itertools.product(
        (0.01, 1.0, 4.0, 8.0, 16.0), (1.0, 2.0, 4.0), (8, 15)
    )
]


@dataclasses.dataclass(frozen=True)
class Data:
    """Ratings, or plays, and how they are split."""

    name: str
    ratings: Ratings
    split: Split
    plays: bool

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {"shape": (len(self.ratings.users), len(self.ratings.songs))}
        values = np.minimum(self.ratings.values, PLAYS_LIMIT) if self.plays else self.ratings.values
        for part in ("train", "validation", "test"):
            at = self.split.positions(part)
            arrays[f"{part}_users"] = self.ratings.user_index[at]
            arrays[f"{part}_items"] = self.ratings.song_index[at]
            arrays[f"{part}_values"] = values[at]
        np.savez(path, scale=np.array(self.ratings.scale), **arrays)

    def matrix(self, part: str) -> Any:
        at = self.split.positions(part)
        places = (self.ratings.user_index[at], self.ratings.song_index[at])
        shape = (len(self.ratings.users), len(self.ratings.songs))
        return sp.csr_array((np.ones(len(at)), places), shape=shape)

    def ndcg(self, users: np.ndarray, items: np.ndarray, part: str) -> float:
        """NDCG@10 of everybody with something held out, all of the catalogue ranked."""
        seen = self.matrix("train")
        if part == "test":
            seen = seen + self.matrix("validation")
        held_out = self.matrix(part)
        return rank(lambda start, end: users[start:end] @ items.T, seen, held_out).ndcg


def named(user: np.ndarray, song: np.ndarray, values: np.ndarray, scale: Any) -> Ratings:
    users, user = np.unique(user, return_inverse=True)
    songs, song = np.unique(song, return_inverse=True)
    names = (tuple(map(str, users)), tuple(map(str, songs)))
    places = (user.astype(np.int32), song.astype(np.int32))
    return Ratings(*names, *places, values.astype(np.float32), scale)


def made_up_ratings(count: int, users: int, songs: int, seed: int = 0) -> Ratings:
    """`count` ratings of distinct pairs, in half stars."""
    draw = np.random.default_rng(seed)
    active = np.cumsum(draw.lognormal(0, 1, users))
    popular = np.cumsum((np.arange(songs) + 20.0) ** -0.9)
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < count:
        more = int((count - len(pairs)) * 1.3) + 1000
        user = np.searchsorted(active, draw.random(more) * active[-1])
        song = np.searchsorted(popular, draw.random(more) * popular[-1])
        pairs = np.unique(np.concatenate((pairs, user * songs + song)))
    pairs = np.sort(draw.permutation(pairs)[:count])
    user, song = pairs // songs, pairs % songs
    strength = 0.55 * 0.8 ** np.arange(DIRECTIONS)
    tastes = draw.normal(size=(users, DIRECTIONS)) * np.sqrt(strength)
    traits = draw.normal(size=(songs, DIRECTIONS)) * np.sqrt(strength)
    generous, good = draw.normal(0, 0.4, users), draw.normal(0, 0.45, songs)
    values = np.empty(count, dtype=np.float32)
    for start in range(0, count, 500_000):
        u, s = user[start : start + 500_000], song[start : start + 500_000]
        liked = np.einsum("nk,nk->n", tastes[u], traits[s]) + draw.normal(0, 0.8, len(u))
        values[start : start + len(u)] = 3.4 + generous[u] + good[s] + liked
    return named(user, song, np.clip(np.round(2 * values) / 2, 0.5, 5), (0.5, 5.0))


def made_up_plays(count: int, users: int, songs: int, seed: int = 0) -> Ratings:
    """About `count` plays, of songs that are popular or to the listener's taste, some often."""
    draw = np.random.default_rng(seed)
    active = draw.lognormal(0, 1, users)
    each = np.maximum(5, np.rint(active * count / active.sum())).astype(int)
    strength = 0.8 ** (np.arange(DIRECTIONS) / 2)
    tastes = draw.normal(size=(users, DIRECTIONS)) * strength
    traits = draw.normal(size=(songs, DIRECTIONS)) * strength
    popular = -0.9 * np.log(np.arange(songs) + 20.0)
    found: list[np.ndarray] = []
    for start in range(0, users, 500):
        reach = 0.7 * tastes[start : start + 500] @ traits.T + popular
        reach += draw.gumbel(size=reach.shape)
        order = np.argsort(-reach, axis=1)
        found += [order[n, : min(m, songs)] for n, m in enumerate(each[start : start + 500])]
    song = np.concatenate(found)
    user = np.repeat(np.arange(users), [len(mine) for mine in found])
    return named(user, song, draw.geometric(0.5, len(song)), (0.0, 10.0))


def loaded(name: str, plays: Path | None) -> Data:
    if name == "plays":
        if plays is None:
            raise SystemExit("--data plays needs --plays FILE")
        found = load_plays(plays)
        return Data(name, found, split_ratings(found), True)
    if name == "plays-1m":
        found = made_up_plays(*SHAPES["1m"])
        return Data(name, found, split_ratings(found), True)
    if name.endswith("ml-100k"):
        ratings = load_ratings(ml100k_csv())
        if name == "ml-100k":
            return Data(name, ratings, fixed_split(len(ratings)), False)
        ones = np.ones(len(ratings), dtype=np.float32)
        played = dataclasses.replace(ratings, values=ones, scale=(0.0, 1.0))
        return Data(name, played, split_ratings(played), True)
    if name not in SHAPES:
        raise SystemExit(f"no data {name}; there are ml-100k, {', '.join(SHAPES)}, plays-ml-100k,")
    ratings = made_up_ratings(*SHAPES[name])
    return Data(name, ratings, fixed_split(len(ratings)), False)


def our_fit(data: Data, settings: dict[str, Any], rounds: int) -> dict[str, Any]:
    of_plays = implicit_charter("benchmark", **settings) if data.plays else None
    before = resident_peak_mb(reset=True)
    started = time.perf_counter()
    task: ImplicitFactorization | MatrixFactorization
    if of_plays is not None:
        task = ImplicitFactorization.from_charter(of_plays, data.ratings, data.split)
    else:
        charter = rating_charter("benchmark", data.ratings.scale, **settings)
        task = MatrixFactorization.from_charter(charter, data.ratings, data.split)
    result = train_alone(task, np.random.default_rng(0), max_rounds=rounds)
    answer = {"settings": settings, "seconds": time.perf_counter() - started}
    answer["memory_mb"] = resident_peak_mb() - before
    answer["rounds"], answer["history"] = result.rounds, result.history
    if isinstance(task, MatrixFactorization):
        answer["validation"], answer["test"] = result.validation.value, result.test.value
    else:
        # All listeners, where a node's own evaluation makes do with some.
        rows = result.model.rows(PLAYED, task.own_items.keys).astype(np.float64)
        items = np.zeros((len(data.ratings.songs), rows.shape[1]))
        items[:] = rows[np.searchsorted(task.own_items.keys, song_keys(data))]
        task.local_step(result.model, np.random.default_rng(0))
        users = task.private_state()["user_factors"].astype(np.float64)
        for part in ("validation", "test"):
            answer[part] = data.ndcg(users, items, part)
    return answer


def song_keys(data: Data) -> np.ndarray:
    from openfl.items import OPAQUE, key_bits
    from openfl.learning.factorization.item_rows import item_keys

    return item_keys(data.ratings.songs, key_bits(OPAQUE))


class Beside:
    """Both sides on one set of data. Each fit is in a process of its own, on one core."""

    def __init__(self, name: str, plays: Path | None, python: str, folder: Path, core: int) -> None:
        self.name, self._plays, self._python, self._core = name, plays, python, core
        self.data = loaded(name, plays)
        self._file = folder / f"{name}.npz"
        self.data.save(self._file)
        self.versions = ""

    def ours(self, wanted: list[dict[str, Any]], rounds: int = MAX_ROUNDS) -> list[dict[str, Any]]:
        of_plays = [] if self._plays is None else ["--plays", str(self._plays)]
        command = [sys.executable, __file__, "--data", self.name, *of_plays]
        command += ["--ours", json.dumps(wanted), "--rounds", str(rounds)]
        return self._run(command)["fits"]

    def theirs(self, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kind = "implicit" if self.data.plays else "cornac"
        script = str(Path(__file__).with_name("_fit_theirs.py"))
        answer = self._run([self._python, script, str(self._file), kind, json.dumps(wanted)])
        self.versions = f"{kind} {answer['version']} (NumPy {answer['numpy']})"
        for fit in answer["fits"]:
            if "factors" in fit:
                path = Path(fit.pop("factors"))
                with np.load(path) as found:
                    users, items = found["users"], found["items"]
                path.unlink()
                for part in ("validation", "test"):
                    fit[part] = self.data.ndcg(users, items, part)
        return answer["fits"]

    def _run(self, command: list[str]) -> dict[str, Any]:
        def on_one_core() -> None:
            os.sched_setaffinity(0, {self._core})

        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, preexec_fn=on_one_core
            )
        except OSError as error:
            raise SystemExit(f"cannot run {command[0]}: {error.strerror}; {HOW}") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise SystemExit(f"{Path(command[1]).name} failed under {command[0]}: {last}; {HOW}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def better(self, fits: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """The settings of the fit that is best on validation."""
        sign = -1 if self.data.plays else 1
        best = min(fits, key=lambda fit: sign * fit["validation"])
        settings: dict[str, Any] = best["settings"]
        return settings


HOW = (
    "make an environment with: python -m venv fit-venv && fit-venv/bin/pip install cornac implicit;"
    " then give --their-python fit-venv/bin/python"
)


def shown(fits: list[dict[str, Any]]) -> str:
    seconds = sorted(fit["seconds"] for fit in fits)
    rounds = f", {fits[0]['rounds']} rounds" if "rounds" in fits[0] else ""
    return (
        f"{np.median(seconds):7.3f} s ({seconds[0]:.3f} to {seconds[-1]:.3f})"
        f"  validation {np.mean([fit['validation'] for fit in fits]):.4f}"
        f"  test {np.mean([fit['test'] for fit in fits]):.4f}"
        f"  +{np.median([fit['memory_mb'] for fit in fits]):.0f} MB{rounds}"
    )


def until_as_good(beside: Beside, ours: dict[str, Any], theirs: dict[str, Any]) -> int | None:
    """The first round in which ours is as good on validation; None when in none.

    Of plays what a node measures is of some listeners, so these are compared by their own NDCG only
    as a guide to the round.
    """
    goal = 1 - theirs["validation"] if beside.data.plays else theirs["validation"]
    for number, value in enumerate(ours["history"], start=1):
        if value <= goal:
            return number
    return None


def compare(beside: Beside, repeats: int, tune: bool) -> None:
    data = beside.data
    count = len(data.ratings)
    measure = "NDCG@10, higher is better" if data.plays else "RMSE, lower is better"
    print(
        f"{beside.name}: {count:,} of {len(data.ratings.users):,} x {len(data.ratings.songs):,},"
        f" {len(data.split.train):,} trained on; {measure}",
        flush=True,
    )
    plain = {"factors": 16} if data.plays else {"k": 8}
    entries: dict[str, tuple[str, dict[str, Any], int]] = {
        "OpenFL, defaults": ("ours", {}, MAX_ROUNDS),
        "theirs, defaults": ("theirs", plain, 0),
    }
    if tune:
        grids = (OUR_PLAYS_GRID, THEIR_PLAYS_GRID) if data.plays else (OUR_GRID, THEIR_GRID)
        best = beside.better(beside.ours(grids[0]))
        entries["OpenFL, best of its grid"] = ("ours", best, MAX_ROUNDS)
        entries["theirs, best of its grid"] = ("theirs", beside.better(beside.theirs(grids[1])), 0)
        print(f"  best of {len(grids[0])}: {best}")
        print(f"  best of {len(grids[1])}: {entries['theirs, best of its grid'][1]}", flush=True)
    for goal in [name for name in entries if name.startswith("theirs")]:
        our_name = goal.replace("theirs", "OpenFL")
        settings = entries[our_name][1]
        (our,), (their,) = beside.ours([settings]), beside.theirs([entries[goal][1]])
        rounds = until_as_good(beside, our, their)
        name = f"{our_name}, stopped when as good"
        if rounds is None:
            print(f"  {name}: never as good on validation")
        else:
            entries[name] = ("ours", settings, rounds)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in entries}
    for _ in range(repeats):
        for name, (side, settings, rounds) in entries.items():
            ours = side == "ours"
            fits = beside.ours([settings], rounds) if ours else beside.theirs([settings])
            found[name] += fits
    for name, fits in found.items():
        label = name.replace("theirs", beside.versions.split(" (")[0])
        print(f"  {label:44} {shown(fits)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="ml-100k,1m,plays-ml-100k,plays-1m")
    parser.add_argument("--plays", type=Path, help="a file of plays, for --data plays")
    parser.add_argument("--their-python")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tune", action="store_true", help="choose settings on validation first")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--memory", help="ours alone, on this: 1m, 10m or 25m")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=MAX_ROUNDS, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.ours is not None:
        data = loaded(options.data, options.plays)
        fits = [our_fit(data, each, options.rounds) for each in json.loads(options.ours)]
        print(json.dumps({"fits": fits}))
        return
    if options.memory is not None:
        data = loaded(options.memory, None)
        before = resident_peak_mb(reset=True)
        fit = our_fit(data, {}, options.rounds)
        print(f"{options.memory}: {before:.0f} MB with the ratings in memory; {shown([fit])}")
        return
    if options.their_python is None:
        print(f"not measured: {HOW}")  # `make bench` goes on
        return
    print(f"NumPy {np.__version__}, SciPy {sp.__name__ and __import__('scipy').__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.data.split(","):
            beside = Beside(name, options.plays, options.their_python, Path(folder), options.core)
            compare(beside, options.repeats, options.tune)
            print(f"  {beside.versions}")


if __name__ == "__main__":
    main()
