"""The kind "classification" in words, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.config.kinds.description import KindDescription
from openfl.config.settings import setting


@dataclass(frozen=True, slots=True)
class ClassificationData:
    """Which columns are what."""

    label_column: str = setting(
        "label",
        "the column with what is to be learned, any text.",
        allowed="the name of a column",
    )
    feature_columns: tuple[str, ...] = setting(
        (),
        "the columns to learn from. Empty: all columns of numbers but the label. All members of a"
        " group have the same.",
        allowed="names of columns",
    )


@dataclass(frozen=True, slots=True)
class ClassificationTask:
    """Of the logistic regression."""

    weight_prior: float = setting(
        1.0,
        "how strongly the weights of features are held near zero (the ridge on standardised"
        " features). Less for many examples, more for few.",
        minimum=1e-6,
        maximum=1e6,
    )


CLASSIFICATION = KindDescription(
    name="classification",
    predicts="the label of a row of numbers",
    data_file="a column with the label and columns of numbers",
    settings=(("data", ClassificationData), ("task", ClassificationTask)),
    metric="log_loss",
)
