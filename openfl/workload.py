"""`Workload`: what a node learns and what it answers, for any group it may be in.

A task is bound to one charter; a workload is what stands above: the owner's data, the charter this
node would found a group with, whether it could join another's, and the answers it gives from a
model. Embed a node with your own workload to learn something else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from openfl.config import Config
from openfl.contribution import Charter, ModelView
from openfl.errors import DataError, GroupError
from openfl.learning.matrix_factorization import MatrixFactorization
from openfl.learning.model_file import save_model
from openfl.learning.rating_charter import check_ratings_fit, rating_charter
from openfl.learning.ratings import (
    EMPTY_CATALOGUE,
    Catalogue,
    Ratings,
    load_catalogue,
    load_ratings,
)
from openfl.learning.recommend import Recommendations, recommend
from openfl.learning.splitting import split_ratings
from openfl.learning.task import LearningTask
from openfl.store import atomic_write


class Workload(Protocol):
    """See the module's text."""

    def found(self, name: str) -> Charter:
        """The charter this node founds a group with."""
        ...

    def problem(self, charter: Charter) -> str | None:
        """Why this node could not learn under `charter`; None when it could."""
        ...

    def task(self, charter: Charter) -> LearningTask:
        """A fresh task on the owner's data; DataError or GroupError when `problem` says so."""
        ...

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """The best items for `user` by `model`."""
        ...

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """Write the model where other programs can read it; StateError when that fails."""
        ...


class RatingWorkload:
    """Ratings of songs from a CSV file, by matrix factorization."""

    def __init__(self, config: Config) -> None:
        """DataError when the data is missing or malformed."""
        self._config = config
        self.ratings, self.catalogue = load_music(config)
        self._split = split_ratings(
            self.ratings,
            config.data.validation_fraction,
            config.data.test_fraction,
            config.data.split_seed,
        )

    def found(self, name: str) -> Charter:
        task = self._config.task
        return rating_charter(
            name,
            scale=self.ratings.scale,
            factors=task.factors,
            damping=task.damping,
            prior=task.prior,
            prior_per_evidence=task.prior_per_evidence,
            bias_prior=task.bias_prior,
            seed=task.seed,
        )

    def problem(self, charter: Charter) -> str | None:
        try:
            check_ratings_fit(charter, self.ratings)
        except (DataError, GroupError) as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> MatrixFactorization:
        return MatrixFactorization.from_charter(
            charter, self.ratings, self._split, self._config.training.min_row_evidence
        )

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        return recommend(charter, model, self.ratings, self.catalogue, user, top)

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        save_model(path, charter, model, atomic_write)


def load_music(config: Config) -> tuple[Ratings, Catalogue]:
    """The ratings and the catalogue (empty when there is none); DataError when unusable."""
    if not config.data.ratings_file:
        raise DataError(
            "no ratings to learn from: name a CSV file with --data, or set data.ratings_file"
        )
    path = Path(config.data.ratings_file)
    ratings = load_ratings(path, config.data.rating_scale)
    if config.data.catalogue_file:
        return ratings, load_catalogue(Path(config.data.catalogue_file))
    beside = path.parent / "songs.csv"
    return ratings, load_catalogue(beside) if beside.exists() else EMPTY_CATALOGUE
