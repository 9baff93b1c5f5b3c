"""What a node with a PyTorch module says of models and members by its own examples, against doing
it one by one. Skipped where PyTorch is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter, Contribution, ModelView, PeerId, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.alone import AloneByFolds, FoldsOwn
from openfl.learning.comparison import PairedTask, compare, gain_of
from openfl.learning.group_comparison import TaughtTask
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.splitting import Split
from openfl.learning.task import InfluenceJudge
from openfl.learning.torch import task as torch_task
from openfl.learning.torch.charter import PARAMETERS, torch_charter
from openfl.learning.torch.layout import WIDTH
from openfl.learning.torch.model import TorchModel, TorchSettings
from openfl.learning.torch.task import MAX_LOSS, TorchTask
from tests.influence_rig import counterfactuals, merge, peers, taught

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
nn = torch.nn

NOTHING = np.zeros(0, dtype=np.intp)
MODEL = TorchModel(
    "small", lambda: nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Dropout(0.3), nn.Linear(20, 2))
)
CHARTER = torch_charter("rings", MODEL, precision="count")
FAST = TorchSettings(local_epochs=3, learning_rate=0.1)


def rings(seed: int, count: int = 60) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1.5, 1.5, size=(count, 2)).astype(np.float32)
    return torch.tensor(inputs), torch.tensor((np.square(inputs).sum(axis=1) > 1.2).astype(int))


def member(
    seed: int, split: Split | None = None, charter: Charter = CHARTER, model: TorchModel = MODEL
) -> TorchTask:
    return TorchTask.from_charter(charter, model, *rings(seed), split, FAST)


def tasks() -> list[TorchTask]:
    return [member(n) for n in range(4)]


def one_by_one(task: TorchTask, model: ModelView, positions: np.ndarray) -> np.ndarray:
    """The losses of these examples, each on its own through a module of its own."""
    module = member(0).filled(model)
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(
                module(task._inputs[int(n)][None]), task._targets[int(n)][None]
            )
            for n in positions
        ]
    return np.array([float(loss) for loss in losses])


def test_the_task_offers_all_that_is_asked_for() -> None:
    task = member(0)
    assert isinstance(task, PairedTask)
    assert isinstance(task, JudgesByOwn)
    assert isinstance(task, FoldsOwn)
    assert isinstance(task, InfluenceJudge)
    assert task.metric_power == 1.0


@pytest.mark.parametrize("split", ["validation", "test", "train"])
def test_held_out_losses_are_those_whose_mean_is_the_metric(split: str) -> None:
    members = tasks()
    model = taught(members).view()
    losses = members[0].held_out_losses(model, split)
    positions = members[0]._split.positions(split)
    assert len(losses) == len(positions) > 0
    assert np.allclose(losses, one_by_one(members[0], model, positions), atol=1e-6)
    assert members[0].evaluate(model, split).value == pytest.approx(losses.mean())


def test_own_losses_are_of_what_the_group_was_not_taught() -> None:
    members = tasks()
    model = taught(members).view_without(peers(4)[:1])
    own = members[0].own_losses(model)
    held = members[0]._split.validation
    assert len(held) == 6
    assert np.allclose(own.losses, one_by_one(members[0], model, held), atol=1e-6)
    assert own.people.tolist() == list(range(6)), "examples err independently"


def test_taught_losses_are_of_all_own_examples_but_the_tests() -> None:
    members = tasks()
    model = taught(members).view_without(peers(4)[:1])
    assert isinstance(members[0], TaughtTask)
    split = members[0]._split
    known = np.concatenate((split.validation, split.train))
    own = members[0].taught_losses(model, 1000)
    assert np.allclose(own.losses, one_by_one(members[0], model, known), atol=1e-6)
    assert own.people.tolist() == list(range(len(known))), "examples err independently"
    some = members[0].taught_losses(model, 20)
    assert np.allclose(some.losses, own.losses[::3], atol=1e-6)
    assert some.people.tolist() == list(range(len(some.losses)))


def test_of_many_own_examples_some_are_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    task = member(0, Split(np.arange(6), np.arange(6, 60), NOTHING))
    model = taught(tasks()).view()
    whole = task.own_losses(model).losses
    assert len(whole) == 54
    monkeypatch.setattr(torch_task, "MAX_OWN", 20)
    monkeypatch.setattr(torch_task, "EVALUATION_BATCH", 7)
    own = task.own_losses(model)
    assert np.allclose(own.losses, whole[::3], atol=1e-6)
    assert len(own.people) == 18


def test_losses_of_one_example_err_together() -> None:
    def squares(outputs: Any, targets: Any) -> Any:
        return (outputs - targets[:, None]) ** 2

    model = TorchModel("pairs", MODEL.make, squares, metric="mse")
    charter = torch_charter("pairs", model)
    task = member(0, charter=charter, model=model)
    own = task.own_losses(DenseModel.empty(charter))
    assert own.losses.shape == own.people.shape == (12,)
    assert own.people.tolist() == [n // 2 for n in range(12)]


def test_a_node_without_validation_data_says_nothing() -> None:
    task = member(0, Split(np.arange(1), NOTHING, NOTHING))
    own = task.own_losses(DenseModel.empty(CHARTER))
    assert own.losses.shape == own.people.shape == (0,)
    assert task.held_out_losses(DenseModel.empty(CHARTER)).shape == (0,)
    assert task.evaluate(DenseModel.empty(CHARTER)).count == 0


def test_two_models_are_compared_in_pairs() -> None:
    members = tasks()
    first, later = taught(members, rounds=1).view(), taught(members, rounds=10).view()
    found = compare(members[0], first, later)
    assert found is not None
    before, after = (members[0].own_losses(model).losses for model in (first, later))
    assert found.count == 6
    assert found.gain == pytest.approx(gain_of(before.mean(), after.mean()))
    assert found.standard_error > 0


def test_its_examples_are_cut_to_judge_training_alone() -> None:
    members = tasks()
    folds = [members[0].fold(number, 4) for number in range(4)]
    held = np.sort(np.concatenate([fold._split.validation for fold in folds]))
    assert np.array_equal(held, np.setdiff1d(np.arange(60), members[0]._split.test))
    assert folds[0]._settings == FAST
    model = taught(members, rounds=6).view_without(peers(4)[:1])
    found = AloneByFolds(members[0], np.random.default_rng(0)).gain_of(model)
    assert found is not None
    assert found.count == 54
    assert np.isfinite(found.gain)


# --- members --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [-1, 1])
def test_loss_changes_are_those_of_the_model_with_or_without_the_member(sign: int) -> None:
    members = tasks()
    replica = taught(members)
    me, *others = peers(4)
    left_out = [me] if sign < 0 else [me, *others[1:]]
    judged = others if sign < 0 else others[1:]
    model = replica.view_without(left_out)
    (found,) = members[0].loss_changes(model, [counterfactuals(replica, left_out, judged, sign)])
    before = one_by_one(members[0], model, members[0]._split.train)
    for n, peer in enumerate(judged):
        out = [*left_out, peer] if sign < 0 else [p for p in left_out if p != peer]
        world = one_by_one(members[0], replica.view_without(out), members[0]._split.train)
        assert np.abs(world - before).max() > 0.01, "nothing was compared"
        assert np.allclose(found[:, n], world - before, atol=1e-5)


def test_the_last_member_leaves_the_first_values() -> None:
    members = tasks()[:2]
    replica = taught(members)
    me, other = peers(2)
    model = replica.view_without([me])
    (found,) = members[0].loss_changes(model, [counterfactuals(replica, [me], [other], -1)])
    empty, train = DenseModel.empty(CHARTER), members[0]._split.train
    truth = one_by_one(members[0], empty, train) - one_by_one(members[0], model, train)
    assert np.allclose(found[:, 0], truth, atol=1e-5)


def test_nobody_changes_nothing_and_the_module_is_left_as_it_was_filled() -> None:
    members = tasks()
    replica = taught(members)
    me, *others = peers(4)
    nobody = counterfactuals(replica, [me], [PeerId("nobody")], -1)
    both = counterfactuals(replica, [me], others[:2], -1)
    model = replica.view_without([me])
    one, two, three = members[0].loss_changes(model, iter([nobody, both, nobody]))
    assert not one.any()
    assert not three.any()
    assert two.shape == (members[0].train_examples, 2)
    assert two.any(axis=0).all()
    left = [p.detach().clone() for p in members[0].module.parameters()]
    assert not members[0].module.training
    filled = list(members[0].filled(model).parameters())
    assert all(a.equal(b) for a, b in zip(left, filled, strict=True))


def test_many_members_are_judged_by_fewer_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    members = tasks()
    replica = taught(members)
    me, *others = peers(4)
    part = counterfactuals(replica, [me], others, -1)
    (whole,) = members[0].loss_changes(replica.view_without([me]), [part])
    monkeypatch.setattr(torch_task, "MAX_PASSES", 72)
    (some,) = members[0].loss_changes(replica.view_without([me]), [part])
    assert len(whole) == 48
    assert np.allclose(some, whole[::2], atol=1e-6)
    monkeypatch.setattr(torch_task, "MAX_PASSES", 1)
    (least,) = members[0].loss_changes(replica.view_without([me]), [part])
    assert np.allclose(least, whole[:1], atol=1e-6)


def blown_up() -> tuple[Replica, TorchTask, TorchModel]:
    """A module that makes much of its numbers, a member with small ones, and one with great."""

    class Steep(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, inputs: Any) -> Any:
            return torch.exp(torch.exp(self.inner(inputs)))

    model = TorchModel("steep", Steep)
    charter = torch_charter("steep", model)
    task = member(0, charter=charter, model=model)
    replica = Replica(charter)
    calm = RowBlock(
        PARAMETERS,
        task._layout.keys,
        np.zeros((len(task._layout.keys), WIDTH), dtype=np.float32),
        np.ones(len(task._layout.keys), dtype=np.float32),
        np.ones(WIDTH, dtype=np.float32),
    )
    loud = RowBlock(PARAMETERS, calm.keys, calm.values + 90, calm.evidence, calm.curvature)
    merge(replica, PeerId("calm"), Contribution((calm,)))
    merge(replica, PeerId("loud"), Contribution((loud,)))
    return replica, task, model


def test_a_member_whose_numbers_blow_the_module_up_is_seen_to_do_harm() -> None:
    replica, task, _ = blown_up()
    names = [PeerId("calm"), PeerId("loud")]
    assert not np.isfinite(task.held_out_losses(replica.view(), "train")).all()
    (found,) = task.loss_changes(replica.view(), [counterfactuals(replica, [], names, -1)])
    assert np.isfinite(found).all()
    assert found[:, 1].sum() < -MAX_LOSS / 2, "without the loud one losses are sound"
    outside = [names[1]]
    (back,) = task.loss_changes(
        replica.view_without(outside), [counterfactuals(replica, outside, outside, +1)]
    )
    assert back.sum() > MAX_LOSS / 2


def test_own_losses_under_a_model_that_blows_up_are_large_numbers() -> None:
    replica, task, _ = blown_up()
    own = task.own_losses(replica.view())
    assert len(own.losses) > 0
    assert np.isfinite(own.losses).all()
    assert own.losses.max() == MAX_LOSS
    assert own.losses.min() >= 0
