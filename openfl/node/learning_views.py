"""`LearningViews`: what a node learns from, what it would know alone, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.core.contribution import Charter
from openfl.core.errors import GroupError
from openfl.core.telemetry import ItemsView, PrivacyView
from openfl.learning.central import SoloResult
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.factorization.similar import SimilarSongs
from openfl.learning.factorization.wishes import NO_WISHES, Wishes
from openfl.learning.workload import KnowsSongs, Remarking
from openfl.node.current_group import CurrentGroup
from openfl.node.items_watch import ItemsWatch
from openfl.node.parts import Learning
from openfl.node.solo import SoloTraining


@dataclass(frozen=True, slots=True)
class LearningViews:
    """Looks at the parts of a node that know of its data."""

    current_group: CurrentGroup
    learning: Learning
    solo: SoloTraining
    items_watch: ItemsWatch

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
    def skipped_rows(self) -> int:
        """Rows of the data files that were left out."""
        workload = self.learning.workload
        return workload.skipped_rows if isinstance(workload, Remarking) else 0

    def recommend(self, user: str, top: int, wishes: Wishes = NO_WISHES) -> Recommendations:
        """See `Node.recommend`."""
        session = self.current_group.current.session
        if wishes == NO_WISHES:
            return self.learning.workload.recommend(session.model(), session.charter, user, top)
        songs = self._songs(session.charter)
        return songs.recommend_by(session.model(), session.charter, user, top, wishes)

    def similar(self, song: str, top: int) -> SimilarSongs:
        """See `Node.similar`."""
        session = self.current_group.current.session
        songs = self._songs(session.charter)
        return songs.similar(session.model(), session.charter, song, top)

    def _songs(self, charter: Charter) -> KnowsSongs:
        workload = self.learning.workload
        if not isinstance(workload, KnowsSongs):
            raise GroupError(f'group "{charter.name}" learns "{charter.task}": it has no songs')
        return workload
