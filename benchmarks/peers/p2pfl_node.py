"""One p2pfl node, run by the interpreter of p2pfl's environment (see `dense` for what it learns).

Its parts are p2pfl's own: `Node`, gRPC on 127.0.0.1, `FedAvg`, its stages and commands; the model
and the learner are subclasses of `P2PFLModel` and `Learner`, the interface it gives for frameworks
it does not know. What travels is in float16 by its own compression (`ptq`). Settings are
as shipped: with calls that time out after 1 s instead of 10, nodes lose one another and go on
alone; with models gossiped ten times a second and to everybody, a round takes longer.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from dense import DenseLearner, Journal
from p2pfl.settings import Settings

# Before anything else of p2pfl is imported: it starts a Ray cluster in every process otherwise,
# and takes the defaults of some functions from these settings once, when it is imported.
Settings.general.DISABLE_RAY = True
Settings.general.LOG_LEVEL = "INFO"

COMPRESSION: dict[str, dict[str, Any]] = {"ptq": {"dtype": "float16"}}
FRAMEWORK = "openfl-rating"
ENOUGH_ROUNDS = 1000


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--join", nargs="*", default=[])
    parser.add_argument("--starts", action="store_true", help="starts learning when all are here")
    return parser.parse_args()


def main() -> None:
    given = options()
    Settings.general.LOG_DIR = str(given.home / "logs")

    from datasets import Dataset
    from p2pfl.communication.protocols.protobuff.grpc import GrpcCommunicationProtocol
    from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset
    from p2pfl.learning.frameworks.learner import Learner
    from p2pfl.learning.frameworks.p2pfl_model import P2PFLModel
    from p2pfl.node import Node

    class Model(P2PFLModel):
        """Its `model` is a list of tensors."""

        def get_parameters(self) -> list[np.ndarray]:
            return self.model

        def set_parameters(self, params: list[np.ndarray] | bytes) -> None:
            if isinstance(params, bytes):
                params, additional_info = self.decode_parameters(params)
                self.additional_info.update(additional_info)
            self.model = [np.asarray(tensor, np.float32) for tensor in params]

        def build_copy(self, **kwargs: Any) -> P2PFLModel:
            return super().build_copy(**{"compression": COMPRESSION, **kwargs})

        def get_framework(self) -> str:
            return FRAMEWORK

    journal = Journal(given.home / "journal.jsonl")
    learner = DenseLearner(given.job, given.home / "ratings.csv", given.nodes)

    class RatingLearner(Learner):
        """One local step a round; whatever model is set is the group's."""

        rounds = 0

        def set_model(self, model: P2PFLModel | list[np.ndarray] | bytes) -> None:
            super().set_model(model)
            learner.take(self.get_model().get_parameters())
            if self.rounds:
                journal.tell("round", round=self.rounds, validation=learner.validation())

        def fit(self) -> P2PFLModel:
            self.rounds += 1
            model = self.get_model()
            model.set_parameters(learner.step())
            model.set_contribution([self.addr], 1)
            return model

        def interrupt_fit(self) -> None:
            """A step takes milliseconds."""

        def evaluate(self) -> dict[str, float]:
            return {}

        def get_framework(self) -> str:
            return FRAMEWORK

        def indicate_aggregator(self, aggregator: Any) -> None:
            """FedAvg needs no callbacks, and there are none for this framework."""

    node = Node(
        Model(learner.nothing(), compression=COMPRESSION),
        P2PFLDataset(Dataset.from_dict({"ratings": [learner.task.train_examples]})),
        addr=f"127.0.0.1:{given.port}",
        learner=RatingLearner(),
        protocol=GrpcCommunicationProtocol(),
    )
    node.start()
    journal.tell("listening", address=node.addr)
    for address in given.join:
        for _ in range(50):
            with contextlib.suppress(Exception):
                if node.connect(address):
                    break
            time.sleep(0.1)
    journal.tell("connected", neighbours=len(node.get_neighbors()))
    if given.starts:
        while len(node.get_neighbors()) < given.nodes - 1:
            time.sleep(0.05)
        journal.tell("complete")
        node.set_start_learning(rounds=ENOUGH_ROUNDS, epochs=1, trainset_size=given.nodes)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
