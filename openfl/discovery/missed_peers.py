"""Who was here and is gone: the peers that a node looks out for until they are back.

Without a word nobody knows whether a peer is off, or on the other side of a network that fell
apart. Each side of such a network may hold as many members as a node wants, so that nobody would
ever search for the others. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Set

from openfl.core.contribution import PeerId

MISSED_SECONDS = 3600.0
"""How long a peer that was here is missed. Later it is one address among others."""
MAX_MISSED = 64


class MissedPeers:
    """`always`: bootstrap peers, missed from the first look on whether they were here or not."""

    def __init__(self, always: Set[PeerId]) -> None:
        self._always = frozenset(always)
        self._since: dict[PeerId, float] = {}
        self._present: frozenset[PeerId] = frozenset()

    def look(self, connected: Set[PeerId], members: Set[PeerId], now: float) -> None:
        """Note who is here now. `members`: those of them that are in the group."""
        for peer in (self._present | self._always) - connected:
            self._since.setdefault(peer, now)
        for peer, since in list(self._since.items()):
            if peer in connected or (peer not in self._always and now - since > MISSED_SECONDS):
                del self._since[peer]
        others = [peer for peer in self._since if peer not in self._always]
        for peer in sorted(others, key=lambda peer: self._since[peer])[:-MAX_MISSED]:
            del self._since[peer]
        self._present = frozenset(members)

    def missed(self, now: float) -> frozenset[PeerId]:
        """Those that may be back any moment."""
        return frozenset(p for p, since in self._since.items() if now - since <= MISSED_SECONDS)
