"""`ImplicitWorkload`: plays or likes of songs, by the factorization of implicit feedback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from openfl.config import Config
from openfl.config.kinds import IMPLICIT, FactorizationTask, ImplicitData, ImplicitTask
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.items import Label
from openfl.learning.factorization.artists import like_artist, top_songs
from openfl.learning.factorization.item_names import check_items, items_of, name_items
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.factorization.similar import SimilarSongs, similar
from openfl.learning.factorization.song_data import SongData, load_songs, ratings_file, split_of
from openfl.learning.factorization.told_names import SongNames
from openfl.learning.factorization.wishes import NO_WISHES, Wishes
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
    what_was_read,
)


def load_implicit_data(config: Config, resumed: Charter | None = None) -> SongData:
    """The configured plays and catalogue (empty when there is none); DataError when unusable."""
    own, skip = config.own(ImplicitData), config.data.skip_bad_rows
    path = ratings_file(config)
    plays = load_plays(path, own.min_strength, skip, own.max_plays)
    items = items_of(resumed, TASK_KIND, config.own(FactorizationTask).items)
    return name_items(SongData(plays, load_songs(config)), items, add=counts_plays(path), skip=skip)


class ImplicitWorkload:
    """A `Workload` on plays."""

    def __init__(self, config: Config, data: SongData) -> None:
        self._config = config
        self.data = data
        self._split = split_of(config, data.ratings)
        self._names = SongNames(data)

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
            what_was_read(data, "played song"),
            *doubtful(data.ratings),
            *catalogue_of_others(data),
            *few_users(self._config, len(data.ratings.users), IMPLICIT.private),
        )

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """See `Workload`."""
        return self.recommend_by(model, charter, user, top, NO_WISHES)

    def recommend_by(
        self, model: ModelView, charter: Charter, user: str, top: int, wishes: Wishes
    ) -> Recommendations:
        """See `KnowsSongs`."""
        head, named = ImplicitHead(charter, model), self._names.catalogue()
        return recommend(head, model, self.data.ratings, named, user, top, wishes=wishes)

    def similar(self, model: ModelView, charter: Charter, song: str, top: int) -> SimilarSongs:
        """See `KnowsSongs`."""
        head = ImplicitHead(charter, model)
        return similar(head, model, self.data.ratings, self._names.catalogue(), song, top)

    def like_artist(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> SimilarSongs:
        """See `KnowsSongs`."""
        head, named = ImplicitHead(charter, model), self._names.catalogue()
        return like_artist(head, model, self.data.ratings, named, artist, top)

    def top_songs(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> Recommendations:
        """See `KnowsSongs`."""
        return top_songs(ImplicitHead(charter, model), model, self._names.catalogue(), artist, top)

    @property
    def item_kind(self) -> str:
        """See `NamingItems`."""
        return self.data.items

    def own_labels(self) -> Mapping[int, Label]:
        """See `NamingItems`."""
        return self._names.own()

    def hear_labels(self, labels: Iterable[tuple[int, Label]]) -> None:
        """See `NamingItems`."""
        self._names.hear(labels)

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """See `Workload`."""
        save_model(path, charter, model, atomic_write)
