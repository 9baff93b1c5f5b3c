"""`LinearClassifier`: multinomial logistic regression, learned without moving the examples.

    P(class c | z) = softmax_c(w_c . z),    z: the standardised features, and 1

The classes' rows w_c are shared, and so are the units in which features are seen. Each round a node

1. goes ahead of the group's rows y along the group's last step, a = y + momentum (y - y'), as
   Nesterov's method does: all members see the same y, so together they take its step;
2. takes the gradient of its own log-likelihood at a, g_c = sum_n (1[n is c] - p_nc) z_n;
3. proposes x_c = a_c + g_c / h_c, sure of it by h_c = e_c * m, for every class it has heard of.

m = damping * L * mean(z^2), where L is the largest eigenvalue of the correlations between features:
steps along a direction in which many features agree must be as much shorter. e_c is the geometric
mean of n/4 and sum_n p_nc (1 - p_nc): of a bound that holds everywhere and of the curvature here.
(The first alone needs about three times the rounds, the second alone diverges.)

The group merges w = sum h x / (sum h + D). Where nothing moves any more, a = y and sum g = D y: the
optimum of the same model trained in one place, however the examples are spread over the nodes. A
node that has never seen a class still says that its own examples are not of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import (
    MAX_CURVATURE,
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Evaluation,
    Keys,
    ModelView,
    RowBlock,
    is_key_of,
    item_key,
)
from openfl.core.errors import DataError, GroupError
from openfl.learning.classification.charter import (
    CLASS_KEY_BITS,
    CLASSES,
    FEATURE_KEYS,
    FEATURES,
    NAMES,
    ClassificationParameters,
    check_features_fit,
    classification_parameters,
)
from openfl.learning.classification.examples import (
    MAX_CLASS_BYTES,
    Labelled,
    class_name_problem,
    split_examples,
)
from openfl.learning.classification.influence import judged_examples, loss_changes
from openfl.learning.classification.scores import (
    MIN_PROBABILITY,
    Matrix,
    Units,
    log_losses,
    softmax,
    units_of,
)
from openfl.learning.held_out import evaluation
from openfl.learning.own_items import OwnItems
from openfl.learning.own_losses import OwnLosses
from openfl.learning.proposals import newton_step
from openfl.learning.splitting import Split, evenly
from openfl.learning.task import Counterfactuals

METRIC = "log_loss"
MIN_CURVATURE = 1e-4
FEATURE_CURVATURE = 32.0
"""Of the units: finer sums for nodes with few examples. Only the ratios between nodes matter."""
FULL_EXAMPLES = 100_000
"""More examples than that weigh as these: precision has an end (`MAX_PRECISION`)."""
MAX_OWN = 20_000
"""Most own examples that groups are compared by: more do not change a verdict."""
_POWER_STEPS = 20


class LinearClassifier:
    """The classification task on one node's private examples (a `LearningTask`)."""

    metric_power = 1.0
    """See `openfl.learning.own_losses.JudgesByOwn`: the log loss is a mean."""

    def __init__(
        self,
        charter: Charter,
        parameters: ClassificationParameters,
        data: Labelled,
        split: Split,
        min_row_evidence: int = 1,
    ) -> None:
        self._charter = charter
        self._min_row_evidence = min_row_evidence
        self._parameters = parameters
        self._data = data
        self._split = split
        keys = class_keys(data.classes)
        per_class = np.bincount(data.label_index[split.train], minlength=len(keys))
        # What is too rare to be told leaves no trace: its examples are not trained on.
        told = per_class >= max(1, min_row_evidence)
        self._train = split.train[told[data.label_index[split.train]]]
        if not len(self._train):
            raise DataError(f"{data.source or 'data'}: no example is left to train on")
        self._label_keys = keys
        self.own_items = OwnItems(CLASSES, np.unique(keys), data.classes, CLASS_KEY_BITS, "classes")
        # Two classes whose names collide in the key are one, here as everywhere in the group.
        self._own_keys, first = np.unique(keys[told], return_index=True)
        self._own_names = tuple(np.asarray(data.classes, dtype=object)[told][first])
        self._own_evidence = np.array(
            [per_class[keys == key].sum() for key in self._own_keys], dtype=np.float64
        )
        values = data.values[self._train]
        self._own_centre = values.mean(axis=0)
        self._own_values = values
        self._weight = min(1.0, FULL_EXAMPLES / len(self._train))
        self._standardised: tuple[bytes, Matrix, float] | None = None
        self._before: tuple[Keys, Matrix] | None = None
        self._steps = 0
        self._loss = math.inf

    @classmethod
    def from_charter(
        cls,
        charter: Charter,
        data: Labelled,
        split: Split | None = None,
        min_row_evidence: int = 1,
    ) -> LinearClassifier:
        """The task of a node with `data` in the group of `charter`.

        `split` defaults to `split_examples(data)`. Examples of a class with fewer than
        `min_row_evidence` of them are left out of training. GroupError: the charter is not one of
        this task, or is of other features. DataError: nothing is left to train on.
        """
        parameters = check_features_fit(charter, data.features)
        split = split_examples(data) if split is None else split
        return cls(charter, parameters, data, split, min_row_evidence)

    @property
    def charter(self) -> Charter:
        """See `LearningTask`."""
        return self._charter

    @property
    def train_examples(self) -> int:
        """See `LearningTask`."""
        return len(self._train)

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        """Proposals for every class known here or to the group, the names of this node's classes,
        and the units of the features. Deterministic: `rng` is not drawn from."""
        units = self._units(model)
        z, largest = self._training_matrix(units)
        keys = np.union1d(model.keys(CLASSES), self._own_keys)
        rows = model.rows(CLASSES, keys).astype(np.float64)
        ahead = self._ahead(keys, rows)
        probabilities = softmax(z @ ahead.T)
        column = np.searchsorted(keys, self._label_keys)[self._data.label_index[self._train]]
        errors = -probabilities
        errors[np.arange(len(z)), column] += 1.0
        gradient = self._weight * (errors.T @ z)

        examples = self._weight * len(z)
        fisher = self._weight * (probabilities * (1.0 - probabilities)).sum(axis=0)
        evidence = np.clip(np.ceil(np.sqrt(fisher * examples / 4)), 1, MAX_EVIDENCE)
        curvature = np.clip(
            self._parameters.damping * largest * (z**2).mean(axis=0), MIN_CURVATURE, MAX_CURVATURE
        ).astype(np.float32)
        self._before = (keys, rows)
        loss = -float(np.log(np.maximum(probabilities[np.arange(len(z)), column], 1e-300)).mean())
        # Members do not step together; where going ahead made things worse, begin anew with it.
        self._steps = 0 if loss > self._loss else self._steps + 1
        self._loss = loss
        schema = self._charter.table(CLASSES)
        classes = newton_step(schema, keys, ahead, gradient, evidence, curvature)
        return Contribution((classes, self._names_block(), self._units_block(model)))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        """The log loss (nats an example) on held-out examples; NaN where there are none.

        `split`: "validation", "test" or "train". Classes that only this node knows take part.
        """
        return evaluation(METRIC, self.held_out_losses(model, split))

    def held_out_losses(self, model: ModelView, split: str = "validation") -> Matrix:
        """See `openfl.learning.comparison.PairedTask`: -log of the probability of the true class,
        in nats."""
        return self._losses(model, self._positions(split))

    def own_losses(self, model: ModelView) -> OwnLosses:
        """See `openfl.learning.own_losses.JudgesByOwn`: -log of the probability of the true class,
        of (at most `MAX_OWN`, spread evenly) validation examples.

        Not of training examples: the others' rows are steps from a common model that had learned
        from this node, so what it taught is in them also when its own rows are withdrawn. Examples
        have no owners, and are taken as drawn independently: each is a person of its own, which
        makes a clustered standard error the plain one.
        """
        known = evenly(self._split.validation, MAX_OWN)
        return OwnLosses(self._losses(model, known), np.arange(len(known)))

    def taught_losses(self, model: ModelView, most: int) -> OwnLosses:
        """See `openfl.learning.group_comparison.TaughtTask`."""
        known = evenly(np.concatenate((self._split.validation, self._train)), most)
        return OwnLosses(self._losses(model, known), np.arange(len(known)))

    def fold(self, number: int, folds: int) -> LinearClassifier:
        """See `openfl.learning.alone.FoldsOwn`."""
        split = self._split.fold(number, folds)
        return LinearClassifier.from_charter(
            self._charter, self._data, split, self._min_row_evidence
        )

    def loss_changes(self, model: ModelView, parts: Iterable[Counterfactuals]) -> Iterator[Matrix]:
        """See `openfl.learning.task.InfluenceJudge`: -log of the probability of the true class, on
        some of the training examples (`influence.judged_examples`)."""
        chosen = judged_examples(self._train, self._parameters.width)
        labels = self._label_keys[self._data.label_index[chosen]]
        return loss_changes(self._data.values[chosen], labels, self._own_units(), model, parts)

    def accuracy(self, model: ModelView, split: str = "test") -> float:
        """The part of held-out examples whose likeliest class is the right one; NaN without any."""
        held_out = self._positions(split)
        if not len(held_out):
            return math.nan
        keys, probabilities = self._probabilities(model, held_out)
        found = keys[probabilities.argmax(axis=1)]
        right = found == self._label_keys[self._data.label_index[held_out]]
        return float(right.mean())

    def private_state(self) -> Mapping[str, NDArray[np.generic]]:
        """The group's rows at this node's last step, from which it goes ahead at the next."""
        if self._before is None:
            return {}
        keys, rows = self._before
        return {"keys": keys, "rows": rows, "steps": np.array([self._steps], dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back `private_state`; ValueError when it is of another group's model."""
        if not state:
            return
        try:
            keys, rows, steps = state["keys"], state["rows"], state["steps"]
        except KeyError as error:
            raise ValueError(f"saved private state lacks {error.args[0]}") from None
        if keys.ndim != 1 or rows.shape != (len(keys), self._parameters.width):
            raise ValueError("saved private state is of other features")
        if keys.dtype != np.uint64 or not np.isfinite(rows.astype(np.float64)).all():
            raise ValueError("saved private state holds impossible values")
        if steps.shape != (1,):
            raise ValueError("saved private state holds no number of steps")
        self._before = (keys.astype(np.uint64), rows.astype(np.float64))
        self._steps = int(steps[0])

    # --- features ---------------------------------------------------------------------------------

    def _units(self, model: ModelView) -> Units:
        """The group's; this node's own while the group has none."""
        if (model.evidence(FEATURES, FEATURE_KEYS) > 0).all():
            return units_of(model)
        return self._own_units()

    def _own_units(self) -> Units:
        return Units(self._own_centre, self._spread_around(self._own_centre))

    def _units_block(self, model: ModelView) -> RowBlock:
        centre = self._units(model).centre
        values = np.stack([self._own_centre, self._spread_around(centre)])
        return RowBlock(
            FEATURES,
            FEATURE_KEYS.copy(),
            values.astype(np.float32),
            np.full(2, min(len(self._train), MAX_EVIDENCE), dtype=np.float32),
            np.full(values.shape[1], FEATURE_CURVATURE, dtype=np.float32),
        )

    def _spread_around(self, centre: Matrix) -> Matrix:
        spread: Matrix = np.sqrt(((self._own_values - centre) ** 2).mean(axis=0))
        return spread

    def _training_matrix(self, units: Units) -> tuple[Matrix, float]:
        """(float64[n, width] of the training examples in these units, their largest eigenvalue);
        kept until the units change."""
        tag = units.centre.tobytes() + units.spread.tobytes()
        if self._standardised is None or self._standardised[0] != tag:
            z = units.standardise(self._own_values)
            self._standardised = (tag, z, largest_eigenvalue(z))
        return self._standardised[1], self._standardised[2]

    # --- classes ----------------------------------------------------------------------------------

    def _ahead(self, keys: Keys, rows: Matrix) -> Matrix:
        """The rows moved on along the group's last step; less so in the first rounds."""
        if self._before is None:
            return rows
        old_keys, old_rows = self._before
        at = np.minimum(np.searchsorted(old_keys, keys), len(old_keys) - 1)
        known = old_keys[at] == keys
        last_step = np.where(known[:, None], rows - old_rows[at], 0.0)
        return rows + self._parameters.momentum * self._steps / (self._steps + 3) * last_step

    def _names_block(self) -> RowBlock:
        values = np.zeros((len(self._own_names), MAX_CLASS_BYTES), dtype=np.float32)
        for row, name in zip(values, self._own_names, strict=True):
            encoded = np.frombuffer(name.encode(), dtype=np.uint8)
            row[: len(encoded)] = encoded
        evidence = np.minimum(self._own_evidence, MAX_EVIDENCE).astype(np.float32)
        curvature = np.ones(MAX_CLASS_BYTES, dtype=np.float32)
        return RowBlock(NAMES, self._own_keys.copy(), values, evidence, curvature)

    # --- held-out examples ------------------------------------------------------------------------

    def _positions(self, split: str) -> NDArray[np.intp]:
        return self._train if split == "train" else self._split.positions(split)

    def _probabilities(self, model: ModelView, positions: NDArray[np.intp]) -> tuple[Keys, Matrix]:
        """(keys of the classes, float64[n, classes])."""
        keys = np.union1d(model.keys(CLASSES), self._label_keys)
        z = self._units(model).standardise(self._data.values[positions])
        return keys, softmax(z @ model.rows(CLASSES, keys).astype(np.float64).T)

    def _losses(self, model: ModelView, positions: NDArray[np.intp]) -> Matrix:
        """float64[n]: -log of the probability of each example's class."""
        keys = np.union1d(model.keys(CLASSES), self._label_keys)
        labels = self._label_keys[self._data.label_index[positions]]
        rows = model.rows(CLASSES, keys)
        return log_losses(self._data.values[positions], labels, self._units(model), keys, rows)


# --- answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predictions:
    """labels[n]: the likeliest class of each example, by `probability[n]`."""

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: Matrix
    """float64[n, classes]"""

    @property
    def probability(self) -> Matrix:
        """float64[n]: of the class predicted."""
        best: Matrix = self.probabilities.max(axis=1)
        return best


def predict(charter: Charter, model: ModelView, values: Matrix) -> Predictions:
    """The classes of `values`, float64[n, f] with columns as in the charter.

    GroupError: the charter is not of this task, or its model knows no class yet.
    """
    classification_parameters(charter)
    keys = model.keys(CLASSES)
    if not len(keys) or not (model.evidence(FEATURES, FEATURE_KEYS) > 0).all():
        raise GroupError(f'the model of group "{charter.name}" knows no class yet')
    z = units_of(model).standardise(values)
    probabilities = softmax(z @ model.rows(CLASSES, keys).astype(np.float64).T)
    classes = class_names(model, keys)
    labels = tuple(classes[n] for n in probabilities.argmax(axis=1))
    return Predictions(classes, labels, probabilities)


def class_names(model: ModelView, keys: Keys) -> tuple[str, ...]:
    """What the classes of these rows are called: published names that match their row's key, else
    `#` and the key in hex."""
    rows = model.rows(NAMES, keys)
    known = model.evidence(NAMES, keys) > 0
    names = []
    for key, row, is_known in zip(keys, rows, known, strict=True):
        name = _decoded_name(row) if is_known else None
        matches = name is not None and is_key_of(int(key), name, CLASS_KEY_BITS)
        names.append(name if matches and name is not None else f"#{int(key):010x}")
    return tuple(names)


def class_keys(names: tuple[str, ...]) -> Keys:
    """uint64[n]: the row key of each class, in the order given."""
    return np.array([item_key(name, CLASS_KEY_BITS) for name in names], dtype=np.uint64)


def log_loss_of(probabilities: Matrix) -> Evaluation:
    """The mean of -log p over the probabilities given to the true classes."""
    losses = -np.log(np.maximum(probabilities, MIN_PROBABILITY))
    return evaluation(METRIC, losses)


def largest_eigenvalue(z: Matrix) -> float:
    """Of the correlations between the columns of `z`, by power iteration; at least 1."""
    scale = np.sqrt((z**2).sum(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    vector = np.ones(z.shape[1])
    value = 1.0
    for _ in range(_POWER_STEPS):
        image = (z.T @ (z @ (vector / scale))) / scale
        value = float(np.linalg.norm(image))
        if value == 0.0:
            break
        vector = image / value
    return max(1.0, value)


def _decoded_name(row: NDArray[np.float32]) -> str | None:
    codes = np.rint(row)
    if not ((codes >= 0) & (codes <= 255)).all():
        return None
    try:
        name = codes.astype(np.uint8).tobytes().rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    return name if class_name_problem(name) is None else None
