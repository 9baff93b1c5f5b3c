"""`LearningViews`: what a node learns from, what it would know alone, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.core.telemetry import ItemsView, PrivacyView
from openfl.learning.central import SoloResult
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.factorization.similar import SimilarSongs
from openfl.learning.factorization.wishes import NO_WISHES, Wishes
from openfl.learning.workload import KnowsSongs, Remarking, Workload
from openfl.node.current_group import CurrentGroup
from openfl.node.items_watch import ItemsWatch
from openfl.node.label_driver import LabelDriver
from openfl.node.parts import Learning
from openfl.node.solo import SoloTraining


@dataclass(frozen=True, slots=True)
class SongsNow:
    """Answers about songs from the group's model as it was at one moment. Nothing of it changes any
    more, so it may be asked in any thread. GroupError: the group has no songs."""

    workload: Workload
    model: ModelView
    charter: Charter

    def recommend(self, user: str, top: int, wishes: Wishes = NO_WISHES) -> Recommendations:
        """The `top` best items for `user`; DataError when nothing can be recommended."""
        if wishes == NO_WISHES:
            return self.workload.recommend(self.model, self.charter, user, top)
        return self._known.recommend_by(self.model, self.charter, user, top, wishes)

    def similar(self, song: str, top: int) -> SimilarSongs:
        """The `top` songs most like `song`: an id, a title, or artist and title. UsageError: no
        song, or several, are called so. GroupError: the group has learned nothing of it."""
        return self._known.similar(self.model, self.charter, song, top)

    def like_artist(self, artist: str, top: int) -> SimilarSongs:
        """The `top` songs most like those of `artist`; none when there is no such artist."""
        return self._known.like_artist(self.model, self.charter, artist, top)

    def top_songs(self, artist: str, top: int) -> Recommendations:
        """The `top` songs of `artist` that the group likes best."""
        return self._known.top_songs(self.model, self.charter, artist, top)

    @property
    def _known(self) -> KnowsSongs:
        if not isinstance(self.workload, KnowsSongs):
            charter = self.charter
            raise GroupError(f'group "{charter.name}" learns "{charter.task}": it has no songs')
        return self.workload


@dataclass(frozen=True, slots=True)
class LearningViews:
    """Looks at the parts of a node that know of its data."""

    current_group: CurrentGroup
    learning: Learning
    solo: SoloTraining
    items_watch: ItemsWatch
    labels: LabelDriver

    @property
    def alone(self) -> SoloResult | None:
        """What comes of training alone; None while that is not known."""
        return self.solo.result

    @property
    def privacy(self) -> PrivacyView | None:
        """What was spent of the privacy budget; None without one."""
        privacy = self.learning.privacy
        return None if privacy is None else privacy.view

    @property
    def items(self) -> ItemsView | None:
        """How many of this node's items its group knows; see `ItemsWatch.view`."""
        return self.items_watch.view(self.current_group.membership)

    @property
    def faults(self) -> Mapping[str, int]:
        """Requests for labels, and labels, that were refused, by name."""
        return self.labels.faults

    @property
    def skipped_rows(self) -> int:
        """Rows of the data files that were left out."""
        workload = self.learning.workload
        return workload.skipped_rows if isinstance(workload, Remarking) else 0

    def songs(self) -> SongsNow:
        """See `Node.songs`."""
        session = self.current_group.current.session
        return SongsNow(self.learning.workload, session.model(), session.charter)
