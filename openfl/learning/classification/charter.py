"""The charter of a group that learns to tell classes apart by named numbers.

It holds the names of the features, so that members agree on the columns of a row and a node with
other columns is told which are missing. Classes need no agreement: a class's row is keyed by the
hash of its name, and whoever has examples of it publishes the name beside it.

Three tables. `classes`: a row a class, its weights and, last, its bias. `names`: a row a class, the
bytes of its name. `features`: row `CENTRE` holds each feature's mean, row `SPREAD` its root mean
square distance from the group's centre; the group's weighted means of these are the units in which
all members see the features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Hyperparameter, TableSchema
from openfl.core.errors import GroupError
from openfl.learning.charter_values import (
    number,
    out_of_range,
    plain_table,
    reading,
    refuse_to_found,
    refuse_unusable,
)
from openfl.learning.classification.examples import MAX_CLASS_BYTES, MAX_FEATURES

TASK_KIND = "classification"
CLASSES = "classes"
NAMES = "names"
FEATURES = "features"
CENTRE = 0
SPREAD = 1
FEATURE_KEYS: NDArray[np.uint64] = np.array([CENTRE, SPREAD], dtype=np.uint64)

CLASS_KEY_BITS = 40
BIAS_PRIOR = 1 / 128
"""The bias is hardly held: how common a class is, is for the data to say."""
_FEATURES_PREFIX = "features_"
_PIECE_CHARS = 250
_MAX_PIECES = 60
"""A charter has at most 64 hyperparameters of at most 256 characters."""


@dataclass(frozen=True, slots=True)
class ClassificationParameters:
    """features: their names, ascending. weight_prior: the ridge on the weights of standardised
    features. damping multiplies the curvature of every step; momentum is how much of the group's
    last step a member goes ahead before it takes its own."""

    features: tuple[str, ...]
    weight_prior: float
    damping: float
    momentum: float

    @property
    def width(self) -> int:
        """Columns of a class's row: its weights and its bias, last."""
        return len(self.features) + 1


def classification_charter(
    name: str,
    features: Sequence[str],
    weight_prior: float = 1.0,
    damping: float = 1.0,
    momentum: float = 0.8,
    seed: int = 0,
) -> Charter:
    """The charter of a group on these features; ConfigError names all that is out of range."""
    parameters = ClassificationParameters(
        tuple(sorted(features)), float(weight_prior), float(damping), float(momentum)
    )
    refuse_to_found(_problems(parameters))
    return Charter(
        name=name,
        task=TASK_KIND,
        tables=_tables(parameters),
        hyperparameters=_hyperparameters(parameters),
        seed=seed,
    )


def classification_parameters(charter: Charter) -> ClassificationParameters:
    """What a charter says about this task. It may come from a stranger, so all of it is checked.

    GroupError when it is of another task or not what a group of this task has.
    """
    with reading(charter, TASK_KIND):
        values = dict(charter.hyperparameters)
        parameters = ClassificationParameters(
            _unpacked(values),
            number(values["weight_prior"]),
            number(values["damping"]),
            number(values["momentum"]),
        )
        problems = _problems(parameters)
        if not problems and values != _hyperparameters(parameters):
            problems = ["its parameters are not those of a group that classifies"]
        if not problems and charter.tables != _tables(parameters):
            problems = ["its tables are not those of a group that classifies"]
        refuse_unusable(charter, problems)
    return parameters


def check_features_fit(charter: Charter, features: Sequence[str]) -> ClassificationParameters:
    """The charter's parameters, when data with these features can be learned under it.

    GroupError as `classification_parameters`, and when the features are not the same: names which.
    """
    parameters = classification_parameters(charter)
    missing = sorted(set(parameters.features) - set(features))
    extra = sorted(set(features) - set(parameters.features))
    parts = [f"this data lacks {_listed(missing)}"] if missing else []
    parts += [f"the group does not have {_listed(extra)}"] if extra else []
    if parts:
        raise GroupError(
            f'group "{charter.name}" learns from other features: {" and ".join(parts)}'
            + (" (data.feature_columns chooses columns)" if extra and not missing else "")
        )
    return parameters


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(json.dumps(name) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _hyperparameters(parameters: ClassificationParameters) -> dict[str, Hyperparameter]:
    text = json.dumps(parameters.features, separators=(",", ":"))  # ASCII
    values: dict[str, Hyperparameter] = {
        f"{_FEATURES_PREFIX}{at // _PIECE_CHARS:02d}": text[at : at + _PIECE_CHARS]
        for at in range(0, len(text), _PIECE_CHARS)
    }
    values["weight_prior"] = parameters.weight_prior
    values["damping"] = parameters.damping
    values["momentum"] = parameters.momentum
    return values


def _unpacked(values: dict[str, Hyperparameter]) -> tuple[str, ...]:
    pieces = [values[name] for name in sorted(values) if name.startswith(_FEATURES_PREFIX)]
    if not pieces:
        raise KeyError(f"{_FEATURES_PREFIX}00")
    names = json.loads("".join(str(piece) for piece in pieces))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("the features are not a list of names")
    return tuple(names)


def _tables(parameters: ClassificationParameters) -> tuple[TableSchema, ...]:
    count = len(parameters.features)
    return (
        TableSchema(
            name=CLASSES,
            width=parameters.width,
            prior=(parameters.weight_prior,) * count + (BIAS_PRIOR,),
            prior_per_evidence=(0.0,) * (count + 1),
            initial_scale=(0.0,) * (count + 1),
            encoding="float16",
            key_bits=CLASS_KEY_BITS,
        ),
        plain_table(NAMES, MAX_CLASS_BYTES, "float16", 256.0, CLASS_KEY_BITS),
        plain_table(FEATURES, count, "float32", float(1 << 20), 1),
    )


def _problems(parameters: ClassificationParameters) -> list[str]:
    ranges = (
        ("weight_prior", parameters.weight_prior, 1e-6, 1e6),
        ("damping", parameters.damping, 0.5, 100.0),
        ("momentum", parameters.momentum, 0.0, 0.99),
    )
    problems = out_of_range(ranges)
    features = parameters.features
    if not 1 <= len(features) <= MAX_FEATURES:
        problems.append(f"there are {len(features)} features; 1 to {MAX_FEATURES} are possible")
    elif list(features) != sorted(set(features)):
        problems.append("the features are not in order, or one occurs twice")
    elif len(json.dumps(features, separators=(",", ":"))) > _PIECE_CHARS * _MAX_PIECES:
        problems.append(
            f"the names of the features are too long together (over {_PIECE_CHARS * _MAX_PIECES}"
            " characters); shorten them"
        )
    return problems
