"""`ItemsWatch`: how many of this node's items its group knows, and telling the owner."""

from __future__ import annotations

from dataclasses import asdict

from openfl.core.contribution import PeerId
from openfl.core.telemetry import ItemsView
from openfl.learning.task import NamesItems
from openfl.node.event_log import EventLog
from openfl.node.membership import Membership

KIND = "items-known"


class ItemsWatch:
    """Counts keys whenever it is asked to look; tells once for each group, and again when that
    changes between none and some."""

    def __init__(self, me: PeerId, log: EventLog) -> None:
        self._me = me
        self._log = log
        self._looked_at: Membership | None = None
        self._generation = -1
        self._view: ItemsView | None = None
        self._told_none: bool | None = None

    def view(self, membership: Membership | None) -> ItemsView | None:
        """As at the last look; None while no other member has told any item, or the task of this
        membership names none."""
        return self._view if membership is self._looked_at else None

    def look(self, membership: Membership) -> None:
        """Count anew when the group has changed, and tell the owner when that is news."""
        replica, task = membership.session.replica, membership.trainer.task
        if membership is not self._looked_at:
            self._looked_at, self._generation, self._view = membership, -1, None
            self._told_none = None
        if not isinstance(task, NamesItems) or replica.generation == self._generation:
            return
        self._generation = replica.generation
        mine = task.own_items
        others = replica.keys_beside(self._me, mine.table)
        if not len(others):
            self._view = None
            return
        known = mine.among(others)
        self._view = ItemsView(mine.noun, len(mine.keys), known, len(others))
        if self._told_none is (known == 0):
            return
        self._told_none = known == 0
        words, found = mine.spelling(others) if 2 * known < len(mine.keys) else ("", 0)
        self._tell(self._view, words, found if found > known else 0)

    def _tell(self, view: ItemsView, words: str, found: int) -> None:
        text = view.text
        if found:
            text += f" ({found:,} would be, written {words})"
        odd = found or not view.known
        data = {name: value for name, value in asdict(view).items() if name != "named"}
        self._log.tell("warning" if odd else "info", KIND, text, data)
