"""`Chooser`: what one simulated node knows of other groups, and the look around under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openfl.core.contribution import Charter, GroupId, PeerId
from openfl.group.session import GroupSession
from openfl.learning.comparison import Comparison
from openfl.switching.cards import GroupCards
from openfl.switching.directory import KnownCard
from openfl.switching.policy import Candidate, Finding, Here, Look, Selector
from openfl.switching.probe import Probe, Probes

MAX_ASKED = 3
"""Members of a group that are asked for its snapshot, one after the other, before it counts as out
of reach."""


@dataclass
class LookUnderWay:
    """waiting: groups still to be probed. members: of the group being probed, still to be asked."""

    look: Look
    waiting: deque[Candidate]
    candidate: Candidate | None = None
    probe: Probe | None = None
    members: deque[PeerId] = field(default_factory=deque)
    findings: list[Finding] = field(default_factory=list)
    unreached: list[GroupId] = field(default_factory=list)
    alone: Comparison | None = None


@dataclass
class Chooser:
    """probe_bytes: of requests and answers, directory_sent and directory_heard: of cards."""

    index: int
    selector: Selector
    probes: Probes
    cards: GroupCards
    look: LookUnderWay | None = None
    probe_bytes: int = 0
    directory_sent: int = 0
    directory_heard: int = 0
    moves: int = 0
    founded: int = 0

    def here(self, session: GroupSession) -> Here:
        """Where the node is."""
        charter = session.charter
        return Here(charter.group_id, charter.name, max(1, session.replica.member_count))

    def candidates(self, now: float) -> dict[GroupId, tuple[Candidate, Charter]]:
        """The groups that the node knows of."""
        found = {}
        for known in self.cards.known(now):
            card = known.card
            group_id = card.charter.group_id
            found[group_id] = Candidate(group_id, card.charter.name, card.members), card.charter
        return found

    def issuers(self, group_id: GroupId) -> list[PeerId]:
        """Who has told of this group, the latest first."""
        cards: list[KnownCard] = [
            known
            for known in self.cards.directory.all_cards()
            if known.card.charter.group_id == group_id
        ]
        cards.sort(key=lambda known: (-known.issued, known.card.issuer))
        return [known.card.issuer for known in cards]


def whom_to_ask(
    issuers: Sequence[PeerId], others: Sequence[PeerId], me: PeerId, rng: np.random.Generator
) -> deque[PeerId]:
    """Up to `MAX_ASKED` peers: one that told of the group, then any of its members."""
    first = [peer for peer in issuers[:1] if peer != me]
    rest = [peer for peer in others if peer != me and peer not in first]
    picked = rng.permutation(len(rest))[: MAX_ASKED - len(first)]
    return deque([*first, *(rest[n] for n in picked.tolist())])
