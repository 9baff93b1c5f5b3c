"""Nodes that learn images: a `Population` for OpenFL's simulator, by model, and how it is judged.

`logistic` is the kind `classification` as it ships. `mlp` and `cnn` are PyTorch modules, as the
owner of a node brings them (`openfl.learning.torch`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from _images import Deal, Images, Numbers

from openfl.config import Config
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.learning.classification.charter import classification_charter
from openfl.learning.classification.examples import Labelled
from openfl.learning.classification.task import LinearClassifier, predict
from openfl.learning.splitting import Split, split_rows
from openfl.learning.task import LearningTask
from openfl.learning.workload import TaskWorkload, Workload
from openfl.simulation.population import Population

VALIDATION = Config().data.validation_fraction
HIDDEN = 64
MODELS = ("logistic", "mlp", "cnn")


@dataclass(frozen=True)
class Settings:
    """What owners choose. weight_prior: of `logistic`, in the charter. learning_rate, momentum,
    epochs: of the others."""

    weight_prior: float = 10.0
    learning_rate: float = 0.1
    momentum: float = 0.0
    epochs: int = 5


@dataclass
class ImageNodes:
    """The nodes of a deal, and what a model that they learn says of images."""

    deal: Deal
    model: str
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        """The centre and spread of all pixels of all images: the units for neural networks."""
        self.centre = float(self.deal.images.mean())
        self.spread = float(self.deal.images.std())
        self._founder = self._workload([0])

    def population(self) -> Population:
        """Of all nodes; workloads and communities are lists, so that nodes may be changed."""
        return Population(
            workloads=[self.workload(node) for node in range(len(self.deal.turns))],
            pooled=self._workload,
            founder=self._founder,
            communities=self.deal.turns.tolist(),
        )

    def workload(self, node: int) -> Workload:
        """Of one node."""
        return self._workload([node])

    def accuracy(self, task: LearningTask, view: ModelView, turn: int, most: int) -> float:
        """The part of the first `most` test images, turned so, that `task`'s charter and the model
        call right; 0 while the model knows nothing."""
        images = self.deal.tested(turn)[:most]
        return float((self.labels_of(task, view, images) == self.deal.test_labels[:most]).mean())

    def labels_of(self, task: LearningTask, view: ModelView, images: Images) -> Numbers:
        """int64[n]: what the model says of images, [n, side, side]; -1: it knows nothing yet."""
        if isinstance(task, LinearClassifier):
            values = images.reshape(len(images), -1).astype(np.float64)
            try:
                labels = predict(task.charter, view, values).labels
            except GroupError:
                return np.full(len(images), -1, dtype=np.int64)
            return np.array([int(label) if label.isdigit() else -1 for label in labels])
        import torch

        with torch.no_grad():
            outputs = task.filled(view)(self._tensor(images))  # type: ignore[attr-defined]
        found: Numbers = outputs.argmax(dim=1).numpy()
        return found

    def _workload(self, nodes: Collection[int]) -> Workload:
        chosen = sorted(nodes)
        side = self.deal.images.shape[2:]
        images = self.deal.images[chosen].reshape(-1, *side)
        labels = self.deal.labels[chosen].reshape(-1)
        make = self._linear if self.model == "logistic" else self._network
        return make(images, labels, split_of(self.deal.images.shape[1], len(chosen)))

    def _linear(self, images: Images, labels: Numbers, split: Split) -> Workload:
        pixels = images.reshape(len(images), -1).astype(np.float64)
        features = feature_names(pixels.shape[1])
        classes, index = np.unique(labels, return_inverse=True)
        names = tuple(str(label) for label in classes)
        data = Labelled(features, names, pixels, index.astype(np.int32))
        charter = classification_charter("images", features, self.settings.weight_prior)
        return TaskWorkload(
            charter, lambda joined: LinearClassifier.from_charter(joined, data, split)
        )

    def _network(self, images: Images, labels: Numbers, split: Split) -> Workload:
        from openfl.learning.torch.charter import torch_charter, torch_problem
        from openfl.learning.torch.model import TorchModel, TorchSettings
        from openfl.learning.torch.task import TorchTask

        inputs, targets = self._tensor(images), _torch().from_numpy(labels)
        network = TorchModel(f"images-{self.model}", module_maker(self.model, images.shape[1]))
        how = TorchSettings(
            local_epochs=self.settings.epochs,
            learning_rate=self.settings.learning_rate,
            momentum=self.settings.momentum,
        )

        def task(joined: Charter) -> TorchTask:
            return TorchTask.from_charter(joined, network, inputs, targets, split, how)

        return TaskWorkload(torch_charter("images", network), task, torch_problem)

    def _tensor(self, images: Images) -> Any:
        return _torch().from_numpy((images[:, None] - self.centre) / self.spread)


def feature_names(pixels: int) -> tuple[str, ...]:
    """What the pixels are called."""
    return tuple(f"pixel{number:03d}" for number in range(pixels))


def split_of(images: int, nodes: int) -> Split:
    """Of so many nodes' images one after the other: what each holds out. Nothing is for a test: all
    nodes are judged on images of nobody."""
    own = split_rows(images, VALIDATION, 0.0)
    starts = np.arange(nodes)[:, None] * images
    return Split(
        (starts + own.train).ravel(), (starts + own.validation).ravel(), np.empty(0, dtype=np.intp)
    )


def module_maker(model: str, side: int) -> Callable[[], Any]:
    """Makes a fresh module for images [n, 1, side, side]: one hidden layer of `HIDDEN` units, or
    two small convolutions."""
    nn = _torch().nn

    def perceptron() -> Any:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(side * side, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)
        )

    def convolutions() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * (side // 4) ** 2, 10),
        )

    return {"mlp": perceptron, "cnn": convolutions}[model]


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise SystemExit("--model mlp and cnn need PyTorch: make torch") from None
    torch.set_num_threads(1)
    return torch
