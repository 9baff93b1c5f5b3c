"""The pieces of the demo: dealing, judging, drawing, and ending every child."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from cli_fakes import FakeRecommendations, make_event, make_snapshot
from rich.console import Console

from openfl.core.errors import DataError, LearningError
from openfl_cli import exit_codes, main
from openfl_cli.commands import demo as command
from openfl_cli.demo.children import Child, ChildEnded, child_environment, ended_together
from openfl_cli.demo.deal import deal
from openfl_cli.demo.outcome import NodeResult, as_json, problems, ready, result_of
from openfl_cli.demo.picture import DemoView, Row, closing_table
from openfl_cli.demo.polling import Ending, Settings
from tests.patience import PATIENCE_SECONDS
from tests.situation import within

# --- dealing -----------------------------------------------------------------------------------


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    rows = [f"u{user},s{song},{1 + song % 5}" for user in range(10) for song in range(user + 1)]
    (folder / "ratings.csv").write_text("user_id,song_id,rating\n" + "\n".join(rows) + "\n")
    songs = "\n".join(f"s{song},Song {song},Ann,pop" for song in range(10))
    (folder / "songs.csv").write_text(f"song_id,title,artist,genre\n{songs}\n")
    return folder


def homes_in(folder: Path, count: int) -> list[Path]:
    homes = [folder / f"n{index}" for index in range(count)]
    for home in homes:
        home.mkdir(parents=True)
    return homes


def ratings_of(home: Path) -> list[tuple[str, ...]]:
    with (home / "ratings.csv").open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_every_rating_goes_to_exactly_one_node_and_a_listener_is_never_split(
    sample: Path, tmp_path: Path
) -> None:
    homes = homes_in(tmp_path / "a", 3)
    shards = deal(sample, homes, seed=1)
    dealt = [row for home in homes for row in ratings_of(home)]
    assert sorted(dealt) == sorted(ratings_of(sample))
    assert sorted(user for shard in shards for user in shard.users) == sorted(
        {row[0] for row in dealt}
    )
    assert [shard.ratings for shard in shards] == [len(ratings_of(home)) for home in homes]
    assert all((home / "songs.csv").exists() for home in homes)
    for shard, home in zip(shards, homes, strict=True):
        users = [row[0] for row in ratings_of(home)]
        assert users.count(shard.keenest) == max(map(users.count, users))


def test_the_same_seed_deals_the_same_and_another_one_does_not(
    sample: Path, tmp_path: Path
) -> None:
    first = deal(sample, homes_in(tmp_path / "a", 3), seed=1)
    assert deal(sample, homes_in(tmp_path / "b", 3), seed=1) == first
    assert deal(sample, homes_in(tmp_path / "c", 3), seed=2) != first


def test_more_nodes_than_listeners_are_refused(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        deal(sample, homes_in(tmp_path / "a", 11), seed=1)


def test_a_sample_without_users_is_refused(sample: Path, tmp_path: Path) -> None:
    (sample / "ratings.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="user_id"):
        deal(sample, homes_in(tmp_path / "a", 2), seed=1)


# --- judging -----------------------------------------------------------------------------------


def result(name: str = "node-1", **changes: Any) -> NodeResult:
    good = result_of(name, make_snapshot(members=4, round=12))
    return dataclasses.replace(good, **changes)


def test_the_test_split_is_used_when_there_is_one() -> None:
    assert (result().alone, result().together, result().split) == (0.91, 0.82, "test")
    without = result_of("node-1", make_snapshot(test=None))
    assert (without.alone, without.together, without.split) == (0.9011, 0.8123, "validation")


def test_nodes_that_learned_together_have_no_problems() -> None:
    assert problems([result("a"), result("b"), result("c"), result("d")], 4, 12) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"together": 0.92}, "b was not better together (0.9200) than alone (0.9100)"),
        ({"together": 0.91}, "b was not better together"),
        ({"together": None}, "b was not better together (-)"),
        ({"together": float("nan")}, "b was not better together (-)"),
        ({"alone": None}, "b was not better together"),
        ({"peers_found": 2}, "b found 2 of 3 other members"),
        ({"rounds": 11}, "b did 11 of 12 rounds"),
    ],
)
def test_one_node_that_did_not_learn_is_named(change: Any, complaint: str) -> None:
    (found,) = problems([result("a"), result("b", **change), result("c"), result("d")], 4, 12)
    assert found.startswith(complaint)


def test_a_node_that_never_answered_is_a_problem() -> None:
    assert problems([result("a"), result("b"), result("c")], 4, 12) == [
        "only 3 of 4 nodes answered"
    ]


def test_the_demo_waits_for_the_slowest_node() -> None:
    done, slow = make_snapshot(round=12), make_snapshot(round=11)
    assert ready({"a": done, "b": done}, 2, 12)
    assert not ready({"a": done, "b": slow}, 2, 12)
    assert not ready({"a": done, "b": None}, 2, 12)
    assert not ready({"a": done, "b": make_snapshot(round=12, alone=None)}, 2, 12)
    assert not ready({"a": done, "b": make_snapshot(members=1, round=12)}, 2, 12)


SETTINGS = Settings(nodes=2, rounds=12, interval_seconds=1, seed=0, timeout_seconds=60)


def ending(*results: NodeResult) -> Ending:
    return Ending(results, FakeRecommendations("u7", 5).to_plain(), 17.0)


def test_a_good_ending_shows_table_songs_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    two = ending(result("node-1"), result("node-2"))
    assert command.close(SETTINGS, two, ["Rusalka"], as_json=False) == exit_codes.SUCCESS
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == (
        ["node", "peers", "found", "rounds", "RMSE", "alone", "RMSE", "together", "change"]
    )
    assert shown.splitlines()[1].split() == ["node-1", "3", "12", "0.9100", "0.8200", "-9.9", "%"]
    assert "Listener u7 of node-1 liked Rusalka." in shown
    assert "Song 5" in shown
    assert "Together was better than alone at every node, after 17 s." in shown


def test_a_bad_ending_shows_the_table_too_and_is_a_learning_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = ending(result("node-1"), result("node-2", together=0.95))
    with pytest.raises(LearningError, match="node-2 was not better") as caught:
        command.close(SETTINGS, two, [], as_json=False)
    assert caught.value.exit_code == exit_codes.LEARNING == 9
    shown = capsys.readouterr().out
    assert "0.9500" in shown
    assert "Together was better" not in shown


def test_demo_json_has_the_documented_keys() -> None:
    plain = as_json([result()], FakeRecommendations("u7", 1).to_plain(), 17.123, ["x"])
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["learned_together"], plain["problems"], plain["seconds"]) == (
        False,
        ["x"],
        17.12,
    )
    assert plain["nodes"][0]["peers_found"] == 3
    assert plain["nodes"][0]["rmse_together"] == 0.82
    assert plain["recommendations"]["items"][0]["title"] == "Song 1"


def test_what_the_listener_liked_is_told_by_title(sample: Path) -> None:
    assert command.favourites(sample, "u9", count=2) == ["Song 4", "Song 9"]


# --- drawing -----------------------------------------------------------------------------------


def drawn(renderable: Any, width: int, height: int = 40) -> list[str]:
    console = Console(
        width=width, height=height, file=io.StringIO(), color_system=None, _environ={}
    )
    text = "".join(part.text for part in console.render(renderable, console.options))
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def demo_view(nodes: int = 4, started: int = 4) -> DemoView:
    rows = tuple(
        Row(f"node-{n + 1}", 150, 3_000, make_snapshot() if n < started else None)
        for n in range(nodes)
    )
    return DemoView(rows, 12, 5.0, (("node-2", make_event(1, message="found 3 members")),))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_demo_view_fits_its_width_and_always_shows_what_matters(width: int) -> None:
    lines = drawn(demo_view(), width)
    assert max(map(len, lines)) <= width
    assert all(word in lines[2] for word in ("node", "found", "round", "alone", "together"))
    assert all(value in lines[3] for value in ("node-1", "3/3", "7/12", "0.9011", "0.8123"))
    assert lines[-1].startswith("node-2  found 3 members")


def test_the_wide_demo_view_shows_the_course_and_traffic() -> None:
    wide, narrow = drawn(demo_view(), 100)[3], drawn(demo_view(), 60)[3]
    assert "█▆▄▃▂▂▁▁" in wide
    assert "1.2 MB" in wide
    assert "█" not in narrow


def test_sixteen_nodes_fit_a_small_terminal() -> None:
    assert len(drawn(demo_view(nodes=16, started=3), 80, 24)) <= 24


def test_a_node_that_has_not_started_yet_has_a_line() -> None:
    lines = drawn(demo_view(nodes=2, started=1), 80)
    assert "starting" in lines[4]


def test_the_closing_table_says_what_is_measured() -> None:
    assert (
        "RMSE on test ratings that no node trained on" in drawn(closing_table([result()]), 80)[-1]
    )


def test_progress_without_a_terminal_is_a_line_a_second_and_only_when_something_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = command.ProgressLines()
    for seconds, started in ((5.0, 1), (5.1, 2), (7.0, 2), (9.0, 2)):
        lines(dataclasses.replace(demo_view(nodes=2, started=started), seconds=seconds))
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "  5.0 s  rounds 7 - of 12  held-out RMSE 0.8123 -",
        "  7.0 s  rounds 7 7 of 12  held-out RMSE 0.8123 0.8123",
    ]


# --- children ----------------------------------------------------------------------------------


async def child_of(script: str, folder: Path) -> Child:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Child("node-1", folder, process)


LISTENING = json.dumps(
    {
        "time": 0,
        "level": "info",
        "event": "listening",
        "message": "",
        "data": {"multiaddrs": ["/x"]},
    }
)


async def test_the_first_nodes_address_is_read_from_its_output(tmp_path: Path) -> None:
    script = f"import time; print({LISTENING!r}, flush=True); time.sleep(600)"
    children = [await child_of(script, tmp_path)]
    async with ended_together(children), trio.open_nursery() as nursery:
        nursery.start_soon(children[0].follow)
        with within():
            await children[0].listening.wait()
        assert children[0].multiaddrs == ["/x"]
        nursery.cancel_scope.cancel()
    assert children[0].process.returncode is not None


async def test_a_child_that_ends_early_is_told_with_its_last_lines(tmp_path: Path) -> None:
    script = "print('one'); print('[1, 2]'); raise SystemExit(5)"
    children = [await child_of(script, tmp_path)]
    async with ended_together(children):
        with pytest.raises(ChildEnded, match="node-1 ended with exit code 5") as caught:
            await children[0].follow()
    assert list(caught.value.child.lines) == ["one", "[1, 2]"]
    assert caught.value.exit_code == exit_codes.LEARNING


async def test_children_are_ended_when_the_block_is_left_by_an_error(tmp_path: Path) -> None:
    children = [await child_of("import time; time.sleep(600)", tmp_path) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        async with ended_together(children):
            raise KeyboardInterrupt
    assert all(child.process.returncode is not None for child in children)


async def test_a_child_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openfl_cli.demo.children.END_SECONDS", 0.2)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"print({LISTENING!r}, flush=True); time.sleep(600)"
    )
    children = [await child_of(script, tmp_path)]
    async with ended_together(children), trio.open_nursery() as nursery:
        nursery.start_soon(children[0].follow)
        await children[0].listening.wait()
        nursery.cancel_scope.cancel()
    assert children[0].process.returncode == -9


def test_children_do_not_inherit_the_settings_of_a_node_of_ones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENFL_GROUP_NAME", "mine")
    environment = child_environment()
    assert not any(name.startswith("OPENFL_") for name in environment)
    assert environment["OMP_NUM_THREADS"] == "1"


# --- the command with nodes that fail ----------------------------------------------------------


def test_a_demo_whose_nodes_cannot_start_says_why_and_leaves_nothing_behind(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "openfl_cli.py").write_text("raise SystemExit('no such luck')")
    monkeypatch.setattr(
        "openfl_cli.demo.children.child_environment", lambda: {"PYTHONPATH": str(broken)}
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fake_sample(monkeypatch, sample)
    assert main.run(["demo", "--nodes", "2"]) == exit_codes.LEARNING
    shown = capfd.readouterr().err
    assert "node-1 | no such luck" in shown
    assert "openfl-node: error: node-1 ended with exit code 1" in shown
    assert list((tmp_path / "temporary").iterdir()) == []


def test_ctrl_c_ends_the_demo_its_nodes_and_its_folder(sample: Path, tmp_path: Path) -> None:
    """The demo runs as a process; its nodes are stand-ins that only sleep."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "openfl_cli.py").write_text("import time; time.sleep(600)")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = (
        "import sys, types, pathlib, tempfile\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        "sample = types.ModuleType('openfl_cli.sample')\n"
        f"sample.sample_folder = lambda: pathlib.Path({str(sample)!r})\n"
        "import openfl_cli; openfl_cli.sample = sys.modules['openfl_cli.sample'] = sample\n"
        "from openfl_cli.demo import children\n"
        f"children.child_environment = lambda: {{'PYTHONPATH': {str(stub)!r}}}\n"
        "from openfl_cli import main; sys.exit(main.run(['demo', '--nodes', '2']))\n"
    )
    environment = {**child_environment()}
    demo = subprocess.Popen([sys.executable, "-c", script], env=environment)
    try:
        nodes: list[psutil.Process] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not nodes and time.monotonic() < deadline:
            nodes = [child for child in psutil.Process(demo.pid).children() if is_node(child)]
            time.sleep(0.05)
        assert nodes, "no node was started"
        demo.send_signal(2)
        assert demo.wait(PATIENCE_SECONDS) == exit_codes.INTERRUPTED
    finally:
        demo.kill()
        demo.wait()
    assert not any(node.is_running() for node in nodes)
    assert list(temporary.iterdir()) == []


def is_node(process: psutil.Process) -> bool:
    """Not the moment between fork and exec, nor anything that a library starts."""
    try:
        return "--home" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def fake_sample(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import types

    import openfl_cli

    module = types.ModuleType("openfl_cli.sample")
    module.sample_folder = lambda: folder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openfl_cli.sample", module)
    monkeypatch.setattr(openfl_cli, "sample", module, raising=False)
