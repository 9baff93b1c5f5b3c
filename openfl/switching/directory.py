"""What this node knows of the groups out there: signed cards, bounded and expiring.

A card speaks only for its issuer, who signed it, and anybody can sign one about any group. So what
a card says is a hint, and how much of a hint depends on what *this node* has seen of its issuer
(`Standing`): nothing; that it is connected now and subscribes to the group's topic; that it is a
member, for something it signed was in a snapshot of the group that this node fetched. Then:

- *What a group is like* is told by the cards of the best standing alone, by the median of what they
  claim. No identity counts twice, and none of lower standing counts beside a higher one.
- *Which cards of a group are kept*: half of the places are for those of the best standing and known
  for longest, the others for the latest. New identities push out each other.
- *Which groups are kept* when there are too many: those of the best standing, then those with an
  issuer that speaks for few groups (an honest node is in one; a flood comes from those that speak
  for many), then those known for longest. A group that nobody renewed for a while goes before.

Standing is never taken from a card, and never passed on. What nobody renews is forgotten.

Cards travel with their age (how long ago their issuer was last known to have issued them, added up
along the way), so that no clock is ever compared with another peer's.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from openfl.core.contribution import Charter, GroupCard, GroupId, PeerId
from openfl.core.names import normal

MAX_BYTES = 8 << 20
"""Of all envelopes together: a card may have 64 KiB, and has about one."""
MAX_FETCHED = 64
"""Groups of which it is remembered whose contributions were fetched."""
MAX_AUTHORS = 1024
"""Of one of these groups."""
REFUSING_SECONDS = 1.0
STALE_SECONDS = 150.0
"""A group that lives renews its cards more often (`cards.LONGEST_CARD_SECONDS`)."""


class Standing(IntEnum):
    """What this node has seen of the issuer of a card itself; the higher, the more it counts."""

    UNKNOWN = 0
    AT_HAND = 1
    """Connected, and subscribed to the topic of the group it tells of."""
    MEMBER = 2
    """A contribution that it signed was in a snapshot of the group."""
    MEMBER_AT_HAND = 3
    MYSELF = 4


@dataclass(frozen=True, slots=True)
class KnownCard:
    """A card, the signed envelope it came in, and when it was issued on our own clock. since: when
    the first card of its issuer about this group came."""

    card: GroupCard
    envelope: bytes
    issued: float
    since: float = 0.0

    def age(self, now: float) -> float:
        """Seconds since it was issued, on our own clock; never negative."""
        return max(0.0, now - self.issued)


def nobody_at_hand(group_id: GroupId) -> Collection[PeerId]:
    """No network to look at."""
    return ()


class Directory:
    """Cards by group and issuer. `me`: this node. `at_hand(group)`: connected peers that subscribe
    to the group's topic, now."""

    def __init__(
        self,
        max_groups: int = 512,
        max_issuers: int = 8,
        max_groups_per_issuer: int = 16,
        time_to_live_seconds: float = 300.0,
        *,
        me: PeerId | None = None,
        at_hand: Callable[[GroupId], Collection[PeerId]] = nobody_at_hand,
    ) -> None:
        self._max_groups = max_groups
        self._max_issuers = max_issuers
        self._max_groups_per_issuer = max_groups_per_issuer
        self._time_to_live = time_to_live_seconds
        self._me = me
        self._at_hand = at_hand
        self._groups: dict[GroupId, dict[PeerId, KnownCard]] = {}
        self._speaks_for: Counter[PeerId] = Counter()
        """Issuer -> groups that a card of it is kept of."""
        self._bytes = 0
        self._next_expiry = math.inf
        """Before that nothing expires."""
        self._refused: tuple[float, tuple[float, ...]] | None = None
        """(until when, groups of what worth) there is no room for."""
        self._fetched: OrderedDict[GroupId, frozenset[PeerId]] = OrderedDict()

    # --- taking in --------------------------------------------------------------------------------

    def add(self, card: GroupCard, envelope: bytes, now: float, age: float = 0.0) -> bool:
        """Take in a card whose signature was verified; True when it is news."""
        self.expire(now)
        known = KnownCard(card, envelope, now - max(0.0, age), now)
        if known.age(now) > self._time_to_live:
            return False
        group_id, issuer = card.charter.group_id, card.issuer
        cards = self._groups.get(group_id, {})
        older = cards.get(issuer)
        if older is not None:
            if older.card.issued_at >= card.issued_at:
                return False
            known = replace(known, since=older.since)
        elif self._speaks_for[issuer] >= self._max_groups_per_issuer:
            return False
        if cards:  # of one group there is one charter, however many tell of it
            charter = next(iter(cards.values())).card.charter
            known = replace(known, card=replace(card, charter=charter))
        elif not self._has_room(known, now):
            return False
        self._put(group_id, known)
        self._keep_few(group_id, now)
        while self._bytes > MAX_BYTES:
            self._drop(self._least(now))
        return True

    def fetched(self, group_id: GroupId, authors: Iterable[PeerId]) -> None:
        """Contributions that these peers signed were in a snapshot of the group."""
        self._fetched.pop(group_id, None)
        self._fetched[group_id] = frozenset(sorted(authors)[:MAX_AUTHORS])
        while len(self._fetched) > MAX_FETCHED:
            self._fetched.popitem(last=False)

    def forget(self, group_id: GroupId, issuer: PeerId) -> None:
        """Drop one issuer's card of a group."""
        cards = self._groups.get(group_id, {})
        known = cards.pop(issuer, None)
        if known is not None:
            self._bytes -= len(known.envelope)
            self._speaks_for[issuer] -= 1
            if not self._speaks_for[issuer]:
                del self._speaks_for[issuer]
        if not cards:
            self._groups.pop(group_id, None)

    def expire(self, now: float) -> None:
        """Forget what was not renewed within the time to live."""
        if now < self._next_expiry:  # asked for each card that is heard, with hundreds kept
            return
        for group_id, cards in list(self._groups.items()):
            for issuer, known in list(cards.items()):
                if known.age(now) > self._time_to_live:
                    self.forget(group_id, issuer)
        oldest = min((known.issued for known in self.all_cards()), default=math.inf)
        self._next_expiry = oldest + self._time_to_live

    # --- what is known ----------------------------------------------------------------------------

    def listed(self, now: float) -> tuple[KnownCard, ...]:
        """The card that describes each group, by name, then id."""
        self.expire(now)
        cards = [self._describing(group_id) for group_id in self._groups]
        return tuple(sorted(cards, key=lambda k: (k.card.charter.name, k.card.charter.group_id)))

    def by_worth(self, now: float) -> tuple[KnownCard, ...]:
        """As `listed`; the groups that would make room last come first."""
        self.expire(now)
        order = sorted(self._groups, key=lambda group_id: self._worth(group_id, now), reverse=True)
        return tuple(self._describing(group_id) for group_id in order)

    def find(self, reference: str, now: float) -> tuple[KnownCard, ...]:
        """Groups with this name, or whose id starts with `reference` (at least 4 characters)."""
        known, name = self.listed(now), normal(reference)
        named = tuple(k for k in known if k.card.charter.name in (name, reference))
        if named or len(reference) < 4:
            return named
        return tuple(k for k in known if k.card.charter.group_id.startswith(reference.lower()))

    def all_cards(self) -> Iterator[KnownCard]:
        """Of all groups, in no particular order."""
        for cards in self._groups.values():
            yield from cards.values()

    def charter(self, group_id: GroupId, now: float) -> Charter | None:
        """Of exactly this group; None when no card tells of it. Names do not count: a group may be
        called what another's id is."""
        self.expire(now)
        cards = self._groups.get(group_id, {})
        return next((known.card.charter for known in cards.values()), None)

    def issuers(self, group_id: GroupId) -> list[PeerId]:
        """Who signed the cards of this group that are kept, latest first."""
        cards = self._groups.get(group_id, {})
        return sorted(cards, key=lambda issuer: (-cards[issuer].issued, issuer))

    def standing(self, group_id: GroupId) -> Standing:
        """The best standing of those who tell of this group."""
        cards = self._groups.get(group_id, {})
        at_hand = self._at_hand(group_id)
        return max((self._standing(group_id, i, at_hand) for i in cards), default=Standing.UNKNOWN)

    # --- inside -----------------------------------------------------------------------------------

    def _standing(self, group_id: GroupId, issuer: PeerId, at_hand: Collection[PeerId]) -> Standing:
        if issuer == self._me:
            return Standing.MYSELF
        member = issuer in self._fetched.get(group_id, ())
        return Standing(2 * member + (issuer in at_hand))

    def _describing(self, group_id: GroupId) -> KnownCard:
        """The median claim among the cards of the best standing. Of two in the middle, that of the
        issuer that has been known for longer: whoever comes to contradict it is one against one."""
        cards, at_hand = self._groups[group_id], self._at_hand(group_id)
        best = max(self._standing(group_id, issuer, at_hand) for issuer in cards)
        heard = [k for i, k in cards.items() if self._standing(group_id, i, at_hand) == best]
        heard.sort(key=lambda k: (k.card.members, k.since, k.card.issuer))
        middle = heard[(len(heard) - 1) // 2 : len(heard) // 2 + 1]
        return min(middle, key=lambda k: (k.since, -k.issued, k.card.issuer))

    def _worth(self, group_id: GroupId, now: float) -> tuple[float, ...]:
        """The group of the least worth makes room."""
        cards = self._groups[group_id].values()
        return (
            self.standing(group_id),
            now - max(known.issued for known in cards) <= STALE_SECONDS,
            -min(self._speaks_for[known.card.issuer] for known in cards),
            -min(known.since for known in cards),
        )

    def _least(self, now: float) -> GroupId:
        return min(self._groups, key=lambda group_id: (*self._worth(group_id, now), group_id))

    def _has_room(self, known: KnownCard, now: float) -> bool:
        """Whether there is a place for one more group; the one of the least worth makes it, if that
        is less than the new one's."""
        if len(self._groups) < self._max_groups:
            return True
        group_id, issuer = known.card.charter.group_id, known.card.issuer
        worth = (
            self._standing(group_id, issuer, self._at_hand(group_id)),
            known.age(now) <= STALE_SECONDS,
            -(self._speaks_for[issuer] + 1),
            -known.since,
        )
        if self._refused is not None and now < self._refused[0] and worth <= self._refused[1]:
            return False  # a flood shall not cost a look at all groups for each of its cards
        least = self._least(now)
        if self._worth(least, now) >= worth:
            self._refused = (now + REFUSING_SECONDS, worth)
            return False
        self._drop(least)
        return True

    def _put(self, group_id: GroupId, known: KnownCard) -> None:
        self.forget(group_id, known.card.issuer)
        self._groups.setdefault(group_id, {})[known.card.issuer] = known
        self._speaks_for[known.card.issuer] += 1
        self._bytes += len(known.envelope)
        self._next_expiry = min(self._next_expiry, known.issued + self._time_to_live)

    def _drop(self, group_id: GroupId) -> None:
        for issuer in list(self._groups[group_id]):
            self.forget(group_id, issuer)

    def _keep_few(self, group_id: GroupId, now: float) -> None:
        """See the module's text: half of the places are safe from newcomers."""
        cards = self._groups[group_id]
        if len(cards) <= self._max_issuers:
            return
        at_hand = self._at_hand(group_id)

        def order(issuer: PeerId) -> tuple[float, ...]:
            fresh = cards[issuer].age(now) <= STALE_SECONDS
            return (self._standing(group_id, issuer, at_hand), fresh, -cards[issuer].since)

        safe = sorted(cards, key=order, reverse=True)[: self._max_issuers // 2]
        others = [issuer for issuer in cards if issuer not in safe]
        others.sort(key=lambda i: (self._standing(group_id, i, at_hand), cards[i].issued))
        self.forget(group_id, others[0])
