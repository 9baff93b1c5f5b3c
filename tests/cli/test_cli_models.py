"""evaluate, export and import on real files in real home folders; no node runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.config import load_config
from openfl.learning.central import train_alone
from openfl.learning.kinds import load_workload
from openfl.learning.model_file import load_named_model
from openfl.storage.home import Home
from openfl_cli import exit_codes, main
from tests.patience import PATIENCE_SECONDS

HEADER = "user_id,song_id,"
ROWS = [(user, song, 1 + (user * song) % 5) for user in range(30) for song in range(20)]
RATINGS = HEADER + "rating\n" + "".join(f"u{u},s{s},{r}\n" for u, s, r in ROWS)
PLAYS = HEADER + "plays\n" + "".join(f"u{u},s{s},{r}\n" for u, s, r in ROWS if (u + s) % 3)
SONGS = "song_id,title,artist\ns1,Eins,Anne\ns19,Neunzehn,\n"


def trained_home(folder: Path, kind: str, group: str = "music") -> Path:
    """A home with a model that was trained on the file beside it."""
    folder.mkdir(parents=True)
    file = folder / "data.csv"
    file.write_text(RATINGS if kind == "rating" else PLAYS)
    (folder / "songs.csv").write_text(SONGS)
    config = load_config(None, {}, {"data.ratings_file": str(file), "task.kind": kind})
    workload = load_workload(config)
    charter = workload.found(group)
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=3).model
    Home(folder).prepare()
    workload.save_model(Home(folder).model_file("model.safetensors"), model, charter)
    (folder / "config.toml").write_text(f'[data]\nratings_file = "{file}"\n')
    return folder


@pytest.fixture(params=["rating", "implicit"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, kind: str) -> Path:
    return trained_home(tmp_path / "node", kind)


def ran(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    found = main.run([str(part) for part in argv])
    shown = capsys.readouterr()
    assert found == code, shown.err
    return shown.out if code == 0 else shown.err


def json_of(capsys: pytest.CaptureFixture[str], *argv: object) -> Any:
    return json.loads(ran(capsys, *argv, "--json"))


# --- evaluate -------------------------------------------------------------------------------------


def test_evaluate_measures_what_the_head_can(
    capsys: pytest.CaptureFixture[str], home: Path, kind: str
) -> None:
    report = json_of(capsys, "evaluate", "--home", home)
    assert (report["head"], report["users"]) == (kind, 30)
    assert (report["rmse"] is not None) == (kind == "rating")
    assert 0 <= report["ndcg"] <= 1
    text = ran(capsys, "evaluate", "--home", home)
    assert f"NDCG@10    {report['ndcg']:.4f}" in text
    assert ("RMSE" in text) == (kind == "rating")


def test_evaluate_takes_any_model_and_any_data(
    capsys: pytest.CaptureFixture[str], home: Path, kind: str, tmp_path: Path
) -> None:
    given = ("--model", home / "model.safetensors", "--data", home / "data.csv")
    report = json_of(capsys, "evaluate", "--home", tmp_path / "empty", *given)
    assert report == json_of(capsys, "evaluate", "--home", home)


def test_evaluate_without_model_or_data_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    shown = ran(capsys, "evaluate", "--home", empty, code=exit_codes.STATE)
    assert "no model yet" in shown
    model = home / "model.safetensors"
    shown = ran(capsys, "evaluate", "--home", empty, "--model", model, code=exit_codes.DATA)
    assert "--data" in shown


# --- export and import ----------------------------------------------------------------------------


def test_what_one_exports_another_imports_and_recommends_from(
    capsys: pytest.CaptureFixture[str], home: Path, kind: str, tmp_path: Path
) -> None:
    file, other = tmp_path / "mine.safetensors", tmp_path / "other"
    exported = json_of(capsys, "export", file, "--home", home)
    assert (exported["task"], exported["rows"], exported["named"]) == (kind, 20, 20)
    imported = json_of(capsys, "import", file, "--home", other)
    assert imported == {**exported, "path": str(other / "model.safetensors")}
    asked = ("recommend", "--home", other, "--user", "me", "--top", 20)
    songs = json_of(capsys, *asked)
    titles = {item["song_id"]: item["title"] for item in songs}
    assert len(songs) == 20
    assert (titles["s1"], titles["s19"], titles["s2"]) == ("Eins", "Neunzehn", "s2")
    assert {(item["kind"], item["head"]) for item in songs} == {("popular", kind)}
    known = json_of(capsys, *asked[:3], "--user", "u3", "--data", home / "data.csv")
    direct = json_of(capsys, "recommend", "--home", home, "--user", "u3")
    assert [item["song_id"] for item in known] == [item["song_id"] for item in direct]


def test_an_export_holds_no_ratings_and_nobody(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    ran(capsys, "export", file, "--home", home)
    assert b"u17" not in file.read_bytes()
    named = load_named_model(file)
    assert set(named.names["items"].songs) == {f"s{n}" for n in range(20)}


def test_a_file_is_not_replaced_unless_asked_for(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_text("precious")
    shown = ran(capsys, "export", file, "--home", home, code=exit_codes.STATE)
    assert "--force" in shown
    assert file.read_text() == "precious"
    assert "20 songs, 20 of them by name" in ran(capsys, "export", file, "--home", home, "--force")
    nowhere = tmp_path / "no" / "folder.safetensors"
    assert "no such folder" in ran(capsys, "export", nowhere, "--home", home, code=exit_codes.STATE)


def test_a_model_of_another_group_is_refused_unless_forced(
    capsys: pytest.CaptureFixture[str], home: Path, kind: str, tmp_path: Path
) -> None:
    other = trained_home(tmp_path / "other", kind, group="jazz")
    before = (home / "model.safetensors").read_bytes()
    source = other / "model.safetensors"
    shown = ran(capsys, "import", source, "--home", home, code=exit_codes.GROUP)
    assert "group jazz" in shown
    assert "--force" in shown
    assert (home / "model.safetensors").read_bytes() == before
    ran(capsys, "import", home / "model.safetensors", "--home", home)
    assert json_of(capsys, "import", source, "--home", home, "--force")["group"] == "jazz"


def test_damage_is_refused_and_nothing_changes(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    before = (home / "model.safetensors").read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    shown = ran(capsys, "import", bad, "--home", home, code=exit_codes.STATE)
    assert "not a usable model file" in shown
    assert (home / "model.safetensors").read_bytes() == before


def test_import_keeps_out_of_a_home_in_which_a_node_runs(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    with Home(home).lock():
        shown = ran(
            capsys, "import", home / "model.safetensors", "--home", home, code=exit_codes.STATE
        )
    assert "running in this home" in shown


def test_recommendations_that_nobody_reads_end_silently(tmp_path: Path) -> None:
    home = trained_home(tmp_path / "node", "rating")
    line = f'"{sys.executable}" -m openfl_cli recommend --user u1 --home "{home}" | :'
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == exit_codes.BROKEN_PIPE
    assert "error" not in done.stderr


def test_a_model_of_a_group_whose_name_may_deceive_is_imported_by_its_members_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    old = trained_home(tmp_path / "old", kind, "music\u3164")
    file = tmp_path / "mine.safetensors"
    ran(capsys, "export", file, "--home", old)
    ran(capsys, "import", file, "--home", old)
    shown = ran(capsys, "import", file, "--home", tmp_path / "other", code=exit_codes.STATE)
    assert "must not hold U+3164 HANGUL FILLER" in shown
    assert not (tmp_path / "other" / "model.safetensors").exists()
