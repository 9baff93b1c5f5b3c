"""What the tests of `openfl.run` have in common: settings of a small node, and its end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import openfl
from tests.patience import PATIENCE_SECONDS

Settings = dict[str, Any]


def ratings(file: Path, users: range) -> Path:
    """Made up: 20 songs, of which everybody has rated all but two."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user_id", "song_id", "rating"])
        for user in users:
            left_out = (user % 20, (user + 7) % 20)
            songs = (song for song in range(20) if song not in left_out)
            rows.writerows([f"u{user}", f"s{song}", 1 + (user * song) % 5] for song in songs)
    return file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return {
        "network.host": "127.0.0.1",
        "network.mdns": False,
        "data.ratings_file": ratings(tmp_path / "ratings.csv", range(10)),
        "training": {"interval_seconds": 0.2, "alone_rounds": 0},
    }


def until_closed(node: openfl.RunningNode) -> None:
    """Until it is, whyever."""
    assert node._finished.wait(PATIENCE_SECONDS)


def ask_to_stop(node: openfl.RunningNode) -> None:
    """As `openfl-node stop` does."""
    node._look(lambda inner: inner.request_stop())
