"""`simulate --seeds`, `simulate --html` and `report`: what is written, and what is refused."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openfl.app import runtime
from openfl.core.course import Course, MoveMade, Point
from openfl.core.errors import DataError, LearningError
from openfl.storage.course import COURSE_KIND, COURSE_VERSION
from openfl.storage.home import Home
from openfl.storage.state_files import write_state
from openfl_cli import ask, exit_codes, main
from openfl_cli.demo.run_acts import write_report
from openfl_cli.report.runs import read_runs, runs_document
from openfl_cli.simulation.seeds import spreads_of
from tests.cli.cli_fakes import make_snapshot

SMALL = ("--nodes", "4", "--rounds", "2", "--set", "data.source=synthetic")
SMALL += ("--set", "data.users=40", "--set", "data.items=40", "--set", "data.ratings_per_user=15")
SORTING = ("--nodes", "9", "--rounds", "9", "--set", "data.users=90")


def command(*arguments: str) -> int:
    return main.run(list(arguments))


def document_in(path: Path) -> Any:
    """What the page was made of."""
    html = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def lines_of(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def test_several_seeds_are_told_with_mean_and_spread(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("simulate", "quick", "--seeds", "3", "--json", *SMALL) == exit_codes.SUCCESS
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [line["kind"] for line in told]
    assert kinds == ["round", "round", "course", "summary"] * 3 + ["seeds"]
    summaries = [line for line in told if line["kind"] == "summary"]
    assert [summary["seed"] for summary in summaries] == [0, 1, 2]
    assert told[-1]["seeds"] == [0, 1, 2]
    quantities = {quantity["key"]: quantity for quantity in told[-1]["quantities"]}
    finals = [summary["final"] for summary in summaries]
    assert len(set(finals)) == 3
    assert quantities["test"]["mean"] == pytest.approx(statistics.fmean(finals))
    assert quantities["test"]["spread"] == pytest.approx(statistics.stdev(finals))
    assert (quantities["test"]["least"], quantities["test"]["most"]) == (min(finals), max(finals))
    assert "purity" not in quantities, "there is one group"


def test_each_seed_is_the_run_that_it_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    command("simulate", "quick", "--seeds", "2", "--seed", "5", "--json", *SMALL)
    both = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    command("simulate", "quick", "--seed", "6", "--json", *SMALL)
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert both[4:8] == alone


def test_for_people_there_is_a_row_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("simulate", "quick", "--seeds", "2", *SMALL) == exit_codes.SUCCESS
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("quick: ")
    assert [line.split()[0] for line in out[1:]] == ["seed", "0", "1", "mean", "sd"]


def test_a_quantity_that_a_run_does_not_know_is_left_out() -> None:
    fits = {"pooled": 0.5, "mean": None, "median": 0.5, "worst": 0.6}
    record = {
        "metric": "rmse",
        "test": fits,
        "against_central": 0.1,
        "published_bytes": 5.0,
        "groups": {"a": 1, "b": 1},
        "moves": 1,
        "purity": 1.0,
    }
    keys = [spread.key for spread in spreads_of([record, record])]
    assert "mean" not in keys
    assert {"test", "worst", "groups", "purity", "moves"} <= set(keys)
    assert [spread.spread for spread in spreads_of([record])] == [0.0] * len(keys)


def test_a_report_of_a_simulation_has_its_moves_reasons_and_references(tmp_path: Path) -> None:
    path = tmp_path / "runs.html"
    assert (
        command("simulate", "communities", "--seeds", "2", *SORTING, "--html", str(path))
        == exit_codes.SUCCESS
    )
    page = document_in(path)
    assert (page["kind"], page["format"]) == ("simulation", 1)
    assert [run["seed"] for run in page["runs"]] == [0, 1]
    assert {r["key"] for r in page["references"]} == {"alone", "together", "oracle", "random"}
    assert {row["key"] for row in page["aggregate"]} >= {"test", "purity", "moves"}
    for run in page["runs"]:
        assert len(run["nodes"]) == 9
        assert run["rounds"][-1]["moves"] == len(run["moves"]) > 0
        where = {node: dict(entry["path"]) for node, entry in enumerate(run["nodes"])}
        for move in run["moves"]:
            assert move["why"]
            assert move["from"] != move["to"]
            places = [group for _, group in run["nodes"][move["node"]]["path"]]
            assert places[0] is not None
            assert 0 in where[move["node"]], "where it began is known"
        moved = {move["node"] for move in run["moves"]}
        for number, node in enumerate(run["nodes"]):
            ended = [move["to"] for move in run["moves"] if move["node"] == number]
            assert (len(node["path"]) > 1) == (number in moved)
            assert not ended or node["path"][-1][1] == ended[-1]
            assert len(node["values"]) == 9
            taught = dict(node["teachers"])
            assert number not in taught
            assert taught
            assert all(0 < rounds <= 9 for rounds in taught.values())
            assert node["community"] in (0, 1, 2)


def test_what_happened_to_the_nodes_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "churn.html"
    small = ("--nodes", "10", "--rounds", "10", "--set", "data.source=synthetic")
    assert command("simulate", "churn", *small, "--html", str(path)) == exit_codes.SUCCESS
    page = document_in(path)
    assert [event["text"] for event in page["events"]][:2] == ["6 join", "4 crash"]
    assert {r["key"] for r in page["references"]} == {"alone", "central"}
    gone = [
        node for node in page["runs"][0]["nodes"] if [g for _, g in node["path"][1:2]] == [None]
    ]
    assert gone, "who crashed or left is nowhere from then on"


def test_json_lines_make_the_same_report_as_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    direct, file, later = (tmp_path / name for name in ("a.html", "run.jsonl", "b.html"))
    small = ("simulate", "quick", "--seeds", "2", "--json", *SMALL)
    assert command(*small, "--html", str(direct)) == exit_codes.SUCCESS
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert command("report", "--html", str(later), "--run", str(file)) == exit_codes.SUCCESS
    one, two = document_in(direct), document_in(later)
    for page in (one, two):
        del page["made_at"]
    assert one == two


def test_several_files_are_several_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for rule in ("mean", "median"):
        command("simulate", "quick", "--json", *SMALL, "--set", f"training.rule={rule}")
        files.append(tmp_path / f"{rule}.jsonl")
        files[-1].write_text(capsys.readouterr().out, encoding="utf-8")
    page = runs_document(read_runs(files), 0.0, "1")
    assert [run["series"] for run in page["runs"]] == ["mean", "median"]
    assert page["references"] == []


def of_a_run(metric: str = "rmse", text: str = "") -> list[dict[str, Any]]:
    """Lines of a run of one round; text: of something that happened in it."""
    fits = {"pooled": 1.0, "mean": 1.0, "median": 1.0, "worst": 1.0}
    record = {"kind": "round", "round": 1, "members": 2, "published_bytes": 5, "groups": {}}
    course: dict[str, Any] = {"kind": "course", "nodes": [], "moves": [], "references": []}
    course |= {"communities": 1, "description": ""}
    course["events"] = [{"round": 1, "what": "event", "text": text}] if text else []
    summary = {"kind": "summary", "seed": 0, "nodes": 2, "rounds": 1, "scenario": "x"}
    summary |= {"final": 1.0, "against_central": None}
    return [{**record, "test": fits, "metric": metric}, course, summary]


def test_files_of_one_name_are_lines_of_their_own_and_share_no_events(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    files = [lines_of(folder / "run.jsonl", *of_a_run(text="crash")) for folder in folders]
    page = runs_document(read_runs(files), 0.0, "1")
    assert [run["series"] for run in page["runs"]] == [str(file) for file in files]
    assert page["events"] == [], "they may have happened in one of them alone"
    assert runs_document(read_runs(files[:1]), 0.0, "1")["events"]


def test_runs_of_different_metrics_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = lines_of(tmp_path / "ratings.jsonl", *of_a_run())
    labels = lines_of(tmp_path / "labels.jsonl", *of_a_run("log_loss"))
    path = tmp_path / "both.html"
    both = ("--run", str(ratings), str(labels))
    assert command("report", "--html", str(path), *both) == exit_codes.DATA
    assert "ratings by rmse, labels by log_loss" in capsys.readouterr().err
    assert not path.exists()


def test_the_demo_reports_what_its_nodes_kept_of_their_courses(tmp_path: Path) -> None:
    homes = [tmp_path / "node-1", tmp_path / "node-2", tmp_path / "node-3"]
    for number, folder in enumerate(homes[:2]):
        course = Course()
        course.moved(MoveMade(1_000.0, 0, None, "red", "joined", "it was told to"))
        for second in range(1, 9):
            group = "blue" if number and second > 4 else "red"
            if group == "blue" and second == 5:
                course.moved(MoveMade(1_005.0, 5, "red", "blue", "move", "blue is better"))
            course.add(Point(1_000.0 + second, second, group, 0.9, 1.0, 2, 10, 10))
        home = Home(folder)
        home.prepare()
        write_state(home.state_file("course"), COURSE_KIND, COURSE_VERSION, course.to_state())
    shards = [SimpleNamespace(community=number) for number in (0, 1, 1)]
    end: Any = SimpleNamespace(shards=shards, let_go_seconds=3.0)
    path = tmp_path / "demo.html"
    write_report(path, "Demo of communities", homes, end, began=1_000.0)
    page = document_in(path)
    (run,) = page["runs"]
    assert [node["community"] for node in run["nodes"]] == [0, 1, 1]
    assert [(m["node"], m["from"], m["to"], m["why"]) for m in run["moves"]] == [
        (1, "red", "blue", "blue is better")
    ]
    assert page["events"] == [{"round": 2, "what": "event", "text": "let go"}]
    assert run["nodes"][2]["path"] == [[0, None]], "it ended before its first round"
    end = SimpleNamespace(shards=shards[2:], let_go_seconds=0.0)
    with pytest.raises(LearningError, match="no node has done a round"):
        write_report(path, "Demo", homes[2:], end, began=0.0)


def test_the_running_node_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def running_node(home: Path, command_: str, seconds: float = 0) -> Any:
        asked.append((home, command_))
        return {"kind": "node", "title": "Node", "value": float("nan")}

    monkeypatch.setattr(ask, "running_node", running_node)
    path = tmp_path / "node.html"
    assert command("--home", str(tmp_path), "report", "--html", str(path)) == exit_codes.SUCCESS
    assert asked == [(tmp_path, "page")]
    assert document_in(path) == {"kind": "node", "title": "Node", "value": None}
    assert path.stat().st_mode & 0o077 == 0, "others see it when its owner shows it to them"


def test_of_a_node_that_runs_no_more_it_shows_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = replace(make_snapshot(), time=5.0)
    monkeypatch.setattr(runtime, "offline_snapshot", lambda home: snapshot)
    path = tmp_path / "node.html"
    assert command("--home", str(tmp_path), "report", "--html", str(path)) == exit_codes.SUCCESS
    assert "this is what it last saved" in capsys.readouterr().err
    page = document_in(path)
    assert (page["made_at"], page["snapshot"]["phase"]) == (5.0, "stopped")
    assert page["course"] == {"points": [], "moves": []}
    assert page["recommendations"] is None, "there is no model to recommend from"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no finished run"),
        ("not json\n", "line 1: not a line of"),
        ('{"kind": "round"}\n', "line 1: not a line of"),
        ("[1]\n", "line 1: not a line of"),
        ('{"kind": "course", "nodes": [{}]}\n', "line 1: not a line of"),
        (
            '{"kind":"summary","seed":0,"nodes":1,"rounds":1,"final":1,"against_central":0,'
            '"scenario":"x"}\n',
            "no round before it",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_runs([path])


def test_a_run_that_was_broken_off_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("simulate", "quick", "--json", *SMALL)
    lines = capsys.readouterr().out.splitlines()
    path = tmp_path / "run.jsonl"
    path.write_text(lines[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="ends within a run"):
        read_runs([path])
    with pytest.raises(DataError, match="cannot be read"):
        read_runs([tmp_path / "none.jsonl"])
    older = lines_of(
        tmp_path / "older.jsonl", *(json.loads(line) for line in lines if '"course"' not in line)
    )
    page = runs_document(read_runs([older]), 0.0, "1")
    assert page["runs"][0]["nodes"] == [], "of an older version: without the nodes' courses"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "quick", "--html", "page.txt"), "ends in .html"),
        (("simulate", "quick", "--html", "nowhere/page.html"), "there is no folder"),
        (("simulate", "quick", "--seeds", "0"), "at least 1"),
        (("simulate", "quick", "--seeds", "2", "--plot", "a.png"), "--plot draws one run"),
        (("report", "--html", "page.html"), "no node is running"),
        (("report",), "--html"),
        (("demo", "--html", "demo.html"), "--html reports on --communities or --people"),
        (("demo", "--communities", "--html", "demo.txt"), "ends in .html"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENFL_HOME", str(tmp_path / "home"))
    try:
        code = command(*arguments)
    except SystemExit as ended:  # argparse's own
        code = int(ended.code or 0)
    assert code != exit_codes.SUCCESS
    assert words in capsys.readouterr().err
    assert list(tmp_path.glob("*.html")) == []
