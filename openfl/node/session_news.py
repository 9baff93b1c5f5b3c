"""`SessionNews`: what a node does about the news of its session, beside telling its owner."""

from __future__ import annotations

from openfl.group import events as ev
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.group_finder import GroupFinder
from openfl.node.items_watch import ItemsWatch
from openfl.node.switcher import Switcher


class SessionNews:
    """Hands each piece of news to the parts that it concerns."""

    def __init__(
        self,
        current_group: CurrentGroup,
        items: ItemsWatch,
        switcher: Switcher,
        finder: GroupFinder,
        log: EventLog,
    ) -> None:
        self._current_group = current_group
        self._items = items
        self._switcher = switcher
        self._finder = finder
        self._log = log

    def tell(self, news: ev.Tell) -> None:
        """Tell the owner, and whatever part of the node it concerns."""
        self._log.tell(news.level, news.kind, news.message, dict(news.data))
        membership = self._current_group.membership
        if membership is not None and news.kind in ("joined", "round"):
            self._items.look(membership)
        if news.kind == "round":
            self._switcher.round_done()
        if news.kind in ("member-joined", "member-left", "member-away", "joined"):
            self._finder.changed()
