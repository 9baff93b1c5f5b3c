"""Published ways to learn one model for each of k groups that nobody knows, written for comparison.

`ifca`: Ghosh, Chung, Yin, Ramchandran, "An Efficient Framework for Clustered Federated Learning"
(2020), its variant with model averaging. A server sends k models to everybody; each node takes the
one that fits its own training data best and trains it; the server averages what comes back of each.

`dfca`: Kirch, Becker, Koketsu Rodrigues, Harmeling, "DFCA: Decentralized Federated Clustering
Algorithm" (2025). The same without a server: each node has k models of its own; it trains the one
that fits best and sends it to some neighbours, who take it into a running average with theirs of
that number.

Both are told k, get every message, and all nodes step together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32[models, size]: the numbers of so many models."""
Images = NDArray[np.float32]
Numbers = NDArray[np.int64]
DataAt = Callable[[int], tuple[Images, Numbers]]
"""round -> (float32[nodes, n, features], int64[nodes, n]): what the nodes have then."""


@dataclass(frozen=True)
class How:
    """How nodes train. epochs: over their own images, in batches, a round."""

    rounds: int
    epochs: int
    learning_rate: float
    batch: int = 32
    momentum: float = 0.0
    weight_decay: float = 0.0
    first_scale: float = 1.0
    neighbours: int = 8


class Model(Protocol):
    """An architecture. Several models of it are worked on at once, each with its own data."""

    def first(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """float32[size]: the numbers that a model begins with."""
        ...

    def gradients(self, models: Vectors, images: Images, labels: Numbers) -> Vectors:
        """Of the mean loss of each model on its images, [models, n, features]."""
        ...

    def scores(self, models: Vectors, images: Images) -> NDArray[np.float32]:
        """float32[models, n, 10]."""
        ...


@dataclass(frozen=True)
class Clustered:
    """models: float32[nodes, size], each node's own in the end. choice: int64[nodes]."""

    models: Vectors
    choice: Numbers


class Perceptron:
    """Fully connected layers with rectified units between them; without a hidden layer it is
    multinomial logistic regression."""

    def __init__(self, features: int, hidden: int = 0, classes: int = 10) -> None:
        widths = [features, hidden, classes] if hidden else [features, classes]
        self._shapes = list(pairwise(widths))

    def first(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Uniform within 1 / sqrt(inputs)."""
        parts = []
        for inputs, outputs in self._shapes:
            bound = inputs**-0.5
            parts.append(rng.uniform(-bound, bound, (inputs + 1) * outputs))
        return np.concatenate(parts).astype(np.float32)

    def gradients(self, models: Vectors, images: Images, labels: Numbers) -> Vectors:
        """See `Model`."""
        layers = self._layers(models)
        activity = [images]
        for weights, bias in layers[:-1]:
            activity.append(np.maximum(activity[-1] @ weights + bias, 0))
        weights, bias = layers[-1]
        error = probabilities(activity[-1] @ weights + bias)
        at = np.ix_(np.arange(len(models)), np.arange(images.shape[1]))
        error[at[0], at[1], labels] -= 1
        error /= images.shape[1]
        parts: list[Vectors] = []
        for (weights, _), below in zip(reversed(layers), reversed(activity), strict=True):
            of_weights = below.transpose(0, 2, 1) @ error
            of_layer = np.concatenate([of_weights, error.sum(axis=1, keepdims=True)], axis=1)
            parts.insert(0, of_layer.reshape(len(models), -1))
            if below is not images:
                error = (error @ weights.transpose(0, 2, 1)) * (below > 0)
        return np.concatenate(parts, axis=1)

    def scores(self, models: Vectors, images: Images) -> NDArray[np.float32]:
        """See `Model`."""
        found = images
        layers = self._layers(models)
        for number, (weights, bias) in enumerate(layers):
            found = found @ weights + bias
            if number + 1 < len(layers):
                found = np.maximum(found, 0)
        return found

    def _layers(self, models: Vectors) -> list[tuple[Vectors, Vectors]]:
        at, layers = 0, []
        for inputs, outputs in self._shapes:
            size = (inputs + 1) * outputs
            both = models[:, at : at + size].reshape(len(models), inputs + 1, outputs)
            layers.append((both[:, :-1], both[:, -1:]))
            at += size
        return layers


def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[models, n, 10]: the softmax of the scores."""
    found = np.exp(scores - scores.max(axis=2, keepdims=True))
    found /= found.sum(axis=2, keepdims=True)
    return found


def mean_loss(model: Model, models: Vectors, images: Images, labels: Numbers) -> Vectors:
    """float32[models]: the mean log loss of each on its images."""
    found = probabilities(model.scores(models, images))
    true = np.take_along_axis(found, labels[:, :, None], axis=2)[:, :, 0]
    return -np.log(np.maximum(true, 1e-9)).mean(axis=1)


def correct(model: Model, models: Vectors, images: Images, labels: Numbers) -> Vectors:
    """float32[models]: the part of its images that each calls right."""
    return (model.scores(models, images).argmax(axis=2) == labels).mean(axis=1)


def trained(
    model: Model,
    models: Vectors,
    images: Images,
    labels: Numbers,
    how: How,
    rng: np.random.Generator,
) -> Vectors:
    """What becomes of the models in one round on their own images."""
    count = images.shape[1]
    models = models.copy()
    speed = np.zeros_like(models)
    everybody = np.arange(len(models))[:, None]
    for _ in range(how.epochs):
        order = rng.permuted(np.tile(np.arange(count), (len(models), 1)), axis=1)
        for at in range(0, count, how.batch):
            rows = order[:, at : at + how.batch]
            slope = model.gradients(models, images[everybody, rows], labels[everybody, rows])
            speed = how.momentum * speed + slope + how.weight_decay * models
            models -= np.float32(how.learning_rate) * speed
    return models


def _losses(model: Model, models: NDArray[np.float32], images: Images, labels: Numbers) -> Vectors:
    """float32[k, nodes]: the mean loss of each of the k models, [k, nodes, size], at each node."""
    return np.stack([mean_loss(model, of_all, images, labels) for of_all in models])


def _for_all(one: NDArray[np.float32], nodes: int) -> Vectors:
    return np.broadcast_to(one, (nodes, len(one)))


def ifca(model: Model, data_at: DataAt, k: int, how: How, seed: int) -> Clustered:
    """See the module's text. k = 1: federated averaging of one model for all."""
    rng = np.random.default_rng([seed, 21])
    models = np.stack([how.first_scale * model.first(rng) for _ in range(k)]).astype(np.float32)
    for number in range(how.rounds):
        images, labels = data_at(number)
        nodes = len(images)
        losses = _losses(model, np.stack([_for_all(m, nodes) for m in models]), images, labels)
        choice = losses.argmin(axis=0)
        own = trained(model, models[choice], images, labels, how, rng)
        for group in set(choice.tolist()):
            models[group] = own[choice == group].mean(axis=0)
    images, labels = data_at(how.rounds)
    losses = _losses(model, np.stack([_for_all(m, len(images)) for m in models]), images, labels)
    choice = losses.argmin(axis=0)
    return Clustered(models[choice], choice)


def fixed(model: Model, data_at: DataAt, groups: Numbers, how: How, seed: int) -> Clustered:
    """Federated averaging within these groups, int64[nodes]; each on its own: training alone."""
    rng = np.random.default_rng([seed, 21])
    models = np.tile(how.first_scale * model.first(rng), (len(groups), 1)).astype(np.float32)
    for number in range(how.rounds):
        images, labels = data_at(number)
        models = trained(model, models, images, labels, how, rng)
        for group in set(groups.tolist()):
            models[groups == group] = models[groups == group].mean(axis=0)
    return Clustered(models, groups)


def dfca(model: Model, data_at: DataAt, k: int, how: How, seed: int) -> Clustered:
    """See the module's text. All begin with the same k models; each round every node sends its
    model to `how.neighbours` others, drawn anew."""
    rng = np.random.default_rng([seed, 22])
    first = np.stack([how.first_scale * model.first(rng) for _ in range(k)]).astype(np.float32)
    nodes = len(data_at(0)[0])
    models = np.repeat(first[:, None], nodes, axis=1)
    for number in range(how.rounds):
        images, labels = data_at(number)
        choice = _losses(model, models, images, labels).argmin(axis=0)
        everybody = np.arange(nodes)
        own = trained(model, models[choice, everybody], images, labels, how, rng)
        models[choice, everybody] = own
        heard = np.ones((k, nodes))
        for sender in rng.permutation(nodes):
            others = rng.permutation(np.delete(everybody, sender))[: how.neighbours]
            group = choice[sender]
            share = (1 / (heard[group, others] + 1)).astype(np.float32)[:, None]
            models[group, others] += share * (own[sender] - models[group, others])
            heard[group, others] += 1
    images, labels = data_at(how.rounds)
    losses = _losses(model, models, images, labels)
    choice = losses.argmin(axis=0)
    return Clustered(models[choice, np.arange(nodes)], choice)
