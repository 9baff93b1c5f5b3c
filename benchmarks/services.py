"""Listeners of four services learn together: do songs that each service writes its own way meet?

Four real nodes, each with the exports of twelve made-up listeners from one service: Spotify,
Last.fm, ListenBrainz and Apple Music. The songs are real ones in two spellings each, of those that
the rules for names are tested with (tests/fixtures/song-pairs.txt). Three ways to learn:

  exports    as downloaded, songs named by artist and title (task.items = "music")
  one CSV    the same plays with one id a song, however it is written: what could be reached
  spellings  as downloaded, songs named as each service writes them (task.items = "opaque")

NDCG@10 of the nodes' models on plays that are held out, mean over nodes; `shared`: the part of a
node's songs that another node has, too.

    python benchmarks/services.py [--seeds 3] [--rounds 15] [--listeners 12]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from openfl.app.own_exports import take
from openfl.items import item_name
from openfl.sources.options import ReadOptions

ROOT = Path(__file__).resolve().parents[1]
PAIRS = ROOT / "tests" / "fixtures" / "song-pairs.txt"
PLAYED, MOST_PLAYS, TASTES, MINUTES = 40, 6, 4, 3
START = 1_700_000_000
INTERVAL = 0.5

Song = tuple[str, str]
"""Artist and title."""


@dataclass(frozen=True)
class Play:
    song: Song
    time: int


def spellings() -> list[tuple[Song, Song]]:
    """Real songs, in two spellings each."""
    rows = (line.split(" | ") for line in PAIRS.read_text(encoding="utf-8").splitlines())
    pairs = [((row[1], row[2]), (row[3], row[4])) for row in rows if row[0] == "same"]
    return list({name_of(song): (song, other) for song, other in pairs}.values())


def listeners(songs: int, people: int, rng: np.random.Generator) -> list[list[int]]:
    """The songs that each plays, some of them several times: tastes of a few dimensions."""
    items, tastes = rng.normal(size=(songs, TASTES)), rng.normal(size=(people, TASTES))
    popular = rng.normal(size=songs)
    found = []
    for taste in tastes:
        likes = 1.5 * items @ taste + popular
        chance = np.exp(likes - likes.max())
        chosen = rng.choice(songs, size=PLAYED, replace=False, p=chance / chance.sum())
        found.append(np.repeat(chosen, rng.integers(1, MOST_PLAYS, size=PLAYED)).tolist())
    return found


# --- exports --------------------------------------------------------------------------------------


def spotify(path: Path, plays: Sequence[Play]) -> Path:
    records = [
        {
            "ts": when(play.time, "%Y-%m-%dT%H:%M:%SZ"),
            "ms_played": 180_000,
            "master_metadata_track_name": play.song[1],
            "master_metadata_album_artist_name": play.song[0],
            "spotify_track_uri": "spotify:track:0000000000000000000000",
        }
        for play in plays
    ]
    return written(path / "Streaming_History_Audio_2023_0.json", json.dumps(records))


def lastfm(path: Path, plays: Sequence[Play]) -> Path:
    head = [
        "uts",
        "utc_time",
        "artist",
        "artist_mbid",
        "album",
        "album_mbid",
        "track",
        "track_mbid",
    ]
    rows = [
        [p.time, when(p.time, "%d %b %Y, %H:%M"), p.song[0], "", "", "", p.song[1], ""]
        for p in plays
    ]
    return table(path / "lastfm.csv", [head, *rows])


def listenbrainz(path: Path, plays: Sequence[Play]) -> Path:
    lines = [
        json.dumps(
            {
                "listened_at": play.time,
                "track_metadata": {
                    "artist_name": play.song[0],
                    "track_name": play.song[1],
                    "additional_info": {},
                },
            }
        )
        for play in plays
    ]
    (path / "listens" / "2023").mkdir(parents=True)
    written(path / "listens" / "2023" / "11.jsonl", "\n".join(lines) + "\n")
    return path


def apple(path: Path, plays: Sequence[Play]) -> Path:
    head = "Country,Track Identifier,Media type,Date Played,Hours,Play Duration Milliseconds"
    head += ",End Reason Type,Source Type,Play Count,Skip Count,Ignore For Recommendations"
    head += ",Track Reference,Track Description"
    rows = [
        [
            *("ZZ", 1, "AUDIO", when(p.time, "%Y%m%d"), when(p.time, "%H"), 180_000),
            *("NATURAL_END_OF_TRACK", "IPHONE", 1, 0, "", 1, f"{p.song[0]} - {p.song[1]}"),
        ]
        for p in plays
    ]
    return table(path / "Apple Music - Play History Daily Tracks.csv", [head.split(","), *rows])


SERVICES: tuple[Callable[[Path, Sequence[Play]], Path], ...] = (
    spotify,
    lastfm,
    listenbrainz,
    apple,
)


def when(time: int, form: str) -> str:
    return datetime.fromtimestamp(time, UTC).strftime(form)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


# --- nodes ----------------------------------------------------------------------------------------


def deal(folder: Path, seed: int, people: int) -> None:
    """Each node's files, in a folder of the service's name: plays.csv and songs.csv, and one.csv:
    the same rows with one id a song."""
    rng = np.random.default_rng(seed)
    songs = spellings()
    played = listeners(len(songs), people * len(SERVICES), rng)
    for node, service in enumerate(SERVICES):
        own = folder / service.__name__
        own.mkdir()
        for person in range(people):
            heard = rng.permutation(played[node * people + person]).tolist()
            plays = [
                Play(spelt(songs[song], node), START + number * MINUTES * 60)
                for number, song in enumerate(heard)
            ]
            export = own / f"export-{person}"
            export.mkdir()
            take([service(export, plays)], own, ReadOptions(), f"{service.__name__}-{person}")
        number = {name_of(spelt(song, node)): at for at, song in enumerate(songs)}
        catalogue = rows_of(own / "songs.csv")
        names = {row["song_id"]: name_of((row["artist"], row["title"])) for row in catalogue}
        head = ["user_id", "song_id", "plays"]
        rows = [
            [row["user_id"], f"song-{number[names[row['song_id']]]}", row["plays"]]
            for row in rows_of(own / "plays.csv")
        ]
        table(own / "one.csv", [head, *rows])


def name_of(song: Song) -> str:
    """Its canonical name."""
    return item_name("music", song[1], song[0])


def spelt(song: tuple[Song, Song], node: int) -> Song:
    """Two as collected, and the same as those have them who tag their files themselves."""
    artist, title = song[node % 2]
    return (artist, title) if node < 2 else (artist.lower(), title.lower())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def learn(folder: Path, file: str, items: str, rounds: int) -> tuple[float, float]:
    """(mean NDCG@10, mean part of songs shared) of four nodes that learn together."""
    running: list[subprocess.Popen[str]] = []
    homes = [folder / f"home-{file}-{items}-{service.__name__}" for service in SERVICES]
    bootstrap: list[str] = []
    try:
        for service, home in zip(SERVICES, homes, strict=True):
            command = ["start", "--home", str(home), "--listen", "/ip4/127.0.0.1/tcp/0"]
            command += ["--data", str(folder / service.__name__ / file), "--no-view"]
            command += ["--rounds", str(rounds), "--interval", str(INTERVAL), "--no-auto-switch"]
            command += ["--set", "task.kind=implicit", "--set", f"task.items={items}"]
            command += ["--set", "training.wait_for_members=4", *bootstrap]
            running.append(started(command))
            if not bootstrap:
                bootstrap = ["--bootstrap", address_of(running[0])]
        for process in running:
            said, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"a node ended with {process.returncode}:\n{said}")
    finally:
        for process in running:
            process.kill()
    scores = [
        float(json.loads(openfl_node("evaluate", "--home", str(h), "--json"))["ndcg"])
        for h in homes
    ]
    return float(np.mean(scores)), shared(folder, file, items)


def shared(folder: Path, file: str, items: str) -> float:
    """The part of a node's songs that another one has, too, by the names that they go by."""
    known = []
    for service in SERVICES:
        own = folder / service.__name__
        ids = {row["song_id"] for row in rows_of(own / file)}
        if items == "music":
            catalogue = rows_of(own / "songs.csv")
            names = {row["song_id"]: name_of((row["artist"], row["title"])) for row in catalogue}
            ids = {names[song] for song in ids}
        known.append(ids)
    parts = []
    for number, ids in enumerate(known):
        others = set().union(*(each for n, each in enumerate(known) if n != number))
        parts.append(len(ids & others) / len(ids))
    return float(np.mean(parts))


def command_of(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "openfl_cli", *arguments]


def environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def started(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_of(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.strip().startswith("/ip4/127.0.0.1/tcp/"):
            return line.strip()
    raise SystemExit("the first node did not say where it listens:\n" + "".join(said))


def openfl_node(*arguments: str) -> str:
    done = subprocess.run(
        command_of(arguments), capture_output=True, text=True, check=True, env=environment()
    )
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--listeners", type=int, default=12, help="of each node")
    options = parser.parse_args()
    ways = {
        "exports": ("plays.csv", "music"),
        "one CSV": ("one.csv", "opaque"),
        "spellings": ("plays.csv", "opaque"),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            deal(folder, seed, options.listeners)
            for way, (file, items) in ways.items():
                ndcg, together = learn(folder, file, items, options.rounds)
                found[way].append(ndcg)
                print(
                    f"seed {seed}, {way:9}: NDCG@10 {ndcg:.4f}, shared {together:.0%}", flush=True
                )
    for way, values in found.items():
        print(f"{way:9}: {np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")


if __name__ == "__main__":
    main()
