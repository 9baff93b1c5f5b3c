"""Central training against Surprise's SVD, on the same split of MovieLens 100K, side by side.

OpenFL: from the ratings in memory to the model with the best validation RMSE; the patience rounds
after it and the evaluation of every round are counted. Surprise: `SVD().fit` with its defaults, on
the same training ratings. Both are repeated by turns on one core; the median counts. RMSE is on
the same test ratings.

scikit-surprise needs numpy below 2, so it runs in an environment of its own:

    python -m venv surprise-venv && surprise-venv/bin/pip install "numpy<2" scikit-surprise
    python benchmarks/central_vs_surprise.py --surprise-python surprise-venv/bin/python
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from _ml100k import ml100k_csv
from central import fixed_split

from openfl.learning.central import SoloResult, train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split

MAX_ROUNDS = 60
HOW = (
    'make it with: python -m venv surprise-venv && surprise-venv/bin/pip install "numpy<2"'
    " scikit-surprise; then give --surprise-python surprise-venv/bin/python"
)


def ours(ratings: Ratings, split: Split) -> tuple[float, float, SoloResult]:
    """(wall seconds, processor seconds, result)."""
    charter = rating_charter("benchmark", scale=ratings.scale)
    wall, processor = time.perf_counter(), time.process_time()
    task = MatrixFactorization.from_charter(charter, ratings, split)
    result = train_alone(task, np.random.default_rng(0), max_rounds=MAX_ROUNDS)
    return time.perf_counter() - wall, time.process_time() - processor, result


def write_split(ratings: Ratings, split: Split, path: Path) -> None:
    pairs = np.stack([ratings.user_index, ratings.song_index], axis=1)
    np.savez(
        path,
        train_pairs=pairs[split.train],
        train_values=ratings.values[split.train],
        test_pairs=pairs[split.test],
        test_values=ratings.values[split.test],
        scale=np.array([ratings.values.min(), ratings.values.max()]),
    )


def theirs(python: str, data: Path, repeats: int) -> dict[str, Any]:
    script = Path(__file__).with_name("_surprise_fit.py")
    command = [python, str(script), str(data), str(repeats)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"cannot run {python}: {error.strerror}; {HOW}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"no scikit-surprise under {python} ({last}); {HOW}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--surprise-python")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()

    if options.surprise_python is None and importlib.util.find_spec("surprise") is None:
        print(f"not measured: no scikit-surprise here; {HOW}")  # `make bench` goes on
        return
    python = options.surprise_python or sys.executable
    ratings = load_ratings(ml100k_csv())
    split = fixed_split(len(ratings))
    walls, processors, their_walls, their_processors, their_rmse = [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "split.npz"
        write_split(ratings, split, data)
        for _ in range(options.repeats):
            wall, processor, result = ours(ratings, split)
            walls.append(wall)
            processors.append(processor)
            fitted = theirs(python, data, 1)
            (fit,) = fitted["fits"]
            their_walls.append(fit["wall"])
            their_processors.append(fit["processor"])
            their_rmse.append(fit["rmse"])
    print(f"OpenFL test RMSE: {result.test.value:.4f}")
    print(f"Surprise {fitted['version']} SVD test RMSE: {np.mean(their_rmse):.4f}")
    print(f"OpenFL rounds to the best validation RMSE: {result.rounds}")
    print(f"OpenFL seconds, median of {options.repeats}: {np.median(walls):.3f}")
    print(f"Surprise SVD fit seconds, median of {options.repeats}: {np.median(their_walls):.3f}")
    print(f"times faster, wall: {np.median(their_walls) / np.median(walls):.1f}")
    print(
        f"times faster, processor time: {np.median(their_processors) / np.median(processors):.1f}"
    )


if __name__ == "__main__":
    main()
