"""Three nodes train one linear classifier of scikit-learn together, each having seen few digits.

    pip install openfl-node scikit-learn
    python examples/sklearn_linear.py

`LinearTask` works for every linear classifier of scikit-learn that has `partial_fit`, `coef_` and
`intercept_`, and knows three classes or more: one row of the model for each class, its weights and
its intercept. Members propose what five passes over their own examples make of the group's
classifier, weighed by their number: federated averaging. The three nodes are whole nodes, in this
process.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from openfl import (
    Charter,
    Contribution,
    Evaluation,
    RowBlock,
    TableSchema,
    TaskWorkload,
    run,
)

# scikit-learn says so where several threads of one program fit at once, as nodes do; nothing is
# wrong then: its classes are fitted one after another, in the thread that asked.
warnings.filterwarnings("ignore", message=".*sklearn.utils.parallel.delayed")

CLASSES, FEATURES = np.arange(10), 64
WIDTH = FEATURES + 1  # and the intercept
KEYS = CLASSES.astype(np.uint64)
TABLE = TableSchema("linear", WIDTH, (0.0,) * WIDTH, (0.0,) * WIDTH, (0.0,) * WIDTH, "float16")
ESTIMATOR = SGDClassifier(loss="log_loss", alpha=1e-4, learning_rate="constant", eta0=0.05)
# What changes the meaning of a row belongs into the charter: others then make other groups.
CHARTER = Charter("digits", "sklearn-linear", (TABLE,), {"loss": "log_loss", "alpha": 1e-4})


class LinearTask:
    def __init__(self, charter, inputs, targets):
        held_out = len(targets) // 2
        self.charter, self.train_examples = charter, len(targets) - held_out
        self.inputs, self.targets = inputs[held_out:], targets[held_out:]
        self.held_out = inputs[:held_out], targets[:held_out]

    def classifier(self, model):
        """scikit-learn's, with the group's numbers."""
        rows = model.rows("linear", KEYS).astype(float)
        made = clone(ESTIMATOR)
        made.partial_fit(self.inputs[:1], self.targets[:1], classes=CLASSES)  # makes its arrays
        made.coef_, made.intercept_ = np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy()
        return made

    def local_step(self, model, rng):
        made = self.classifier(model)
        order = rng.permutation(len(self.targets))
        made.set_params(random_state=int(rng.integers(2**31)))
        for _ in range(5):
            made.partial_fit(self.inputs[order], self.targets[order])
        rows = np.column_stack((made.coef_, made.intercept_)).clip(-100, 100)
        evidence = np.full(len(KEYS), len(self.targets), dtype=np.float32)
        ones = np.ones(WIDTH, dtype=np.float32)
        return Contribution((RowBlock("linear", KEYS, rows.astype(np.float32), evidence, ones),))

    def held_out_losses(self, model, split="validation"):
        inputs, targets = self.held_out
        chances = self.classifier(model).predict_proba(inputs)[np.arange(len(targets)), targets]
        return -np.log(chances.clip(1e-6))

    def evaluate(self, model, split="validation"):
        losses = self.held_out_losses(model, split)
        error = losses.std() / len(losses) ** 0.5
        return Evaluation("log_loss", float(losses.mean()), float(error), len(losses))

    def private_state(self):
        return {}  # nothing to keep from one run to the next

    def restore(self, state): ...


def main():
    digits = load_digits()
    rng = np.random.default_rng(1)
    order = rng.permutation(len(digits.target))
    inputs, targets = digits.data[order] / 16.0, digits.target[order]
    parts = np.array_split(np.arange(600), 3)  # 200 digits each, half of them held out

    settings = {"network.host": "127.0.0.1", "group.name": "digits", "gossip.row_fraction": 1.0}
    settings["training"] = {"rounds": 16, "interval_seconds": 0.5, "wait_for_members": 3}
    settings["training"]["alone_rounds"] = 16
    with ExitStack() as nodes:
        running = []
        for own in parts:
            workload = TaskWorkload(
                CHARTER,
                lambda charter, own=own: LinearTask(charter, inputs[own], targets[own]),
            )
            running.append(nodes.enter_context(run(settings, workload=workload)))
            settings["network.bootstrap"] = [running[0].snapshot().multiaddrs[0]]
        for node in running:
            node.wait_done()
        for node in running:  # the comparison with training alone may take longer
            seen = node.wait(lambda seen: seen.alone is not None)
            print(f"log loss {seen.validation:.3f} together, {seen.alone:.3f} alone")


if __name__ == "__main__":
    main()
