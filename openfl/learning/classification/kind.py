"""The kind "classification": the labels of rows of numbers."""

from __future__ import annotations

from openfl.config import kinds as described
from openfl.learning.classification.example_shards import join_examples, labels, mislabelled
from openfl.learning.classification.examples import only_examples
from openfl.learning.classification.made_up import community_examples, synthetic_examples
from openfl.learning.classification.workload import (
    TRY_PREDICT,
    ClassificationWorkload,
    load_examples,
)
from openfl.learning.kind import Kind
from openfl.learning.sharding import Sharding

CLASSIFICATION = Kind(
    description=described.CLASSIFICATION,
    load=load_examples,
    workload=ClassificationWorkload,
    asked_for_songs=TRY_PREDICT,
    sharding=Sharding(
        len,
        only_examples,
        join=join_examples,
        communities=labels,
        upside_down=mislabelled,
        make_up={"synthetic": synthetic_examples, "communities": community_examples},
    ),
)
