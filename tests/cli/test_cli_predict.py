"""`openfl-node predict`: what it prints, its JSON shape, its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openfl.config import load_config
from openfl.learning.central import train_alone
from openfl.learning.classification.workload import ClassificationWorkload
from openfl_cli import exit_codes, main


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a model that tells `hot` from `cold` by one number."""
    rows = [f"{n},{'hot' if n >= 20 else 'cold'}" for n in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["degrees,label", *rows]) + "\n")
    settings = {"data.ratings_file": "train.csv", "task.kind": "classification"}
    workload = ClassificationWorkload.load(load_config(None, {}, settings, cwd=tmp_path))
    charter = workload.found("weather")
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=50).model
    (tmp_path / "home").mkdir()
    workload.save_model(tmp_path / "home" / "model.safetensors", model, charter)
    return tmp_path / "home"


def predict(home: Path, text: str, *more: str) -> int:
    data = home / "new.csv"
    data.write_text(text)
    return main.run(["predict", "--home", str(home), "--data", str(data), *more])


def test_every_row_gets_a_label_and_its_probability(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(home, "degrees\n1\n39\n") == exit_codes.SUCCESS
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1", "cold"], ["2", "hot"]]
    assert "right" not in printed.err


def test_with_labels_in_the_file_it_says_how_often_it_was_right(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(home, "degrees,label\n1,cold\n39,cold\n") == exit_codes.SUCCESS
    assert "2 rows with a label: 50.0 % right" in capsys.readouterr().err


def test_json_has_the_documented_shape(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(home, "degrees,label\n1,cold\n39,\n", "--json") == exit_codes.SUCCESS
    plain = json.loads(capsys.readouterr().out)
    assert plain["group"]["name"] == "weather"
    assert sorted(plain["classes"]) == ["cold", "hot"]
    assert (plain["accuracy"], plain["log_loss"] > 0) == (1.0, True)
    first, second = plain["rows"]
    assert (first["row"], first["label"], first["true"]) == (1, "cold", "cold")
    assert (second["label"], second["true"]) == ("hot", None)
    assert 0.5 < second["probability"] <= 1.0


def test_evaluate_tells_the_log_loss_of_what_was_held_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--home", str(home), "--data", str(home.parent / "train.csv"))
    assert main.run(["evaluate", *data, "--json"]) == exit_codes.SUCCESS
    report = json.loads(capsys.readouterr().out)
    assert (report["group"], report["task"], report["metric"]) == (
        "weather",
        "classification",
        "log_loss",
    )
    assert report["held_out"] == 5
    assert 0 < report["value"] < 0.7
    assert main.run(["evaluate", *data]) == exit_codes.SUCCESS
    printed = capsys.readouterr().out
    assert "5 held-out examples" in printed
    assert f"log_loss {report['value']:.4f} +- {report['error']:.4f}" in printed

    whole = ("--set", "data.test_fraction=0")
    assert main.run(["evaluate", *data, *whole]) == exit_codes.DATA
    assert "nothing is held out" in capsys.readouterr().err


def test_a_file_without_the_column_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(home, "kelvin\n1\n") == exit_codes.DATA
    assert "missing column degrees" in capsys.readouterr().err


def test_without_a_model_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(tmp_path, "degrees\n1\n") == exit_codes.STATE
    assert "no model yet" in capsys.readouterr().err
