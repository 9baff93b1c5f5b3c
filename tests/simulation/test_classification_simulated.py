"""Whole nodes that learn to classify: label-skewed, out of step, over a lossy network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trio.testing import MockClock

from openfl.config import load_config
from openfl.learning.classification.task import predict
from openfl.learning.classification.workload import ClassificationWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.network.simulated.link import LinkSettings
from tests.node_rig import HURRIED, village

CLASSES = ("north", "south", "west")
CENTRES = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
ROUGH = LinkSettings(latency_seconds=(0.01, 0.2), loss=0.2, duplication=0.2, reordering=0.3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


def workload(folder: Path, number: int, columns: str = "x,y") -> ClassificationWorkload:
    """Examples of two of the three classes: no node has seen all."""
    rng = np.random.default_rng(number)
    lines = [f"{columns},label"]
    for _ in range(80):
        kind = (number + rng.integers(0, 2)) % 3
        x, y = CENTRES[kind] + rng.normal(size=2)
        lines.append(f"{x:.4f},{y:.4f},{CLASSES[kind]}")
    path = folder / f"{number}.csv"
    path.write_text("\n".join(lines) + "\n")
    settings = {"data.ratings_file": str(path), "task.kind": "classification"}
    return ClassificationWorkload.load(load_config(None, {}, settings))


async def test_nodes_that_saw_two_classes_each_tell_all_three_apart_in_spite_of_loss(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village(links=ROUGH) as town:
        settings = replace(HURRIED, rounds=30, row_fraction=1.0)
        nodes = [await town.start(workload(tmp_path, n), settings=settings) for n in range(3)]
        await town.all_done(300)
        rng = np.random.default_rng(99)
        kinds = rng.integers(0, 3, 300)
        fresh = CENTRES[kinds] + rng.normal(size=(300, 2))
        found = predict(nodes[0].replica.charter, nodes[0].replica.view(), fresh)
        right = [CLASSES[kind] == label for kind, label in zip(kinds, found.labels, strict=True)]
        assert np.mean(right) > 0.85
        snapshot = nodes[0].node.snapshot()
        assert (snapshot.task, snapshot.metric) == ("classification", "log_loss")
        assert snapshot.validation is not None
        assert snapshot.validation < snapshot.history[0]


async def test_a_node_with_other_columns_does_not_join_and_says_which(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        await town.start(workload(tmp_path, 0))
        stranger = await town.start(workload(tmp_path, 1, "x,z"))
        assert stranger.failed is not None
        assert 'lacks "y"' in str(stranger.failed)
