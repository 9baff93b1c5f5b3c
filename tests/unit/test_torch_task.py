"""PyTorch modules as learning tasks. Skipped where PyTorch is not installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openfl.aggregation.quantize import quantize
from openfl.core.contribution import Charter
from openfl.core.errors import DataError, GroupError, LearningError, UsageError
from openfl.core.model_view import DenseModel
from openfl.learning.central import SoloModel, merge
from openfl.learning.splitting import Split, split_rows
from openfl.learning.torch.charter import PARAMETERS, torch_charter, torch_problem
from openfl.learning.torch.layout import WIDTH
from openfl.learning.torch.model import TorchModel, TorchSettings
from openfl.learning.torch.task import TorchTask
from openfl.learning.workload import TaskWorkload
from openfl.wire.charters import charter_from_plain, charter_problem

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
nn = torch.nn


def small() -> Any:
    return nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 2))


MODEL = TorchModel("small", small)
FAST = TorchSettings(local_epochs=3, learning_rate=0.1)


def rings(count: int = 300, seed: int = 0) -> tuple[Any, Any]:
    """Points within a circle, and around it: no linear model tells them apart."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1.5, 1.5, size=(count, 2)).astype(np.float32)
    return torch.tensor(inputs), torch.tensor((np.square(inputs).sum(axis=1) > 1.2).astype(int))


CHARTER = torch_charter("rings", MODEL, precision="count")


def task(rows: slice = slice(None), charter: Charter = CHARTER, **settings: Any) -> TorchTask:
    inputs, targets = rings()
    chosen = replace(FAST, **settings)
    return TorchTask.from_charter(charter, MODEL, inputs[rows], targets[rows], None, chosen)


def step(task: TorchTask, model: DenseModel, seed: int = 0) -> Any:
    (block,) = task.local_step(model, np.random.default_rng(seed)).blocks
    return block


# --- learning -------------------------------------------------------------------------------------


def test_it_learns_what_no_line_separates() -> None:
    one = task()
    solo = SoloModel(one, np.random.default_rng(0))
    untrained = one.evaluate(solo.model).value
    for _ in range(15):
        solo.step()
    assert one.accuracy(solo.model) > 0.85
    assert one.evaluate(solo.model).value < untrained / 2


def test_nodes_that_hold_one_side_each_learn_the_whole() -> None:
    inputs, targets = rings()
    tasks = []
    for side in (0, 1):
        rows = torch.nonzero((inputs[:, 0] > 0) == bool(side)).ravel().numpy()
        split = Split(rows, np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))
        tasks.append(TorchTask.from_charter(CHARTER, MODEL, inputs, targets, split, FAST))
    rng = np.random.default_rng(0)
    model = DenseModel.empty(CHARTER)
    for _ in range(15):
        model = merge(CHARTER, [t.local_step(model, rng) for t in tasks])
    fresh_inputs, fresh_targets = rings(seed=1)
    judge = TorchTask.from_charter(CHARTER, MODEL, fresh_inputs, fresh_targets)
    assert judge.accuracy(model, "train") > 0.85


def test_a_step_is_a_function_of_data_model_and_seed() -> None:
    model = DenseModel.empty(CHARTER)
    first, again = step(task(), model, seed=3), step(task(), model, seed=3)
    assert first.values.tobytes() == again.values.tobytes()
    assert step(task(), model, seed=4).values.tobytes() != first.values.tobytes()


def test_dropout_is_reproducible_and_the_owners_generator_is_left_alone() -> None:
    def with_dropout() -> Any:
        return nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 2))

    model = TorchModel("dropout", with_dropout)
    charter = torch_charter("rings", model)
    inputs, targets = rings()
    empty = DenseModel.empty(charter)
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    made = [
        step(TorchTask.from_charter(charter, model, inputs, targets), empty).values for _ in "ab"
    ]
    assert made[0].tobytes() == made[1].tobytes()
    assert torch.rand(1) == expected


def test_what_is_learned_goes_into_the_module_to_predict_with() -> None:
    one = task()
    solo = SoloModel(one, np.random.default_rng(0))
    solo.step()
    module = one.filled(solo.model)
    assert not module.training
    block_values = solo.model.rows(PARAMETERS, solo.model.keys(PARAMETERS))
    bias = list(module.parameters())[1].detach().numpy()
    torch.manual_seed(0)
    fresh = list(small().parameters())[1].detach().numpy()
    assert np.allclose(bias, fresh + block_values[2, :40], atol=1e-6)  # 2 x 40 fill two rows


def test_evidence_is_the_number_of_examples() -> None:
    block = step(task(), DenseModel.empty(CHARTER))
    assert set(block.evidence) == {240.0}
    assert set(block.curvature) == {1.0}


def test_fisher_evidence_tells_rows_that_matter_from_rows_that_do_not() -> None:
    charter = torch_charter("rings", MODEL, precision="fisher")
    block = step(task(charter=charter), DenseModel.empty(charter))
    assert block.evidence.min() >= 24.0  # the floor: a tenth of the examples
    assert len(set(block.evidence)) > 1
    assert quantize(block, charter.tables[0], np.random.default_rng(0)) is not None


def test_outer_momentum_starts_ahead_and_survives_a_restart() -> None:
    def after(one: TorchTask, restart: bool) -> bytes:
        solo = SoloModel(one, np.random.default_rng(0))
        for _ in range(2):
            solo.step()
        if restart:
            twin = task(outer_momentum=0.5)
            twin.restore(one.private_state())
            assert twin.private_state()["rows"].tobytes() == one.private_state()["rows"].tobytes()
        result: bytes = step(one, solo.model, seed=5).values.tobytes()
        return result

    assert after(task(outer_momentum=0.5), restart=True) != after(task(), restart=False)
    assert task().private_state() == {}


@pytest.mark.parametrize("rows", [np.zeros((1, WIDTH)), np.full((6, WIDTH), np.nan)])
def test_private_state_of_something_else_is_refused(rows: np.ndarray) -> None:
    one = task(outer_momentum=0.5)
    assert len(step(one, DenseModel.empty(CHARTER)).keys) == 6
    with pytest.raises(ValueError, match="private state"):
        one.restore({"rows": rows})


def test_training_that_diverges_is_said_to() -> None:
    with pytest.raises(LearningError, match="lower learning_rate"):
        step(task(learning_rate=1e30), DenseModel.empty(CHARTER))


def test_a_regression_brings_its_own_loss() -> None:
    model = TorchModel(
        "line", lambda: nn.Linear(1, 1), lambda o, t: (o.squeeze(1) - t) ** 2, metric="mse"
    )
    charter = torch_charter("line", model)
    inputs = torch.linspace(-1, 1, 100).view(-1, 1)
    one = TorchTask.from_charter(charter, model, inputs, 2 * inputs.squeeze(1) + 1)
    solo = SoloModel(one, np.random.default_rng(0))
    for _ in range(20):
        solo.step()
    found = one.evaluate(solo.model, "test")
    assert found.metric == "mse"
    assert found.value < 0.01


# --- layout and charter ---------------------------------------------------------------------------


def test_wide_and_deep_modules_fit_a_charter() -> None:
    wide = TorchModel("wide", lambda: nn.Sequential(nn.Linear(5000, 8), nn.LayerNorm(8)))
    deep = TorchModel("deep", lambda: nn.Sequential(*(nn.Linear(4, 4) for _ in range(60))))
    for model in (wide, deep):
        charter = torch_charter("big", model)
        assert charter_problem(charter) is None
        assert charter_from_plain(charter.to_plain()) == charter


def test_frozen_parameters_stay_at_home_and_count_in_the_fingerprint() -> None:
    def half_frozen() -> Any:
        module = small()
        module[0].requires_grad_(False)
        return module

    charter = torch_charter("rings", TorchModel("small", half_frozen))
    assert charter.hyperparameters["numbers"] == 40 * 2 + 2
    assert charter.hyperparameters["shapes"] != CHARTER.hyperparameters["shapes"]
    assert charter.hyperparameters["first_values"] == CHARTER.hyperparameters["first_values"]


def other(**changes: Any) -> Charter:
    return replace(CHARTER, hyperparameters={**CHARTER.hyperparameters, **changes})


def pretrained() -> Any:
    module = small()
    with torch.no_grad():
        module[0].bias += 1
    return module


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (lambda: torch_charter("r", TorchModel("large", small)), "model 'large'.*is 'small'"),
        (
            lambda: torch_charter("r", TorchModel("small", lambda: nn.Linear(2, 2))),
            "tensor 1 is 'weight' of 2x2; here it is '0.weight' of 40x2",
        ),
        (lambda: torch_charter("r", TorchModel("small", pretrained)), "first values"),
        (lambda: torch_charter("r", MODEL, seed=1), "first values"),
        (lambda: replace(CHARTER, task="rating"), 'learns "rating"'),
        (lambda: other(precision="luck"), "weighs by 'luck'"),
        (lambda: other(shapes="x", tensors_00="[[]]"), "another architecture"),
        (lambda: replace(CHARTER, hyperparameters={}), "model None"),
        (
            lambda: replace(CHARTER, tables=(replace(CHARTER.tables[0], name="x"),)),
            "its tables are not",
        ),
    ],
    ids=["name", "shape", "weights", "seed", "task", "precision", "damaged", "empty", "table"],
)
def test_nodes_with_other_modules_refuse_each_other_and_say_why(theirs: Any, words: str) -> None:
    import re

    problem = torch_problem(CHARTER, theirs())
    assert problem is not None
    assert re.search(words, problem)


def test_another_name_prior_or_encoding_is_no_obstacle() -> None:
    theirs = torch_charter("other", MODEL, precision="fisher", prior=3.0, encoding="int8")
    assert torch_problem(CHARTER, theirs) is None
    assert task(charter=theirs).charter == theirs


def test_a_task_of_another_model_is_refused() -> None:
    theirs = torch_charter("r", TorchModel("large", small))
    with pytest.raises(GroupError, match="large"):
        task(charter=theirs)


def test_it_stands_in_a_node_as_any_other_task() -> None:
    workload = TaskWorkload(CHARTER, lambda charter: task(charter=charter), torch_problem)
    assert workload.problem(workload.found("mine")) is None
    assert workload.problem(torch_charter("r", TorchModel("large", small))) is not None


# --- what cannot be learned this way --------------------------------------------------------------


def bad(module: Any) -> TorchModel:
    return TorchModel("bad", lambda: module)


def test_batch_norm_with_running_statistics_is_refused_by_its_place() -> None:
    with pytest.raises(UsageError, match=r"model bad: 1 keeps running statistics.*GroupNorm"):
        torch_charter("x", bad(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))


def test_batch_norm_without_them_is_learned() -> None:
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    assert torch_charter("x", bad(made)).hyperparameters["numbers"] == 10


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Linear(2, 2).half(), "float16"),
        (nn.Linear(2, 2).requires_grad_(False), "no number to train"),
        (nn.Linear(2, 2, device="meta"), "on meta"),
    ],
    ids=["half", "frozen", "device"],
)
def test_modules_that_cannot_be_exchanged_are_refused(module: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        torch_charter("x", bad(module))


class Counting(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, count: bool) -> None:
        super().__init__()
        self.inner = small()
        self.count = count
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, inputs: Any) -> Any:
        if self.count:
            self.calls += 1
        return self.inner(inputs)


@pytest.mark.parametrize("count", [False, True])
def test_a_buffer_is_kept_unless_training_changes_it(count: bool) -> None:
    model = TorchModel("counting", lambda: Counting(count))
    charter = torch_charter("x", model)
    inputs, targets = rings(40)
    one = TorchTask.from_charter(charter, model, inputs, targets)
    if count:
        with pytest.raises(UsageError, match="buffer calls"):
            step(one, DenseModel.empty(charter))
    else:
        assert len(step(one, DenseModel.empty(charter))) > 0


def test_inputs_and_targets_must_pair() -> None:
    inputs, targets = rings()
    with pytest.raises(DataError, match="300 inputs and 299 targets"):
        TorchTask.from_charter(CHARTER, MODEL, inputs, targets[1:])


def test_something_must_be_left_to_train_on() -> None:
    inputs, targets = rings(0)
    with pytest.raises(DataError, match="left to train on"):
        TorchTask.from_charter(CHARTER, MODEL, inputs, targets)


def test_split_rows_holds_out_what_was_asked_for() -> None:
    split = split_rows(100, 0.1, 0.2)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [70, 10, 20]
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(100))


def test_without_pytorch_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"openfl-node\[torch\]"):
        torch_charter("x", MODEL)
