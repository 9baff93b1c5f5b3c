"""`ImplicitWorkload`: plays or likes of songs, by the factorization of implicit feedback."""

from __future__ import annotations

from pathlib import Path

from openfl.config import Config
from openfl.config.kinds import IMPLICIT, FactorizationTask, ImplicitData, ImplicitTask
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.learning.factorization.answers import AnswersAboutSongs
from openfl.learning.factorization.item_names import check_items, items_of, name_items
from openfl.learning.factorization.song_data import SongData, load_songs, ratings_file, split_of
from openfl.learning.factorization.told_names import SongNames
from openfl.learning.implicit.charter import (
    TASK_KIND,
    USUAL_DAMPING,
    USUAL_FACTORS,
    USUAL_PRIOR,
    implicit_charter,
    implicit_parameters,
)
from openfl.learning.implicit.head import ImplicitHead
from openfl.learning.implicit.plays import counts_plays, load_plays
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.model_file import save_model
from openfl.learning.remarks import (
    Remark,
    catalogue_of_others,
    doubtful,
    few_users,
    named_otherwise,
    what_was_read,
)


def load_implicit_data(config: Config, resumed: Charter | None = None) -> SongData:
    """The configured plays and catalogue (empty when there is none); DataError when unusable."""
    own, skip = config.own(ImplicitData), config.data.skip_bad_rows
    path = ratings_file(config)
    plays = load_plays(path, own.min_strength, skip, own.max_plays)
    items = items_of(resumed, TASK_KIND, config.own(FactorizationTask).items)
    return name_items(SongData(plays, load_songs(config)), items, add=counts_plays(path), skip=skip)


class ImplicitWorkload(AnswersAboutSongs):
    """A `Workload` on plays."""

    head = ImplicitHead

    def __init__(self, config: Config, data: SongData) -> None:
        self._config = config
        self.data = data
        self._split = split_of(config, data.ratings)
        self.names = SongNames(data)

    @classmethod
    def load(cls, config: Config, resumed: Charter | None = None) -> ImplicitWorkload:
        """On the configured data, as `load_implicit_data`."""
        return cls(config, load_implicit_data(config, resumed))

    def found(self, name: str) -> Charter:
        """See `Workload`."""
        task, own = self._config.own(FactorizationTask), self._config.own(ImplicitTask)
        return implicit_charter(
            name,
            factors=task.factors or USUAL_FACTORS,
            alpha=own.alpha,
            plays_limit=own.plays_limit,
            damping=task.damping or USUAL_DAMPING,
            prior=task.prior or USUAL_PRIOR,
            prior_per_evidence=task.prior_per_evidence,
            encoding=task.encoding,
            seed=self._config.task.seed,
            items=self.data.items,
        )

    def problem(self, charter: Charter) -> str | None:
        """See `Workload`: any plays can be learned from in any group of this kind whose
        items are named alike."""
        try:
            check_items(charter, implicit_parameters(charter).items, self.data.items)
        except GroupError as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> ImplicitFactorization:
        """See `Workload`."""
        return ImplicitFactorization.from_charter(
            charter, self.data.ratings, self._split, self._config.training.min_row_evidence
        )

    @property
    def skipped_rows(self) -> int:
        """See `Remarking`."""
        return self.data.skipped_rows

    def remarks(self) -> tuple[Remark, ...]:
        """See `Remarking`."""
        data = self.data
        return (
            what_was_read(data, "played song", added_up=True),
            *doubtful(data.ratings),
            *catalogue_of_others(data),
            *named_otherwise(self._config, data),
            *few_users(self._config, len(data.ratings.users), IMPLICIT.private),
        )

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """See `Workload`."""
        save_model(path, charter, model, atomic_write)
