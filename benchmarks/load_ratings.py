"""Time to load a ratings file and to split it.

Writes a synthetic CSV of the given size into a temporary folder first.

    python benchmarks/load_ratings.py [--ratings 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.splitting import split_ratings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    options = parser.parse_args()

    draw = np.random.default_rng(0)
    users = draw.integers(0, max(1, options.ratings // 20), options.ratings)
    songs = draw.integers(0, max(1, options.ratings // 50), options.ratings)
    stars = draw.integers(1, 11, options.ratings) / 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        with path.open("w") as stream:
            stream.write("user_id,song_id,rating\n")
            stream.writelines(f"{u},{s},{r}\n" for u, s, r in zip(users, songs, stars, strict=True))
        started = time.perf_counter()
        ratings = load_ratings(path)
        loaded = time.perf_counter()
        split_ratings(ratings)
        done = time.perf_counter()
    print(
        f"{options.ratings:,} rows: loaded in {loaded - started:.2f} s, "
        f"split in {done - loaded:.2f} s ({ratings.duplicates:,} duplicates)"
    )


if __name__ == "__main__":
    main()
