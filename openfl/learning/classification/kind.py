"""The kind "classification": the labels of rows of numbers."""

from __future__ import annotations

from openfl.config import kinds as described
from openfl.learning.classification.examples import only_examples
from openfl.learning.classification.workload import (
    TRY_PREDICT,
    ClassificationWorkload,
    load_examples,
)
from openfl.learning.kind import Dealing, Kind

CLASSIFICATION = Kind(
    description=described.CLASSIFICATION,
    load=load_examples,
    workload=ClassificationWorkload,
    asked_for_songs=TRY_PREDICT,
    dealing=Dealing(len, only_examples),
)
