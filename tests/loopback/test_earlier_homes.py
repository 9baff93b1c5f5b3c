"""Homes that an earlier version made open in this one, and go on where they were."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.process_rig import RunningNode, ending, openfl_node

HOMES = Path(__file__).parents[1] / "fixtures" / "homes-0.1.0"
DATA = {"rating": "ratings.csv", "implicit": "plays.csv", "classification": "flowers.csv"}

pytestmark = pytest.mark.parametrize("kind", DATA)


@pytest.fixture
def home(kind: str, tmp_path: Path) -> Path:
    """A copy of that home, with the modes that Git does not keep, and its data file."""
    home = tmp_path / kind
    shutil.copytree(HOMES / kind, home)
    for path in (home, *home.rglob("*")):
        os.chmod(path, 0o700 if path.is_dir() else 0o600)
    shutil.copy(HOMES / DATA[kind], home / "ratings.csv")
    return home


def before(home: Path) -> dict[str, Any]:
    """What the earlier version said of it."""
    told: dict[str, Any] = json.loads((home / "status.json").read_text(encoding="utf-8"))
    return told


def test_it_tells_what_the_earlier_version_told(home: Path, kind: str) -> None:
    now = json.loads(openfl_node("status", "--home", str(home), "--json"))
    then = before(home)
    for said in (now, then):
        del said["home"]
    assert now == then


def test_it_goes_on_with_its_identity_its_group_and_its_round(home: Path, kind: str) -> None:
    then = before(home)
    node = RunningNode(home, switching=True)
    with ending([node]):
        first = node.wait_for("round")
        now = node.ask("status")
        openfl_node("stop", "--home", str(home))
        assert node.process.wait() == 0
    assert now["peer_id"] == then["peer_id"]
    assert now["group"] == then["group"]
    assert first["data"]["round"] == then["round"] + 1
    pinned = [said["switching"]["pinned"] for said in (now, then)]
    assert pinned == [kind == "rating"] * 2
    assert not node.find("state-damaged")
    assert now["model_rows"] >= then["model_rows"]


def test_its_model_still_answers(home: Path, kind: str) -> None:
    where = ("--home", str(home), "--json")
    if kind == "classification":
        answers = openfl_node("predict", "--data", str(home / "ratings.csv"), *where)
        assert json.loads(answers)["accuracy"] > 0.9
    else:
        answers = openfl_node("recommend", "--user", "1", *where)
        assert len(json.loads(answers)) == 5
