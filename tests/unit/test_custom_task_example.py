"""The task of examples/custom_task.py offers the evidence that docs/tasks.md tells of."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.learning.comparison import PairedTask
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.task import InfluenceJudge
from tests.influence_rig import counterfactuals, peers, taught

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "custom_task.py"


@pytest.fixture
def tasks() -> list[Any]:
    found = runpy.run_path(str(EXAMPLE))
    numbers = np.random.default_rng(0).normal(5.0, 3.0, (4, 9))
    return [found["MeanTask"](found["CHARTER"], of) for of in numbers]


def test_it_offers_all_of_it(tasks: list[Any]) -> None:
    assert isinstance(tasks[0], PairedTask)
    assert isinstance(tasks[0], JudgesByOwn)
    assert isinstance(tasks[0], InfluenceJudge)


def test_its_losses_are_those_of_its_metric(tasks: list[Any]) -> None:
    model = taught(tasks).view_without(peers(4)[:1])
    own = tasks[0].own_losses(model)
    assert own.people.tolist() == list(range(9))
    found = tasks[0].evaluate(model)
    assert found.value == pytest.approx(own.losses[3:].mean())
    assert found.count == len(tasks[0].held_out_losses(model)) == 6


@pytest.mark.parametrize("sign", [-1, 1])
def test_its_members_are_judged_by_the_model_without_or_with_them(
    tasks: list[Any], sign: int
) -> None:
    replica = taught(tasks)
    me, *others = peers(4)
    left_out = [me] if sign < 0 else [me, *others]
    model = replica.view_without(left_out)
    (found,) = tasks[0].loss_changes(model, [counterfactuals(replica, left_out, others, sign)])
    before = tasks[0].own_losses(model).losses[:3]
    for n, peer in enumerate(others):
        out = [*left_out, peer] if sign < 0 else [p for p in left_out if p != peer]
        world = tasks[0].own_losses(replica.view_without(out)).losses[:3]
        assert np.allclose(found[:, n], world - before, atol=1e-4)
    assert np.abs(found).max() > 0.1
