"""MovieLens 100K, fetched once through the package index and kept in a cache folder.

The data is not ours to commit (its licence forbids redistribution without permission). A copy ships
inside the wheel of RecBole 1.2.1 as an example data set; pip downloads that wheel, and only the
one file in it is read. Cache: $OPENFL_CACHE, else the platform's user cache folder.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs

PACKAGE = "recbole==1.2.1"
MEMBER = "recbole/dataset_example/ml-100k/ml-100k.inter"
EXPECTED_RATINGS = 100_000


def cache_folder() -> Path:
    chosen = os.environ.get("OPENFL_CACHE")
    folder = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("openfl-node"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ml100k_csv() -> Path:
    """Path of a CSV `user_id,song_id,rating` with the 100,000 ratings (films stand for songs).

    Downloads on first use. SystemExit with one line when that fails.
    """
    target = cache_folder() / "ml-100k.csv"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        done = subprocess.run([*command, "--dest", folder], check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise SystemExit(f"could not download {PACKAGE}, which ships the data set")
        with zipfile.ZipFile(wheels[0]) as wheel:
            text = wheel.read(MEMBER).decode()
    rows = _convert(text)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("user_id", "song_id", "rating"))
        writer.writerows(rows)
    partial.replace(target)
    return target


def _convert(text: str) -> list[tuple[str, str, str]]:
    """(user, item, rating) of each line; the header gives columns as name:type."""
    reader = csv.reader(io.StringIO(text), delimiter="\t")
    names = [column.split(":")[0] for column in next(reader)]
    user, item, rating = (names.index(name) for name in ("user_id", "item_id", "rating"))
    rows = [(row[user], row[item], row[rating]) for row in reader if row]
    if len(rows) != EXPECTED_RATINGS:
        raise SystemExit(f"the data set has {len(rows)} ratings, expected {EXPECTED_RATINGS}")
    return rows


if __name__ == "__main__":
    print(ml100k_csv())
