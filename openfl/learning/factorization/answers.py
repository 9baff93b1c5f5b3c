"""What the kinds that learn songs answer alike: recommendations, songs like others, names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from openfl.core.contribution import Charter, ModelView
from openfl.items import Label
from openfl.learning.factorization.artists import like_artist, top_songs
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.factorization.similar import SimilarSongs, similar
from openfl.learning.factorization.song_data import SongData
from openfl.learning.factorization.told_names import SongNames
from openfl.learning.factorization.wishes import NO_WISHES, Wishes
from openfl.learning.heads import Head


class _HeadOf(Protocol):
    def __call__(self, charter: Charter, model: ModelView) -> Head: ...


class AnswersAboutSongs:
    """The part of a workload on `data` that is the same for every kind. head: makes the head of a
    model; GroupError when the charter is of another kind. names: what songs are called, the own
    ones and what others told."""

    head: _HeadOf
    data: SongData
    names: SongNames

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """See `Workload`."""
        return self.recommend_by(model, charter, user, top, NO_WISHES)

    def recommend_by(
        self, model: ModelView, charter: Charter, user: str, top: int, wishes: Wishes
    ) -> Recommendations:
        """See `KnowsSongs`."""
        head, named = self.head(charter, model), self.names.catalogue()
        return recommend(head, model, self.data.ratings, named, user, top, wishes=wishes)

    def similar(self, model: ModelView, charter: Charter, song: str, top: int) -> SimilarSongs:
        """See `KnowsSongs`."""
        head = self.head(charter, model)
        return similar(head, model, self.data.ratings, self.names.catalogue(), song, top)

    def like_artist(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> SimilarSongs:
        """See `KnowsSongs`."""
        head, named = self.head(charter, model), self.names.catalogue()
        return like_artist(head, model, self.data.ratings, named, artist, top)

    def top_songs(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> Recommendations:
        """See `KnowsSongs`."""
        return top_songs(self.head(charter, model), model, self.names.catalogue(), artist, top)

    @property
    def item_kind(self) -> str:
        """See `NamingItems`."""
        return self.data.items

    def own_labels(self) -> Mapping[int, Label]:
        """See `NamingItems`."""
        return self.names.own()

    def hear_labels(self, labels: Iterable[tuple[int, Label]]) -> None:
        """See `NamingItems`."""
        self.names.hear(labels)
