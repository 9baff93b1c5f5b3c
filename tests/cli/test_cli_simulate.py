"""`openfl-node simulate`: table, JSON lines, picture, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from openfl.simulation.records import Fits, RoundRecord
from openfl_cli import exit_codes, main, scenarios
from openfl_cli.simulation import plot
from openfl_cli.simulation.table import MOST_ROWS, result_table

SMALL = ("--nodes", "4", "--rounds", "2", "--set", "data.source=synthetic")
SMALL += ("--set", "data.users=40", "--set", "data.items=40", "--set", "data.ratings_per_user=15")


def simulate(*arguments: str) -> int:
    return main.run(["simulate", *arguments])


def test_a_run_prints_a_table_and_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("quick", *SMALL) == exit_codes.SUCCESS
    out, err = capsys.readouterr()
    assert "vs central" in out
    assert "Central training, judged on the same ratings: test RMSE" in out
    assert "Every receiver decoded and checked every message itself." in out
    assert [line.split(":")[1] for line in err.splitlines()] == [" round 1 of 2", " round 2 of 2"]


def test_json_is_one_object_a_round_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("quick", "--json", "--seed", "3", *SMALL) == exit_codes.SUCCESS
    out, err = capsys.readouterr()
    first, second, course, summary = map(json.loads, out.splitlines())
    assert (course["kind"], len(course["nodes"]), course["moves"]) == ("course", 4, [])
    assert (first["kind"], first["round"], second["round"]) == ("round", 1, 2)
    assert {"time", "validation", "test", "against_central", "published_bytes"} <= set(first)
    assert (summary["kind"], summary["seed"], summary["nodes"]) == ("summary", 3, 4)
    assert len(summary["trace"]) == 32
    assert err == ""


def test_without_the_wire_the_result_is_the_same_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulate("quick", *SMALL)
    each = capsys.readouterr().out
    simulate("quick", "--no-wire", *SMALL)
    once = capsys.readouterr().out
    assert "Each message was decoded and checked once, for all who heard it." in once
    assert each.splitlines()[-1] == once.splitlines()[-1]  # the trace


def test_the_shipped_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--list") == exit_codes.SUCCESS
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(scenarios.shipped())
    assert listed[0] == "quick"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ((), exit_codes.USAGE, "simulate needs a scenario: a file, or quick, churn"),
        (("quik",), exit_codes.USAGE, "there is no scenario 'quik'"),
        (("quick", "--set", "network.los=1"), exit_codes.CONFIG, "did you mean network.loss?"),
        (("quick", "--nodes", "5000"), exit_codes.DATA, "600 users are too few for 5000 nodes"),
        (("quick", "--plot", "run.gif"), exit_codes.USAGE, "--plot needs a file that ends in"),
        (("quick", "--plot", "none/x.png"), exit_codes.USAGE, "there is no folder"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    arguments: tuple[str, ...], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert simulate(*arguments) == code
    out, err = capsys.readouterr()
    assert complaint in err
    assert out == ""


def test_a_picture_without_matplotlib_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert simulate("quick", "--plot", str(tmp_path / "run.png")) == exit_codes.USAGE
    assert "pip install 'openfl-node[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"run.{suffix}"
    assert simulate("quick", "--plot", str(path), *SMALL) == exit_codes.SUCCESS
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def record(number: int, groups: dict[str, int]) -> RoundRecord:
    fits = Fits(0.9, 0.9, 0.9, 1.0)
    return RoundRecord(
        number, 2.0 * number, number, fits, fits, 0.01, 1000.0, 5000, 4, groups, 12, 0
    )


def test_long_runs_are_shown_in_part_with_the_last_round() -> None:
    rounds = [record(n, {"a": 4}) for n in range(1, 101)]
    shown = list(result_table(rounds).columns[0].cells)
    assert len(shown) <= MOST_ROWS
    assert shown[:3] == ["1", "2", "3"]
    assert shown[-1] == "100"
    assert list(result_table(rounds[:5]).columns[0].cells) == ["1", "2", "3", "4", "5"]


def test_several_groups_are_drawn_as_a_map(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from openfl.simulation.records import Summary

    values: dict[str, Any] = {"scenario": "x", "seed": 0, "nodes": 4, "engine": "sessions"}
    values |= {"wire": "each", "rounds": 2, "central": {"validation": 0.9, "test": 0.9}}
    values |= {"final": 0.9, "against_central": 0.0, "first_within": 1, "published_until": 1.0}
    values |= {"published_bytes": 1.0, "deliveries": 1, "faults": {}, "trace": ""}
    path = tmp_path / "map.svg"
    records = [record(1, {"rock": 4}), record(2, {"rock": 1, "jazz": 3})]
    plot.draw(path, Summary(**values), records)
    one = tmp_path / "one.svg"
    plot.draw(one, Summary(**values), [record(1, {"rock": 4}), record(2, {"rock": 4})])
    # matplotlib draws text as glyphs and says in a comment which.
    assert "<!-- members by group -->" in path.read_text()
    assert "<!-- members by group -->" not in one.read_text()
