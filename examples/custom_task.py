"""Two nodes learn the mean of numbers that neither would show: a learning task of one's own.

    python examples/custom_task.py

docs/tasks.md explains each part. The two nodes are whole nodes, in this process, that find each
other over the loopback interface; each could as well be on a machine of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import trio

from openfl import (
    Charter,
    Contribution,
    Evaluation,
    OwnLosses,
    RowBlock,
    TableSchema,
    TaskWorkload,
    load_config,
    open_node,
)

ROW = np.zeros(1, dtype=np.uint64)  # the table has one row, of one column
TABLE = TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), encoding="float32")
CHARTER = Charter("numbers", "mean", (TABLE,))


class MeanTask:
    def __init__(self, charter, numbers):
        self.charter, self.train, self.held_out = charter, numbers[:3], numbers[3:]
        self.train_examples = len(self.train)

    def local_step(self, model, rng):
        value = np.array([[self.train.mean()]], dtype=np.float32)
        evidence = np.array([len(self.train)], dtype=np.float32)  # how sure: from so many numbers
        return Contribution((RowBlock("mean", ROW, value, evidence, np.ones(1, np.float32)),))

    def evaluate(self, model, split="validation"):
        squares = self.held_out_losses(model, split)
        error = squares.std() / len(squares) ** 0.5
        return Evaluation("mse", float(squares.mean()), float(error), len(squares))

    def private_state(self):
        return {}  # nothing to keep from one run to the next

    def restore(self, state): ...

    # What a task may offer beside that: evidence of which group, and which members, do it good.

    metric_power = 1.0  # the metric is the mean of the losses; 0.5 would be the root of it

    def held_out_losses(self, model, split="validation"):
        return (self.held_out - model.rows("mean", ROW)[0, 0]) ** 2

    def own_losses(self, model):
        numbers = np.concatenate((self.train, self.held_out))
        people = np.arange(len(numbers))  # nobody's two numbers are alike
        return OwnLosses((numbers - float(model.rows("mean", ROW)[0, 0])) ** 2, people)

    def loss_changes(self, model, parts):
        here = float(model.rows("mean", ROW)[0, 0]) if model.evidence("mean", ROW)[0] > 0 else 0.0
        for part in parts:  # worlds that differ from the model's by one member each
            found = part.changed("mean", ROW)
            there = np.full(part.count, here)
            there[found.counterfactual] += found.change[:, 0]
            yield (self.train[:, None] - there) ** 2 - (self.train[:, None] - here) ** 2


async def main() -> None:
    rng = np.random.default_rng(2)
    numbers = [rng.normal(5.0, 3.0, 200), rng.normal(5.0, 3.0, 200)]
    settings = {"network.host": "127.0.0.1", "training.rounds": 3, "training.wait_for_members": 2}
    settings["training.interval_seconds"] = 0.5
    with tempfile.TemporaryDirectory() as folder:

        def node(number):
            workload = TaskWorkload(CHARTER, lambda charter: MeanTask(charter, numbers[number]))
            home = Path(folder, str(number))
            return open_node(load_config(settings), home, lambda event: None, workload)

        async with node(0) as first:
            settings["network.bootstrap"] = first.snapshot().multiaddrs[:1]
            async with node(1) as second:
                await first.wait_done()
                await second.wait_done()
                for seen in (first.snapshot(), second.snapshot()):
                    print(f"error {seen.validation:.3f} together, {seen.alone:.3f} alone")


if __name__ == "__main__":
    trio.run(main)
