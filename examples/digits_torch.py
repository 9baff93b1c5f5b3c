"""Eight nodes learn to read digits with a small convolutional network, each having seen a few.

    pip install "openfl-node[torch]" scikit-learn
    python examples/digits_torch.py [--nodes 8] [--alpha 0.5] [--rounds 40] [--precision count]

The digits that scikit-learn ships are dealt out by Dirichlet label skew: a small --alpha gives most
nodes only a few of the ten digits. Every node trains the same network by the nodes' own code: row
selection, encoding, signed envelopes, merging; only the network between them is left out. Prints
the accuracy on digits that no node has seen: of the network trained on all digits in one place, of
the group's, and of the networks of nodes that train alone.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from openfl import TorchModel, TorchSettings, TorchTask, torch_charter
from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.group.publisher import Publisher
from openfl.learning.central import SoloModel
from openfl.learning.splitting import Split
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity

DIGITS = load_digits()
INPUTS = torch.tensor(DIGITS.data / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
TARGETS = torch.tensor(DIGITS.target)
NOTHING = np.zeros(0, dtype=np.intp)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def deal(train: np.ndarray, nodes: int, alpha: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Each digit's examples go to the nodes in shares drawn from a Dirichlet distribution."""
    owner = np.empty(len(train), dtype=int)
    for digit in range(10):
        of_digit = np.flatnonzero(DIGITS.target[train] == digit)
        owner[of_digit] = rng.choice(nodes, len(of_digit), p=rng.dirichlet([alpha] * nodes))
    return [part for part in (train[owner == n] for n in range(nodes)) if len(part)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=2, help="of each node in a round")
    parser.add_argument("--precision", choices=("count", "fisher"), default="fisher")
    parser.add_argument("--outer-momentum", type=float, default=0.0)
    parser.add_argument("--row-fraction", type=float, default=1.0)
    parser.add_argument("--lockstep", action="store_true", help="all train from the same model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(TARGETS))
    train, test = order[:1437], order[1437:]
    parts = deal(train, options.nodes, options.alpha, rng)
    model = TorchModel("digits-cnn", network)
    charter = torch_charter("digits", model, options.precision, seed=options.seed)
    settings = TorchSettings(options.epochs, outer_momentum=options.outer_momentum)

    def task_of(rows: np.ndarray) -> TorchTask:
        split = Split(train=rows, validation=NOTHING, test=test)
        return TorchTask.from_charter(charter, model, INPUTS, TARGETS, split, settings)

    print(f"{len(parts)} nodes with {', '.join(str(len(part)) for part in parts)} digits")
    solo = SoloModel(task_of(train), rng)
    for _ in range(options.rounds):
        solo.step()
    judge = task_of(train)
    central = judge.accuracy(solo.model)
    print(f"central   {100 * central:5.1f} % right, {options.rounds} rounds on all digits")

    alone = []
    for part in parts:
        solo = SoloModel(task_of(part), rng)
        for _ in range(options.rounds):
            solo.step()
        alone.append(judge.accuracy(solo.model))
    print(f"alone     {100 * np.mean(alone):5.1f} % right on average")

    replica = Replica(charter)
    tasks = [task_of(part) for part in parts]
    publishers = [
        Publisher(
            replica,
            Libp2pSealer(generate_identity()),
            RowSelector(options.row_fraction),
            rng,
            epoch=1,
            examples=task.train_examples,
            inline_limit_bytes=1 << 20,
        )
        for task in tasks
    ]
    for number in range(1, options.rounds + 1):
        shared = replica.view()
        for n in rng.permutation(len(tasks)):
            view = shared if options.lockstep else replica.view()
            publishers[n].publish(tasks[n].local_step(view, rng), number, None, 0.0)
        if number in (5, 10, 20) or number == options.rounds:
            together = judge.accuracy(replica.view())
            sent = np.mean([publisher.published_bytes for publisher in publishers]) / 1e6
            print(f"together  {100 * together:5.1f} % right, round {number}, {sent:.1f} MB a node")
    print(f"together is {100 * (central - together):.1f} points below central")


if __name__ == "__main__":
    main()
