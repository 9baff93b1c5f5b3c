# ruff: noqa: E402 (what is imported lies in the folders above)
"""Libraries that train in one place, on the same splits of MovieLens 100K, one core each.

For each split by `split_ratings` (80 % train, 10 % validation, 10 % test of every user's ratings):
RMSE of ratings, or NDCG@10 of plays (a rating is a play; songs of training and validation are left
out of the lists), on the test part. On the first split each library is given a small grid, and what
is best on its validation part is used on all splits; OpenFL has its defaults, and uses the
validation part to stop. Only the time of the fit counts, not that of the grid.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import numpy as np
import scipy.sparse as sp
from environments import Environment

from openfl.learning.factorization.ratings import Ratings
from openfl.learning.metrics import rank
from openfl.learning.splitting import Split, split_ratings

FIT_SECONDS = 600
ONE_CORE = {
    name: "1"
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LK_NUM_THREADS")
}


@dataclass(frozen=True)
class Library:
    """One algorithm of one library. environment: "" for OpenFL's own. plays: else ratings."""

    label: str
    environment: str
    plays: bool
    grid: tuple[Mapping[str, Any], ...]


def grid(fixed: Mapping[str, Any], **values: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    """All combinations of values, each with what is fixed."""
    return tuple(
        dict(fixed) | dict(zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


LIBRARIES = (
    Library("OpenFL, ratings", "", False, ({"kind": "rating"},)),
    Library(
        "Surprise SVD",
        "surprise",
        False,
        grid({"algorithm": "SVD", "n_epochs": 60}, n_factors=(50, 100), reg_all=(0.05, 0.1, 0.15)),
    ),
    Library(
        "Surprise SVD++",
        "surprise",
        False,
        grid({"algorithm": "SVDpp", "n_epochs": 20}, n_factors=(8, 20), reg_all=(0.02, 0.05)),
    ),
    Library(
        "cornac MF",
        "cornac",
        False,
        grid({}, k=(8, 50, 100), lambda_reg=(0.05, 0.1, 0.2), max_iter=(20, 50, 100)),
    ),
    Library(
        "LensKit ALS",
        "lenskit",
        False,
        grid({"algorithm": "ratings"}, features=(8, 50, 100), regularization=(0.05, 0.1, 0.2)),
    ),
    Library("OpenFL, plays", "", True, ({"kind": "implicit"},)),
    Library(
        "implicit ALS",
        "implicit",
        True,
        grid({}, factors=(16, 32, 64), regularization=(1.0, 10.0, 30.0), alpha=(0.5, 1.0, 5.0)),
    ),
    Library(
        "LensKit ALS, plays",
        "lenskit",
        True,
        grid(
            {"algorithm": "implicit"},
            features=(16, 32),
            regularization=(0.01, 0.1, 1.0),
            weight=(0.5, 1.0, 5.0),
        ),
    ),
)


@dataclass(frozen=True)
class Fit:
    """Of one configuration. validation: lower is better, also of plays; test: the metric itself."""

    wall: float
    processor: float
    validation: float
    test: float


class Judge:
    """One split of the ratings, and what answers are worth on it."""

    def __init__(self, ratings: Ratings, seed: int) -> None:
        self._ratings, self.seed = ratings, seed
        self.split: Split = split_ratings(ratings, seed=seed)
        self._pairs = np.stack([ratings.user_index, ratings.song_index], axis=1).astype(np.int32)
        self._held_out = np.concatenate((self.split.validation, self.split.test))

    def write(self, path: Path) -> None:
        """For a `fit_*.py` script."""
        train = self.split.train
        np.savez(
            path,
            users=len(self._ratings.users),
            songs=len(self._ratings.songs),
            pairs=self._pairs[train],
            values=self._ratings.values[train],
            asked=self._pairs[self._held_out],
        )

    def judge(self, answers: Mapping[str, Any]) -> Fit:
        wall, processor = float(answers["wall"]), float(answers["processor"])
        if "predicted" in answers:
            errors = answers["predicted"] - self._ratings.values[self._held_out]
            count = len(self.split.validation)
            validation, test = (
                float(np.sqrt(np.mean(np.square(part))))
                for part in (errors[:count], errors[count:])
            )
            return Fit(wall, processor, validation, test)
        if "rmse" in answers:
            validation, test = (float(value) for value in answers["rmse"])
            return Fit(wall, processor, validation, test)
        scores = np.asarray(answers["scores"], dtype=np.float64)
        train, tuned = self._plays(self.split.train), self._plays(self.split.validation)
        validation = 1 - rank(lambda a, b: scores[a:b], train, tuned).ndcg
        test = rank(lambda a, b: scores[a:b], train + tuned, self._plays(self.split.test)).ndcg
        return Fit(wall, processor, validation, test)

    def _plays(self, positions: np.ndarray) -> sp.csr_array:
        at = (self._ratings.user_index[positions], self._ratings.song_index[positions])
        shape = (len(self._ratings.users), len(self._ratings.songs))
        return sp.csr_array((np.ones(len(positions)), at), shape=shape)


class FitFailed(Exception):
    """A library's script did not get through; the message is its last line."""


def fit(
    library: Library, python: Path, judge: Judge, configurations: Sequence[Mapping[str, Any]]
) -> list[Fit]:
    """Each configuration fitted once in a process of its own. FitFailed says why not."""
    script = HERE / f"fit_{library.environment or 'openfl'}.py"
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as name:
        folder = Path(name)
        judge.write(folder / "split.npz")
        given = [
            dict(c) | ({"seed": judge.seed} if not library.environment else {})
            for c in configurations
        ]
        (folder / "configurations.json").write_text(json.dumps(given))
        command = [str(python), str(script), str(folder / "split.npz")]
        command += [str(folder / "configurations.json"), str(folder)]
        environment = os.environ | ONE_CORE | {"PYTHONPATH": str(HERE.parent.parent)}
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=FIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise FitFailed(f"timed out after {FIT_SECONDS} s") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise FitFailed(f"exit code {done.returncode}: {last[-200:]}")
        return [judge.judge(np.load(folder / f"{n}.npz")) for n in range(len(configurations))]


def compare(
    ratings: Ratings,
    environments: Mapping[str, Environment],
    wanted: Sequence[Library],
    seeds: int,
    rows: list[dict[str, Any]],
    keep: Callable[[], None],
) -> None:
    """One row a library, added to `rows`: its chosen configuration, and seconds and the metric on
    each split. keep: called when there is more in them."""
    judges = [Judge(ratings, seed) for seed in range(seeds)]
    chosen: list[Mapping[str, Any] | None] = []
    for library in wanted:
        version = environments[library.environment].version
        row: dict[str, Any] = {"label": library.label, "version": version, "plays": library.plays}
        row |= {"status": "ok", "wall": [], "processor": [], "metric": []}
        rows.append(row)
        python = environments[library.environment].python
        chosen.append(None)
        if python is None:
            row["status"] = environments[library.environment].failure
            continue
        began = time.monotonic()
        try:
            fits = fit(library, python, judges[0], library.grid) if len(library.grid) > 1 else []
        except FitFailed as error:
            row["status"] = str(error)
            continue
        best = min(range(len(fits)), key=lambda n: fits[n].validation) if fits else 0
        chosen[-1] = library.grid[best]
        row |= {"configuration": chosen[-1], "grid": len(library.grid)}
        print(
            f"{library.label}: {len(library.grid)} configurations in"
            f" {time.monotonic() - began:.0f} s, chosen {json.dumps(chosen[-1])}",
            flush=True,
        )
    for judge in judges:  # by turns, so that what else the machine does meets everybody
        for library, row, configuration in zip(wanted, rows, chosen, strict=True):
            python = environments[library.environment].python
            if python is None or configuration is None:
                continue
            try:
                (one,) = fit(library, python, judge, [configuration])
            except FitFailed as error:
                row["status"] = str(error)
                continue
            row["wall"].append(one.wall)
            row["processor"].append(one.processor)
            row["metric"].append(one.test)
        keep()
