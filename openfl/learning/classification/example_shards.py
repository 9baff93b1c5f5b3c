"""Labelled examples of many users: put together, grouped by label, and mislabelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.classification.examples import Labelled


def join_examples(parts: Sequence[Labelled]) -> Labelled:
    """All of them, one after the other. DataError when they have not the same features."""
    first = parts[0]
    if len(parts) == 1:
        return first
    for other in parts[1:]:
        if other.features != first.features:
            differ = sorted({*first.features} ^ {*other.features})
            raise DataError(
                f"{other.source}: has not the same columns of numbers as {first.source}: they"
                f" differ in {', '.join(differ[:5])}"
            )
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    number = {name: n for n, name in enumerate(classes)}
    labels = [
        np.array([number[name] for name in part.classes], dtype=np.int32)[part.label_index]
        for part in parts
    ]
    return replace(
        first,
        classes=classes,
        values=np.concatenate([part.values for part in parts]),
        label_index=np.concatenate(labels),
        ignored=tuple(sorted({name for part in parts for name in part.ignored})),
        skipped=sum(part.skipped for part in parts),
    )


def labels(data: Labelled) -> NDArray[np.int64]:
    """int64[n]: the number of each example's class: examples of one class are a community."""
    return data.label_index.astype(np.int64)


def mislabelled(data: Labelled) -> Labelled:
    """The same examples, each called by the class at the other end of the list."""
    return replace(data, label_index=(len(data.classes) - 1 - data.label_index).astype(np.int32))
