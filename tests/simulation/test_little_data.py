"""Nodes with next to no data, alone and in pairs: every task, every way of having too little.

The real `Node` on virtual time. What is asked of each: it runs on, nothing it says is not finite
(to the group, to its owner, in JSON), no warning of NumPy's comes out, and the owner is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.contribution import Charter, Contribution, Evaluation
from openfl.learning.central import train_alone
from openfl.learning.kinds import load_workload
from openfl.learning.workload import TaskWorkload, Workload
from openfl.network.simulated.internet import seed_trio
from openfl.switching.policy import SelectionSettings
from openfl_cli import exit_codes, main
from openfl_cli.status_json import status_json
from tests.group_rig import CHARTER, contribution
from tests.node_rig import HURRIED, Villager, village

THREE_ROUNDS = replace(HURRIED, rounds=3)
LOOKS = SelectionSettings(warm_up_rounds=0, look_probability=1.0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


@dataclass(frozen=True)
class Case:
    """A data file, and how many of its examples are held out for validation (None: not fixed)."""

    name: str
    kind: str
    rows: tuple[str, ...]
    held_out: int | None
    settings: tuple[tuple[str, object], ...] = ()

    def workload(self, folder: Path) -> Workload:
        header = {
            "rating": "user_id,song_id,rating",
            "implicit": "user_id,song_id,plays",
            "classification": "width,height,label",
        }[self.kind]
        file = folder / f"{self.name}.csv"
        file.write_text("\n".join((header, *self.rows)) + "\n")
        settings = {"data.ratings_file": str(file), "task.kind": self.kind, **dict(self.settings)}
        return load_workload(load_config(None, {}, settings))

    def configure(self, home: Path) -> list[str]:
        """The same as a configuration file; the options that name its home."""
        settings: dict[str, object] = {
            "data.ratings_file": str(home / f"{self.name}.csv"),
            "task.kind": self.kind,
        }
        lines = [
            f"{key} = {json.dumps(v)}" for key, v in {**settings, **dict(self.settings)}.items()
        ]
        (home / "config.toml").write_text("\n".join(lines))
        return ["--home", str(home)]


def pairs(users: int, songs: int, value: Callable[[int], object]) -> tuple[str, ...]:
    return tuple(f"u{u},s{s},{value(u + s)}" for u in range(users) for s in range(songs))


def stars(n: int) -> object:
    return 1 + n % 5


def examples(count: int, classes: int, seed: int = 0) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    return tuple(
        f"{rng.normal():.4f},{rng.normal(n % classes):.4f},class{n % classes}" for n in range(count)
    )


NOTHING_HELD_OUT = (("data.validation_fraction", 0.0), ("data.test_fraction", 0.0))
HALF = (("data.validation_fraction", 0.5), ("data.test_fraction", 0.0))
MUSIC: tuple[tuple[str, int, int, Callable[[int], object], int | None, Any], ...] = (
    ("one-row", 1, 1, stars, 0, ()),
    ("two-users", 2, 1, stars, 0, ()),
    ("two-songs", 1, 2, stars, 0, ()),
    ("one-held-out", 1, 5, stars, 1, ()),
    ("two-held-out", 2, 5, stars, 2, ()),
    ("one-song", 12, 1, stars, 0, ()),
    ("one-user", 1, 12, stars, 1, ()),
    ("alike", 3, 6, lambda n: 4, 3, ()),
    ("none-held-out", 3, 6, stars, 0, NOTHING_HELD_OUT),
    ("half-held-out", 1, 5, stars, None, HALF),
)
CASES = [
    Case(f"{kind}-{name}", kind, pairs(users, songs, value), held_out, settings)
    for kind in ("rating", "implicit")
    for name, users, songs, value, held_out, settings in MUSIC
] + [
    Case("classification-one-row", "classification", examples(1, 1), 0),
    Case("classification-two-rows", "classification", examples(2, 2), None),
    Case("classification-one-class", "classification", examples(12, 1), None),
    Case("classification-one-held-out", "classification", examples(12, 3, seed=18), 1),
    Case("classification-alike", "classification", ("1,2,a",) * 12, None),
    Case("classification-constant", "classification", ("1,2,a", "1,2,b") * 6, None),
    Case("classification-none", "classification", examples(12, 2), 0, NOTHING_HELD_OUT),
    Case("classification-half", "classification", examples(3, 3), None, HALF),
]


def assert_fit_to_be_told(node: Villager) -> None:
    """Everything that leaves the node towards its owner is JSON, and no NaN hides in it."""
    assert node.failed is None
    snapshot = node.node.snapshot()
    assert snapshot.faults == {}
    json.dumps(snapshot.to_plain(), allow_nan=False)
    json.dumps(status_json(snapshot, running=True), allow_nan=False)
    for event in node.events:
        json.dumps(dict(event.data), allow_nan=False)
        assert "nan" not in event.message.split()
        assert "inf" not in event.message.split()


def assert_told(node: Villager, case: Case) -> None:
    """The owner is told that the data is too little, and what that means."""
    said = [event.message for event in node.events if event.kind == "little-data"]
    assert len(said) == 1
    if case.held_out == 0:
        assert said[0].startswith("no held-out data (")
        why = node.node.snapshot().switching.why
        assert why == "stayed in music: no look at other groups yet", (
            "it would look if there were any"
        )
    elif case.held_out is not None:
        plural = "s" if case.held_out > 1 else ""
        assert said[0].startswith(f"{case.held_out} held-out example{plural}: ")


async def live_alone_and_together(make: Callable[[], Workload]) -> list[Villager]:
    """Two nodes after all their rounds: the first alone to begin with, then both in its group."""
    async with village() as town:
        for _ in range(2):
            await town.start(make(), settings=THREE_ROUNDS, alone_rounds=4, selection=LOOKS)
            await town.acquainted()
            await town.all_done()
            for node in town.nodes:
                assert_fit_to_be_told(node)
        return town.nodes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_little_data_alone_and_in_a_group(
    case: Case, tmp_path: Path, autojump_clock: MockClock
) -> None:
    for node in await live_alone_and_together(lambda: case.workload(tmp_path)):
        assert_told(node, case)
        assert len(node.teachers()) == 2


# --- without a running node -----------------------------------------------------------------------


def json_of(capsys: pytest.CaptureFixture[str], argv: list[str]) -> tuple[int, Any]:
    """(exit code, what it printed); anything but strict JSON fails."""
    code = main.run([*argv, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out, parse_constant=pytest.fail) if out else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_commands_on_what_little_data_taught(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload = case.workload(tmp_path)
    charter = workload.found("few")
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=2).model
    workload.save_model(tmp_path / "model.safetensors", model, charter)
    home, copy = case.configure(tmp_path), str(tmp_path / "copy")
    code, found = json_of(capsys, ["export", copy, *home])
    assert (code, found["group"]) == (exit_codes.SUCCESS, "few")
    if case.kind == "classification":
        data = str(tmp_path / f"{case.name}.csv")
        assert json_of(capsys, ["predict", "--data", data, *home])[0] == exit_codes.SUCCESS
        return
    assert json_of(capsys, ["recommend", "--user", "u0", *home])[0] == exit_codes.SUCCESS
    code, found = json_of(capsys, ["evaluate", *home])
    assert code == (exit_codes.SUCCESS if found else exit_codes.DATA)
    assert json_of(capsys, ["import", copy, *home])[0] == exit_codes.SUCCESS


@pytest.mark.parametrize("engine", ["sessions", "shared"])
@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name in ("rating-two-users", "rating-alike")]
)
def test_a_simulation_of_little_data(
    case: Case, nodes: int, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.workload(tmp_path)
    settings = [f"data.source={tmp_path / case.name}.csv", f"run.engine={engine}"]
    argv = ["simulate", "quick", "--nodes", str(nodes), "--rounds", "2"]
    argv += [flag for setting in settings for flag in ("--set", setting)]
    assert main.run(argv) == exit_codes.SUCCESS
    words = capsys.readouterr().out.replace(",", " ").lower().split()
    assert not {"nan", "inf"} & set(words)
    assert main.run([*argv, "--json"]) == exit_codes.SUCCESS
    for line in capsys.readouterr().out.splitlines():
        json.loads(line, parse_constant=pytest.fail)


# --- a task of one's own --------------------------------------------------------------------------


class OwnTask:
    """Proposes one row; its held-out metric is what the test says."""

    charter = CHARTER
    train_examples = 3

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def local_step(self, model: object, rng: object) -> Contribution:
        return contribution((1,), 0.5)

    def evaluate(self, model: object, split: str = "validation") -> Evaluation:
        return self.evaluation

    def private_state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: object) -> None: ...


def own(evaluation: Evaluation) -> Callable[[], Workload]:
    task: Any = OwnTask(evaluation)
    return lambda: TaskWorkload(CHARTER, lambda charter: task)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "error", "count", "kinds"),
    [
        (NAN, NAN, 0, {"little-data"}),
        (0.5, INF, 1, {"little-data"}),
        (0.5, NAN, 1, {"little-data"}),
        (0.0, 0.0, 2, {"little-data"}),
        (5e-324, 1.0, 20, set()),
        (NAN, 0.1, 20, {"not-measured"}),
        (INF, NAN, 1, {"little-data", "not-measured"}),
    ],
)
async def test_a_task_of_ones_own_may_say_that_it_does_not_know(
    value: float, error: float, count: int, kinds: set[str], autojump_clock: MockClock
) -> None:
    nodes = await live_alone_and_together(own(Evaluation("loss", value, error, count)))
    known = count and np.isfinite(value)
    for node in nodes:
        said = [event.kind for event in node.events]
        assert {kind for kind in said if kind in ("little-data", "not-measured")} == kinds
        assert all(said.count(kind) == 1 for kind in kinds)
        assert node.node.snapshot().validation == (value if known else None)
        other = next(m for m in node.node.snapshot().members if not m.me)
        assert other.fit == (value if known else None)


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 0), (10, 1), (10, 2)])
async def test_little_data_for_a_module(
    count: int, held_out: int, autojump_clock: MockClock
) -> None:
    torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
    from openfl.learning.splitting import Split
    from openfl.learning.torch.charter import torch_charter, torch_problem
    from openfl.learning.torch.model import TorchModel
    from openfl.learning.torch.task import TorchTask

    model = TorchModel("line", lambda: torch.nn.Linear(2, 2))
    charter = torch_charter("lines", model)
    inputs = torch.ones(count, 2)
    targets = torch.zeros(count, dtype=torch.int64)
    rows = np.arange(count)
    split = Split(rows[held_out:], rows[:held_out], rows[:held_out])

    def make() -> Workload:
        def task(theirs: Charter) -> TorchTask:
            return TorchTask.from_charter(theirs, model, inputs, targets, split)

        return TaskWorkload(charter, task, torch_problem)

    for node in await live_alone_and_together(make):
        assert [e.kind for e in node.events].count("little-data") == 1
        assert (node.node.snapshot().validation is not None) == bool(held_out)
