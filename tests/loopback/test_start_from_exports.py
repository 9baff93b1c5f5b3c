"""`start --data` with exports as they were downloaded: real processes, from file to songs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openfl.items import item_name
from tests import exports
from tests.exports import Export
from tests.process_rig import environment, openfl_node

ALONE = ("--listen", "/ip4/127.0.0.1/tcp/0", "--interval", "0.2", "--no-auto-switch")


def started(home: Path, *data: Path, rounds: int = 3) -> list[dict[str, object]]:
    """The events of a node that learns from `data` and ends."""
    options = [word for path in data for word in ("--data", str(path))]
    ran = ("--rounds", str(rounds), "--log-format", "json")
    said = openfl_node("start", "--home", str(home), *options, *ALONE, *ran)
    return [event for event in map(json.loads, said.splitlines()) if event.get("event")]


def inspected(export: Export) -> dict[str, object]:
    told: dict[str, object] = json.loads(openfl_node("data", "inspect", str(export.path), "--json"))
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [*exports.PERSONAL, *exports.TABLES], ids=lambda make: str(make.__name__)
)
def test_from_an_export_to_songs_by_name(
    make: Callable[[Path, int], Export], tmp_path: Path
) -> None:
    """Recommended to a stranger, for the only listener there is has heard all."""
    export = make(tmp_path, 5)
    told = inspected(export)
    home = tmp_path / "home"
    events = started(home, export.path, rounds=2)
    (data,) = (str(event) for event in events if event["event"] == "data")
    assert f"{told['items']} songs" in data
    status = json.loads(openfl_node("status", "--home", str(home), "--json"))
    assert export.task in json.dumps(status)
    kept = "ratings.csv" if export.task == "rating" else "plays.csv"
    assert (home / "data" / kept).exists()
    songs = json.loads(openfl_node("recommend", "--home", str(home), "--user", "nobody", "--json"))
    assert songs
    if export.items in ("music", "film"):
        called = export.names.values() or [(title, "") for title in export.plays]
        names = {item_name(export.items, *name) for name in called}
        assert {song["song_id"] for song in songs} <= names
    assert all(song["title"] for song in songs) or not export.names


@pytest.mark.slow
def test_people_of_a_data_set_get_recommendations_by_name(tmp_path: Path) -> None:
    export = exports.movielens(tmp_path, 5)
    home = tmp_path / "home"
    started(home, export.path)
    songs = json.loads(openfl_node("recommend", "--home", str(home), "--user", "7", "--json"))
    assert len(songs) == 5
    assert all(song["title"] == export.names[song["song_id"]][0] for song in songs)
    # What was read is remembered: the next start needs no data.
    events = started(home, rounds=4)
    assert any("30 users" in str(event) for event in events if event["event"] == "data")


@pytest.mark.slow
def test_several_exports_are_one_persons_data_and_the_next_ones_are_added(tmp_path: Path) -> None:
    spotify, lastfm = exports.spotify(tmp_path, 5), exports.lastfm(tmp_path, 6)
    home = tmp_path / "home"
    started(home, spotify.path)
    first = (home / "data" / "plays.csv").read_text().splitlines()
    started(home, spotify.path, lastfm.path)
    rows = (home / "data" / "plays.csv").read_text().splitlines()
    assert set(first) < set(rows)
    assert len(rows) == len(first) + sum(lastfm.plays.values())


@pytest.mark.slow
def test_what_cannot_be_read_ends_the_start_in_one_line(tmp_path: Path) -> None:
    path = exports.zipped(tmp_path / "x.zip", {"../plays.csv": "user,song\na,b\n"})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "openfl_cli",
            "start",
            "--home",
            str(tmp_path / "home"),
            "--data",
            path,
        ],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"openfl-node: error: {path}: has a member")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "home" / "data").exists()
