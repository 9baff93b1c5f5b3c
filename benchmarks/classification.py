"""Logistic regression on scikit-learn's digits, dealt to nodes by Dirichlet label skew.

The nodes' own code: row selection, encoding, envelopes, merging; out of step, each trains from what
those before it have just published. No network. Prints, a line a case, log loss and accuracy on
held-out digits of all nodes together, and the published KB a node so far.

    pip install scikit-learn; python benchmarks/classification.py [--nodes 8 32] [--alpha 0.5]
"""

from __future__ import annotations

import argparse

import numpy as np

from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.group.publisher import Publisher
from openfl.learning.central import SoloModel
from openfl.learning.classification.charter import classification_charter
from openfl.learning.classification.examples import Labelled
from openfl.learning.classification.task import LinearClassifier
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity

ROUNDS = (5, 10, 20, 30, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--row-fractions", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("skipped: needs scikit-learn for its digits")
        return
    digits = load_digits()
    features = tuple(f"pixel{n:02d}" for n in range(64))
    charter = classification_charter("digits", features)

    def task_of(rows: np.ndarray) -> LinearClassifier:
        classes, index = np.unique(digits.target[rows], return_inverse=True)
        names = tuple(str(name) for name in classes)
        data = Labelled(features, names, digits.data[rows].copy(), index.astype(np.int32))
        return LinearClassifier.from_charter(charter, data)

    judge = task_of(np.arange(len(digits.target)))

    def shown(model: object) -> str:
        loss = judge.evaluate(model, "test").value  # type: ignore[arg-type]
        return f"{loss:.3f}/{100 * judge.accuracy(model):.1f}%"  # type: ignore[arg-type]

    rng = np.random.default_rng(options.seed)
    solo = SoloModel(judge, rng)
    course = []
    for number in range(1, 201):
        solo.step()
        if number in (*ROUNDS, 200):
            course.append(f"round {number} {shown(solo.model)}")
    print("central              ", " ".join(course))
    for nodes in options.nodes:
        owner = np.empty(len(digits.target), dtype=int)
        for digit in range(10):
            rows = np.flatnonzero(digits.target == digit)
            owner[rows] = rng.choice(nodes, len(rows), p=rng.dirichlet([options.alpha] * nodes))
        parts = [np.flatnonzero(owner == n) for n in range(nodes)]
        for fraction in options.row_fractions:
            tasks = [task_of(part) for part in parts if len(part) >= 5]
            replica = Replica(charter)
            publishers = [
                Publisher(
                    replica,
                    Libp2pSealer(generate_identity()),
                    RowSelector(fraction),
                    rng,
                    epoch=1,
                    examples=task.train_examples,
                    inline_limit_bytes=1 << 20,
                )
                for task in tasks
            ]
            course = []
            for number in range(1, max(ROUNDS) + 1):
                for n in rng.permutation(len(tasks)):
                    publishers[n].publish(
                        tasks[n].local_step(replica.view(), rng), number, None, 0.0
                    )
                if number in ROUNDS:
                    sent = np.mean([p.published_bytes for p in publishers]) / 1000
                    course.append(f"round {number} {shown(replica.view())} {sent:.0f}KB")
            print(f"{len(tasks):2} nodes, rows sent {fraction:4.0%}", " ".join(course), flush=True)


if __name__ == "__main__":
    main()
