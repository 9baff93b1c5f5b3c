"""`RatingWorkload`: ratings of songs, by matrix factorization."""

from __future__ import annotations

from pathlib import Path

from openfl.config import Config
from openfl.config.kinds import RATING, FactorizationTask, RatingData, RatingTask
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import DataError, GroupError
from openfl.learning.factorization.answers import AnswersAboutSongs
from openfl.learning.factorization.item_names import check_items, items_of, name_items
from openfl.learning.factorization.rating_scale import Scale
from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.factorization.song_data import SongData, load_songs, ratings_file, split_of
from openfl.learning.factorization.told_names import SongNames
from openfl.learning.model_file import save_model
from openfl.learning.rating.charter import (
    TASK_KIND,
    USUAL_DAMPING,
    USUAL_FACTORS,
    USUAL_PRIOR,
    check_ratings_fit,
    rating_charter,
    rating_parameters,
)
from openfl.learning.rating.head import RatingHead
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.remarks import (
    Remark,
    all_ratings_alike,
    catalogue_of_others,
    doubtful,
    few_users,
    named_otherwise,
    what_was_read,
)


def load_rating_data(config: Config, resumed: Charter | None = None) -> SongData:
    """The configured ratings and catalogue (empty when there is none); DataError when unusable.
    `resumed`: of a group that learned from this data before, whose scale is then no reason to doubt
    it."""
    scale, skip = config.own(RatingData).rating_scale, config.data.skip_bad_rows
    ratings = load_ratings(ratings_file(config), scale, skip, _scale_of(resumed))
    items = items_of(resumed, TASK_KIND, config.own(FactorizationTask).items)
    return name_items(SongData(ratings, load_songs(config)), items, add=False, skip=skip)


class RatingWorkload(AnswersAboutSongs):
    """A `Workload` on ratings."""

    head = RatingHead

    def __init__(self, config: Config, data: SongData) -> None:
        self._config = config
        self.data = data
        self._split = split_of(config, data.ratings)
        self.names = SongNames(data)

    @classmethod
    def load(cls, config: Config, resumed: Charter | None = None) -> RatingWorkload:
        """On the configured data, as `load_rating_data`."""
        return cls(config, load_rating_data(config, resumed))

    def found(self, name: str) -> Charter:
        """See `Workload`."""
        task, own = self._config.own(FactorizationTask), self._config.own(RatingTask)
        return rating_charter(
            name,
            scale=self.data.ratings.scale,
            factors=task.factors or USUAL_FACTORS,
            damping=task.damping or USUAL_DAMPING,
            prior=task.prior or USUAL_PRIOR,
            prior_per_evidence=task.prior_per_evidence,
            bias_prior=own.bias_prior,
            encoding=task.encoding,
            seed=self._config.task.seed,
            user_prior=own.user_prior,
            relevance=own.relevance,
            items=self.data.items,
        )

    def problem(self, charter: Charter) -> str | None:
        """See `Workload`: the scale may not be ours."""
        try:
            parameters = check_ratings_fit(charter, self.data.ratings)
            check_items(charter, parameters.items, self.data.items)
        except (DataError, GroupError) as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> MatrixFactorization:
        """See `Workload`."""
        return MatrixFactorization.from_charter(
            charter,
            self.data.ratings,
            self._split,
            self._config.training.min_row_evidence,
            self.data.catalogue if self._config.privacy.enabled else None,
        )

    @property
    def skipped_rows(self) -> int:
        """See `Remarking`."""
        return self.data.skipped_rows

    def remarks(self) -> tuple[Remark, ...]:
        """See `Remarking`."""
        data = self.data
        return (
            what_was_read(data, RATING.example),
            *doubtful(data.ratings),
            *all_ratings_alike(data.ratings),
            *catalogue_of_others(data),
            *named_otherwise(self._config, data),
            *few_users(self._config, len(data.ratings.users), RATING.private),
        )

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """See `Workload`."""
        save_model(path, charter, model, atomic_write)


def _scale_of(group: Charter | None) -> Scale | None:
    if group is None or group.task != TASK_KIND:
        return None
    try:
        return rating_parameters(group).scale
    except GroupError:
        return None
