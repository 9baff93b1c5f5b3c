"""Four real nodes that have nothing but their own history, each written in another way, name ten of
ten songs, most of which they never had."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from openfl.app.control_socket import call
from tests.process_rig import PATIENCE_SECONDS, RunningNode, ending, openfl_node, until

pytestmark = pytest.mark.slow

MUSIC = (
    *("--set", "task.kind=implicit", "--set", "task.items=music", "--set", "task.factors=4"),
    *("--group", "songs"),
)
WRITTEN = (
    "Song {0}|Artist {1}",
    "SONG {0} - Remastered 2011|The Artist {1}",
    "Song {0} (feat. Guest {0})|Artist {1}",
    "Artist {1} - Song {0} (Official Video)|Artist {1} - Topic",
)
SONGS = 60


def songs_of(node: int) -> set[int]:
    """Half of all songs, another half for each node."""
    return {(10 * node + n) % SONGS for n in range(30)}


def history(home: Path, node: int) -> None:
    """Plays of ten listeners, whose ids of songs are the node's own."""
    home.mkdir()
    draw = random.Random(node)
    with (home / "ratings.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("user_id", "song_id", "plays"))
        for user in range(10):
            for song in songs_of(node):
                if (song + user) % 10:  # all but three
                    rows.writerow((f"n{node}u{user}", f"n{node}-{song}", draw.randint(1, 9)))
    with (home / "songs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("song_id", "title", "artist"))
        for song in songs_of(node):
            rows.writerow((f"n{node}-{song}", *WRITTEN[node].format(song, song % 7).split("|")))


def recommended(home: Path, node: int) -> list[dict[str, str]]:
    asked = ("recommend", "--home", str(home), "--user", f"n{node}u0", "--top", "10", "--json")
    found: list[dict[str, str]] = json.loads(openfl_node(*asked))
    return found


def asked(home: Path, node: int, top: int) -> list[dict[str, str]]:
    """What the running node recommends, without a process for the question."""
    found: list[dict[str, str]] = call(
        home, "recommend", PATIENCE_SECONDS, user=f"n{node}u0", top=top
    )["items"]
    return found


def knows_all_names(homes: list[Path]) -> bool:
    """Whether each node can name every song that its user has not played."""
    return all(
        len(asked(home, node, SONGS)) >= SONGS - len(songs_of(node))
        for node, home in enumerate(homes)
    )


def test_nodes_with_their_own_history_only_name_all_they_recommend(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in "abcd"]
    for number, home in enumerate(homes):
        history(home, number)
    nodes: list[RunningNode] = []
    with ending(nodes):
        nodes.append(RunningNode(homes[0], *MUSIC, interval="2"))
        address = nodes[0].address
        nodes += [
            RunningNode(home, *MUSIC, "--bootstrap", address, interval="2") for home in homes[1:]
        ]
        for node in nodes:
            node.wait_for("joined")
        until(lambda: knows_all_names(homes), "the names of all songs")
        for number, home in enumerate(homes):
            found = asked(home, number, 10)
            assert len(found) == 10
            mine = songs_of(number)
            songs = [int(item["title"].casefold().removeprefix("song ")) for item in found]
            assert sum(song not in mine for song in songs) >= 7
            for song, item in zip(songs, found, strict=True):
                assert item["artist"].casefold().removeprefix("the ") == f"artist {song % 7}"
            faults = call(home, "snapshot", PATIENCE_SECONDS)["faults"]
            assert not any("labels" in name for name in faults)

        # As its owner asks; and when it does not run any more.
        assert all(item["title"] for item in recommended(homes[1], 1))
        openfl_node("stop", "--home", str(homes[1]))
        assert nodes[1].process.wait(PATIENCE_SECONDS) == 0
        saved = recommended(homes[1], 1)
        assert len(saved) == 10
        assert all(item["title"] for item in saved)
        songs = [int(item["title"].casefold().removeprefix("song ")) for item in saved]
        assert sum(song not in songs_of(1) for song in songs) >= 7
