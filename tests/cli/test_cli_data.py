"""`openfl-node data inspect` and `data convert`: what they print, write, and leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openfl.config import load_config
from openfl.learning.kinds import KINDS
from openfl.sources import own_form
from openfl.sources.collect import Collected
from openfl_cli import exit_codes, main
from tests import exports
from tests.exports import PERSONAL, Export

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"source", "people", "items", "interactions", "scale", "task", "dropped", "problems"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENFL_HOME", str(tmp_path / "home"))


def output_of(
    capsys: pytest.CaptureFixture[str], *argv: object, code: int = exit_codes.SUCCESS
) -> str:
    assert main.run([str(word) for word in argv]) == code
    said = capsys.readouterr()
    return said.out if code == exit_codes.SUCCESS else said.err


def json_of(capsys: pytest.CaptureFixture[str], *argv: object) -> Any:
    return json.loads(output_of(capsys, *argv, "--json"))


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_inspect_has_the_keys_that_are_promised(
    make: Callable[[Path, int], Export], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make(tmp_path, 1)
    told = json_of(capsys, "data", "inspect", export.path)
    assert told.keys() >= KEYS
    assert (told["source"], told["task"]) == (export.source, export.task)
    assert told["people"] == 1
    assert told["items"] == len(export.plays)
    assert sum(told["dropped"].values()) == export.dropped
    assert told["dropped"].keys() == told["dropped_first"].keys()
    assert (told["scale"] is None) is (export.task == "implicit")
    assert len(told["top"]) == 10
    if export.task == "implicit":
        most = max(export.plays.values())
        assert told["top"][0]["amount"] == most
        assert export.plays[told["top"][0]["id"]] == most
    # Nothing was written, not even a home.
    assert not (tmp_path / "home").exists()


def test_inspect_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = exports.spotify(tmp_path, 1)
    said = output_of(capsys, "data", "inspect", export.path)
    assert "source        Spotify account data" in said
    assert "task          implicit" in said
    assert "a podcast or video, not a song (first StreamingHistory_podcast_0.json:1)" in said
    assert "ReadMeFirst.pdf: holds no ratings, plays or likes" in said
    assert "most plays:" in said


def test_names_that_steer_a_terminal_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    title = "A\x1b[31m\u202eB"
    path.write_text(f"user,song,title,plays\na,1,{title},3\nb,1,{title},4\nb,2,x,1\n")
    out = tmp_path / "out"
    said = output_of(capsys, "data", "convert", path, out)
    kept = "".join(p.read_text() for p in out.iterdir())
    for text in (said, kept):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_what_is_not_recognised_ends_with_the_code_of_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("aa,bb\n1,x\n2,y\n")
    said = output_of(capsys, "data", "inspect", path, code=exit_codes.DATA)
    assert said.startswith(f"openfl-node: error: {path}: has columns of which")
    assert said.count("\n") == 1
    for argv in (["data"], ["data", "inspect"], ["data", "convert", path], ["data", "look", path]):
        output_of(capsys, *argv, code=exit_codes.USAGE)


def test_settings_say_how_a_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("aa\tbb\tcc\né\tx\t1\né\ty\t2\nü\tx\t4\n".encode("cp1252"))
    settings = ["data.columns.user=aa", "data.columns.item=2", "data.columns.rating=cc"]
    settings += ["data.separator=tab", "data.encoding=cp1252", "data.format=table"]
    told = json_of(
        capsys, "data", "inspect", path, *(word for s in settings for word in ("--set", s))
    )
    assert (told["people"], told["items"], told["task"]) == (2, 2, "rating")
    config = tmp_path / "c.toml"
    config.write_text('[data]\ncolumns.user = "aa"\ncolumns.item = "bb"\ncolumns.plays = "cc"\n')
    assert json_of(capsys, "data", "inspect", path, "--config", config)["task"] == "implicit"


def test_convert_says_how_to_go_on_and_the_node_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = exports.lastfm(tmp_path, 1), tmp_path / "my plays"
    said = output_of(capsys, "data", "convert", export.path, out, "--user", "ann")
    last = said.splitlines()[-1]
    data = out / "plays.csv"
    fits = "--set task.kind=implicit --set task.items=music"
    assert last == f"now           openfl-node start --data '{data}' {fits}"
    config = load_config(None, {}, {"data.ratings_file": str(data), "task.kind": "implicit"})
    read: Any = KINDS["implicit"].load(config, None)
    assert read.ratings.users == ("ann",)
    assert read.ratings.of_user("ann") == export.plays
    assert {song: read.catalogue.get(song).title for song in read.catalogue} == {
        song: title for song, (title, _) in export.names.items()
    }


def test_convert_over_the_same_folder_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spotify, lastfm, out = exports.spotify(tmp_path, 1), exports.lastfm(tmp_path, 2), tmp_path / "o"
    first = json_of(capsys, "data", "convert", spotify.path, out)
    assert first["added"] == first["interactions"] == first["written"][str(out / "plays.csv")]
    again = json_of(capsys, "data", "convert", spotify.path, out)
    assert (again["added"], again["interactions"]) == (0, first["interactions"])
    other = json_of(capsys, "data", "convert", lastfm.path, out)
    assert other["added"] == sum(lastfm.plays.values())
    assert other["written"][str(out / "plays.csv")] == first["interactions"] + other["added"]
    assert sorted(os.listdir(out)) == ["plays.csv", "songs.csv"]


def test_a_folder_with_other_files_of_these_names_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = exports.lastfm(tmp_path, 1), tmp_path / "out"
    out.mkdir()
    for name, text in (("plays.csv", "user_id,song_id,plays\na,b,1\n"), ("songs.csv", "a\nb\n")):
        (out / name).write_text(text)
        said = output_of(capsys, "data", "convert", export.path, out, code=exit_codes.DATA)
        assert f"{out / name}:1: not as `openfl-node data convert` writes it" in said
        assert {p.name: p.read_text() for p in out.iterdir()} == {name: text}
        (out / name).unlink()
    output_of(capsys, "data", "convert", export.path, export.path, code=exit_codes.USAGE)
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.geteuid() != 0:  # root may write everywhere
        target = tmp_path / "closed" / "x"
        output_of(capsys, "data", "convert", export.path, target, code=exit_codes.STATE)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call it with the name of a writer of `own_form` that is to be interrupted in the middle."""

    def set_up(name: str) -> None:
        real = getattr(own_form, name)

        def lines(collected: Collected, *rest: Any) -> Iterator[str]:
            for number, line in enumerate(real(collected, *rest)):
                if number == 20:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield line

        monkeypatch.setattr(own_form, name, lines)

    return set_up


@pytest.mark.parametrize("writer", ["_play_lines", "_song_lines"])
def test_a_conversion_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    interrupted: Callable[[str], None],
    writer: str,
) -> None:
    export, out = exports.lastfm(tmp_path, 1), tmp_path / "out"
    interrupted(writer)
    before = signal.getsignal(signal.SIGTERM)
    output_of(capsys, "data", "convert", export.path, out, code=exit_codes.INTERRUPTED)
    assert not out.exists()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("writer", ["_play_lines", "_song_lines"])
def test_what_was_converted_before_outlives_an_interruption(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    interrupted: Callable[[str], None],
    writer: str,
) -> None:
    out = tmp_path / "out"
    output_of(capsys, "data", "convert", exports.lastfm(tmp_path, 1).path, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    interrupted(writer)
    newer = exports.lastfm(tmp_path, 2).path
    output_of(capsys, "data", "convert", newer, out, code=exit_codes.INTERRUPTED)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_leftovers_of_a_process_that_was_killed_are_cleared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = exports.lastfm(tmp_path, 1), tmp_path / "out"
    out.mkdir()
    (out / ".openfl-import.abc").write_text("half")
    (out / "mine.txt").write_text("mine")
    output_of(capsys, "data", "convert", export.path, out)
    assert sorted(os.listdir(out)) == ["mine.txt", "plays.csv", "songs.csv"]


def test_a_node_that_runs_loads_nothing_of_this() -> None:
    """Nor does any other command: what reads exports is imported to read one."""
    program = (
        "import sys, openfl_cli.main, openfl.app.running_node, openfl.learning.kinds\n"
        "openfl_cli.main.build_parser()\n"
        "print([m for m in sys.modules if m.startswith('openfl.sources')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}"},
    )
    assert done.stdout.strip() == "[]"
