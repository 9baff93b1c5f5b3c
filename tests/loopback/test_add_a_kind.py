"""A kind of learning of one's own: a task, an object and a line. It works wherever kinds do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import numpy as np
import pytest

from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.config.kinds import KindDescription
from openfl.config.settings import setting
from openfl.core.contribution import Charter, Contribution, Evaluation, RowBlock, TableSchema
from openfl.core.errors import ConfigError, GroupError
from openfl.learning.kind import Kind
from openfl.learning.kinds import KINDS, kind_of, load_workload, register_kind, unregister_kind
from openfl.learning.sharding import Sharding
from openfl.learning.workload import TaskWorkload
from openfl_cli import exit_codes, main

# --- the whole of it: the mean of numbers that nobody would show ----------------------------------

ROW = np.zeros(1, dtype=np.uint64)
CHARTER = Charter("numbers", "mean", (TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), "float32"),))


class MeanTask:
    def __init__(self, charter, numbers, held_out):
        self.charter, self.train_examples = charter, len(numbers) - held_out
        self.train, self.held_out = numbers[held_out:], numbers[:held_out]

    def local_step(self, model, rng):
        value, evidence = [[self.train.mean()]], [self.train_examples]
        arrays = (np.array(a, np.float32) for a in (value, evidence, [1]))
        return Contribution((RowBlock("mean", ROW, *arrays),))

    def evaluate(self, model, split="validation"):
        squares = (self.held_out - model.rows("mean", ROW)[0, 0]) ** 2
        error = squares.std() / len(squares) ** 0.5
        return Evaluation("mse", float(squares.mean()), float(error), len(squares))

    def private_state(self):
        return {}

    def restore(self, state): ...


@dataclass(frozen=True)
class MeanData:
    held_out: int = setting(4, "how many numbers are held out.", minimum=1, maximum=100)


def workload(config, numbers):
    held_out = config.own(MeanData).held_out
    return TaskWorkload(CHARTER, lambda charter: MeanTask(charter, numbers, held_out))


MEAN = Kind(
    KindDescription("mean", "a number", "a number a line", (("data", MeanData),), metric="mse"),
    load=lambda config, resumed: np.loadtxt(config.data.ratings_file),
    workload=workload,
    sharding=Sharding(len, lambda numbers, chosen: numbers[chosen]),
)

# --- where it works -------------------------------------------------------------------------------

NUMBERS = np.random.default_rng(2).normal(5.0, 3.0, 40)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register_kind(MEAN)
    yield
    unregister_kind("mean")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "numbers.txt"
    np.savetxt(file, NUMBERS)
    return file


async def test_nodes_learn_it_together(data: Path, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "others.txt", NUMBERS + 2)
    settings = {
        "task.kind": "mean",
        "data.ratings_file": str(data),
        "data.held_out": 10,
        "network.host": "127.0.0.1",
        "training.rounds": 3,
        "training.wait_for_members": 2,
        "training.interval_seconds": 0.1,
        "training.when_done": "serve",
    }
    async with open_node(load_config(None, {}, settings), tmp_path / "1", print) as first:
        settings["network.bootstrap"] = first.snapshot().multiaddrs[:1]
        settings["data.ratings_file"] = str(tmp_path / "others.txt")
        async with open_node(load_config(None, {}, settings), tmp_path / "2", print) as second:
            await first.wait_done()
            await second.wait_done()
            shots = first.snapshot(), second.snapshot()
    assert {(shot.task, shot.train_examples, len(shot.members)) for shot in shots} == {
        ("mean", 30, 2)
    }


def test_the_commands_know_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(tmp_path / "home"))
    start = ("start", *home, "--no-view", "--interval", "0.1", "--set", "network.host=127.0.0.1")
    asked = ("--data", str(data), "--set", "task.kind=mean", "--rounds", "2")
    assert main.run([*start, *asked]) == exit_codes.SUCCESS
    # The kind is remembered with the group, and where the data is.
    assert main.run([*start, "--rounds", "4"]) == exit_codes.SUCCESS
    capsys.readouterr()

    assert main.run(["status", *home, "--json"]) == exit_codes.SUCCESS
    status = json.loads(capsys.readouterr().out)
    assert (status["group"]["task"], status["metrics"]["metric"]) == ("mean", "mse")

    assert main.run(["evaluate", *home, "--json"]) == exit_codes.SUCCESS
    report = json.loads(capsys.readouterr().out)
    squares = (NUMBERS[:4] - NUMBERS[4:].mean()) ** 2
    assert report["metric"] == "mse"
    assert report["value"] == pytest.approx(squares.mean(), rel=1e-4)
    assert main.run(["evaluate", *home]) == exit_codes.SUCCESS
    assert "4 held-out examples" in capsys.readouterr().out

    assert main.run(["config", "show", *home]) == exit_codes.SUCCESS
    assert "held_out = 4" in capsys.readouterr().out
    assert main.run(["recommend", *home, "--user", "ann"]) == GroupError.exit_code
    assert 'learns "mean": it recommends no songs' in capsys.readouterr().err


def test_the_simulator_knows_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "mean.toml"
    scenario.write_text(f"""
    [run]
    nodes = 4
    rounds = 4
    [data]
    kind = "mean"
    source = "{data.name}"
    held_out = 2
    """)
    assert main.run(["simulate", str(scenario), "--json"]) == exit_codes.SUCCESS
    *_, last, course, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert course["kind"] == "course"
    assert (summary["metric"], summary["nodes"], last["members"]) == ("mse", 4, 4)
    # Four means of eight numbers each, weighed alike, against the mean of the 38 left in one place.
    assert summary["final"] == pytest.approx(summary["central"]["test"], rel=0.05)

    scenario.write_text(scenario.read_text().replace("held_out = 2", "held_out = 0"))
    assert main.run(["simulate", str(scenario)]) == ConfigError.exit_code
    assert "mean.toml: data.held_out: must be >= 1, got 0" in capsys.readouterr().err


# --- names ----------------------------------------------------------------------------------------


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones(data: Path) -> None:
    config = load_config(None, {}, {"task.kind": "mean", "data.ratings_file": str(data)})
    unregister_kind("mean")
    try:
        with pytest.raises(ConfigError, match=r'"mean" \(known: rating, implicit, classification'):
            load_workload(config)
        with pytest.raises(GroupError, match=r"known here \(known: rating, implicit"):
            kind_of(CHARTER)
        with pytest.raises(ConfigError, match=r"data\.held_out: unknown key"):
            load_config(None, {}, {"data.held_out": 3})
        with pytest.raises(ConfigError, match='must be "rating" or "implicit" or "classification"'):
            load_config(None, {}, {"task.kind": "mean"})
    finally:
        register_kind(MEAN)
    with pytest.raises(ConfigError, match='"classification" or "mean"'):
        load_config(None, {}, {"task.kind": "mode"})


@pytest.mark.parametrize("taken", ["kind", "seed", "alpha"])
def test_what_is_taken_is_refused_and_leaves_no_trace(taken: str) -> None:
    own = make_dataclass("Own", [(taken, int, setting(1, "other."))], frozen=True)
    with pytest.raises(ValueError, match=f"task.{taken}"):
        register_kind(Kind(KindDescription("other", "x", "y", (("task", own),)), None, None))
    with pytest.raises(ValueError, match="already"):
        register_kind(MEAN)
    assert list(KINDS) == ["rating", "implicit", "classification", "mean"]
    assert load_config(None, {}, {"task.alpha": 2.0})
