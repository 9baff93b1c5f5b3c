"""`ClassificationWorkload`: labelled rows of numbers, by multinomial logistic regression."""

from __future__ import annotations

from pathlib import Path

from openfl.config import Config
from openfl.config.kinds import ClassificationData, ClassificationTask
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import DataError, GroupError
from openfl.learning.classification.charter import check_features_fit, classification_charter
from openfl.learning.classification.examples import Labelled, load_labelled, split_examples
from openfl.learning.classification.task import LinearClassifier
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.model_file import save_model
from openfl.learning.remarks import Remark, remarks_on_examples

TRY_PREDICT = " (try: openfl-node predict)"


def load_examples(config: Config, resumed: Charter | None = None) -> Labelled:
    """The labelled examples of the configured file; DataError when unusable."""
    data, own = config.data, config.own(ClassificationData)
    if not data.ratings_file:
        raise DataError(
            "no examples to learn from: name a CSV file with --data, or set data.ratings_file"
        )
    return load_labelled(
        Path(data.ratings_file), own.label_column, own.feature_columns, data.skip_bad_rows
    )


class ClassificationWorkload:
    """A `Workload` on labelled examples."""

    def __init__(self, config: Config, data: Labelled) -> None:
        self._config = config
        self.data = data
        how = config.data
        self._split = split_examples(
            data, how.validation_fraction, how.test_fraction, how.split_seed
        )

    @classmethod
    def load(cls, config: Config, resumed: Charter | None = None) -> ClassificationWorkload:
        """On the configured data, as `load_examples`."""
        return cls(config, load_examples(config, resumed))

    def found(self, name: str) -> Charter:
        """See `Workload`."""
        prior = self._config.own(ClassificationTask).weight_prior
        seed = self._config.task.seed
        return classification_charter(name, self.data.features, prior, seed=seed)

    def problem(self, charter: Charter) -> str | None:
        """See `Workload`: the features may not be ours."""
        try:
            check_features_fit(charter, self.data.features)
        except GroupError as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> LinearClassifier:
        """See `Workload`."""
        return LinearClassifier.from_charter(
            charter, self.data, self._split, self._config.training.min_row_evidence
        )

    @property
    def skipped_rows(self) -> int:
        """See `Remarking`."""
        return self.data.skipped

    def remarks(self) -> tuple[Remark, ...]:
        """See `Remarking`."""
        return remarks_on_examples(self.data)

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """GroupError: it recommends nothing."""
        raise GroupError(
            f'group "{charter.name}" learns to classify: it recommends no songs{TRY_PREDICT}'
        )

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """See `Workload`."""
        save_model(path, charter, model, atomic_write)
