"""Whom a node talks to at all, by peer id: pure bookkeeping, asked once a connection is secured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.core.contribution import PeerId

Refusal = Literal["peer-denied", "peer-not-allowed"]


@dataclass(frozen=True, slots=True)
class AccessList:
    """`deny` wins over `allow`; an empty `allow` allows everybody else.

    It decides about connections, not about what a group learns: of a peer that is refused here,
    others may still relay what it signed (openfl.group.admission decides about that).
    """

    allow: frozenset[PeerId] = frozenset()
    deny: frozenset[PeerId] = frozenset()

    def refusal(self, peer_id: PeerId) -> Refusal | None:
        """Why the peer is refused, as a word to be counted; None when it is welcome."""
        if peer_id in self.deny:
            return "peer-denied"
        if self.allow and peer_id not in self.allow:
            return "peer-not-allowed"
        return None


REASONS: dict[Refusal, str] = {
    "peer-denied": "refused by network.deny_peers",
    "peer-not-allowed": "not in network.allow_peers",
}
