"""What this node knows of the groups out there: signed cards, bounded and expiring.

A card speaks only for its issuer, who signed it. Of each group the latest card of a few issuers is
kept; the freshest one describes the group. What nobody renews is forgotten. When a bound is
reached, the group whose cards were renewed longest ago makes room, so that a flood of new groups
cannot push out those that are alive.

Cards travel with their age (how long ago their issuer was last known to have issued them, added up
along the way), so that no clock is ever compared with another peer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openfl.contribution import GroupCard, GroupId, PeerId


@dataclass(frozen=True, slots=True)
class KnownCard:
    """A card, the signed envelope it came in, and when it was issued on our own clock."""

    card: GroupCard
    envelope: bytes
    issued: float

    def age(self, now: float) -> float:
        return max(0.0, now - self.issued)


class Directory:
    """Cards by group and issuer."""

    def __init__(
        self,
        max_groups: int = 512,
        max_issuers: int = 4,
        max_groups_per_issuer: int = 16,
        time_to_live_seconds: float = 300.0,
    ) -> None:
        self._max_groups = max_groups
        self._max_issuers = max_issuers
        self._max_groups_per_issuer = max_groups_per_issuer
        self._time_to_live = time_to_live_seconds
        self._groups: dict[GroupId, dict[PeerId, KnownCard]] = {}

    def add(self, card: GroupCard, envelope: bytes, now: float, age: float = 0.0) -> bool:
        """Take in a card whose signature was verified; True when it is news."""
        self.expire(now)
        known = KnownCard(card, envelope, now - max(0.0, age))
        if known.age(now) > self._time_to_live:
            return False
        group_id = card.charter.group_id
        cards = self._groups.get(group_id, {})
        older = cards.get(card.issuer)
        if older is not None and older.card.issued_at >= card.issued_at:
            return False
        if older is None and not self._has_room(card.issuer):
            return False
        if group_id not in self._groups:
            if len(self._groups) >= self._max_groups:
                stalest = min(self._groups, key=self._freshest_issue)
                if self._freshest_issue(stalest) >= known.issued:
                    return False
                del self._groups[stalest]
            self._groups[group_id] = cards
        cards[card.issuer] = known
        if len(cards) > self._max_issuers:
            del cards[min(cards, key=lambda issuer: cards[issuer].issued)]
        return True

    def forget(self, group_id: GroupId, issuer: PeerId) -> None:
        """Drop one issuer's card of a group."""
        cards = self._groups.get(group_id, {})
        cards.pop(issuer, None)
        if not cards:
            self._groups.pop(group_id, None)

    def expire(self, now: float) -> None:
        """Forget what was not renewed within the time to live."""
        for group_id, cards in list(self._groups.items()):
            for issuer, known in list(cards.items()):
                if known.age(now) > self._time_to_live:
                    del cards[issuer]
            if not cards:
                del self._groups[group_id]

    def freshest(self, now: float) -> tuple[KnownCard, ...]:
        """The freshest card of each group, by name, then id."""
        self.expire(now)
        best = [max(cards.values(), key=lambda k: k.issued) for cards in self._groups.values()]
        return tuple(sorted(best, key=lambda k: (k.card.charter.name, k.card.charter.group_id)))

    def find(self, reference: str, now: float) -> tuple[KnownCard, ...]:
        """Groups with this name, or whose id starts with `reference` (at least 4 characters)."""
        known = self.freshest(now)
        named = tuple(k for k in known if k.card.charter.name == reference)
        if named or len(reference) < 4:
            return named
        return tuple(k for k in known if k.card.charter.group_id.startswith(reference.lower()))

    def all_cards(self) -> Iterator[KnownCard]:
        for cards in self._groups.values():
            yield from cards.values()

    def _has_room(self, issuer: PeerId) -> bool:
        issued = sum(issuer in cards for cards in self._groups.values())
        return issued < self._max_groups_per_issuer

    def _freshest_issue(self, group_id: GroupId) -> float:
        return max(known.issued for known in self._groups[group_id].values())
