"""`LazyPush`: whom to send a message at once, whom to tell that it is there, whom to ask for it.

A mesh in which everybody passes on all it hears brings each message as often as a peer has
neighbours. Here a message travels along links that have proved needed; over the others only its
id does (IHAVE), and whoever lacks it asks for it once (IWANT). The messages are those of
GossipSub 1.1, so a peer that knows nothing of this takes part as in any mesh.

After Plumtree (Leitao, Pereira, Rodrigues: Epidemic Broadcast Trees, SRDS 2007), which keeps one
tree for all authors and two messages of its own to shape it. What differs:

- Authors push to the peers they are connected to, so in a small group every link of an author
  ends with a receiver and nobody passes anything on. Hence one tree an author.
- A peer becomes a child for an author when it has asked for `ASKED_TO_PUSH` of its messages in a
  row. It ceases to be one when it announces what was pushed to it: it has it from elsewhere.
- Announcements that nobody wanted become rarer, down to one in `RAREST`: what they are for then,
  that a link elsewhere broke, concerns all later messages, too. Whoever asks is told of all again.
- A peer that asks waits first, when the author itself uses to send to it. How long, and how long
  for an answer, goes by how long it took so far (as RFC 6298 has it for retransmissions): asking
  again what is only slow makes a busy machine busier.

Loss is repaired above, by version vectors: nothing here is complete, only cheap.

Rules of this file: no I/O, no clock, no randomness but the rng it is given. Peers are anything
hashable; `now` is any clock that never runs backwards, in seconds.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field

PUSHED_BY_AUTHOR = 16
"""Peers that an author sends to at once, its mesh among them."""
ASKED_TO_PUSH = 2
RAREST = 8
URGENT_SECONDS = 0.25
"""Announcements that may be wanted wait as long for others to the same peer."""
PATIENT_SECONDS = 1.0
"""The others wait as long."""
DIRECT_SECONDS = 30.0
"""An author whose message came straight from it within this time is expected to send the next."""
HUNGRY_SECONDS = 10.0
"""Whoever asked for a message within this time is told of all: it loses some."""
DIRECT_PATIENCE_SECONDS = 1.0
ANSWER_SECONDS = 1.0
"""After which another peer is asked for the same message."""
LONGEST_WAIT_SECONDS = 10.0
"""Of either, however long it took so far."""
MAX_ASKED = 3
"""Peers asked for one message, before it is left to the repair above."""
GOSSIP_TO = 3
"""Subscribers outside the mesh that are told of recent messages at each heartbeat."""
GOSSIP_SECONDS = 3.0
MAX_SENT = 3
"""Copies of one message that one peer gets for the asking."""
RECENT_SECONDS = 15.0
MAX_RECENT = 4096
MAX_PULLS = 4096
MAX_AUTHORS = 4096


@dataclass(slots=True)
class _Recent:
    """A message this peer has. holders: who has it, too, by what is known here."""

    author: Hashable
    topic: str
    at: float
    first_from: Hashable
    holders: set[Hashable]
    announced_at: float | None
    sent: dict[Hashable, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Pull:
    """A message that was announced and is not here."""

    sources: list[Hashable]
    announced_at: float
    next_try: float
    asked: list[Hashable] = field(default_factory=list)
    asked_at: float = 0.0


class _Wait:
    """How long to wait for something: what it took so far, and four times how much that varies."""

    def __init__(self, shortest: float) -> None:
        self._shortest = shortest
        self._mean = 0.0
        self._deviation = 0.0

    def took(self, seconds: float) -> None:
        self._deviation += 0.25 * (abs(seconds - self._mean) - self._deviation)
        self._mean += 0.125 * (seconds - self._mean)

    @property
    def seconds(self) -> float:
        return min(max(self._shortest, self._mean + 4 * self._deviation), LONGEST_WAIT_SECONDS)


@dataclass(slots=True)
class _Link:
    """What came of announcing one author's messages to one peer. offered_at: since when it has not
    asked for anything that it was told of."""

    unwanted: int = 0
    wanted: int = 0
    child: bool = False
    offered_at: float | None = None

    def offered(self, now: float, wait: float) -> None:
        """It is told of a message; whoever asks does so within `wait` seconds."""
        if self.offered_at is not None and now - self.offered_at < wait:
            return
        if self.offered_at is not None:
            self.unwanted += 1
            self.wanted = 0  # not in a row
        self.offered_at = now

    def asked(self) -> None:
        """It wants a message that it was told of."""
        self.offered_at = None
        self.unwanted = 0
        self.wanted += 1
        self.child = self.child or self.wanted >= ASKED_TO_PUSH


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now. announce: peer -> topic -> ids. ask: peer -> ids."""

    announce: dict[Hashable, dict[str, list[bytes]]]
    ask: dict[Hashable, list[bytes]]


class LazyPush:
    """`me`: this peer. `rng` spreads what is announced rarely."""

    def __init__(self, me: Hashable, rng: random.Random) -> None:
        """Knows nothing yet, and so announces everything."""
        self._me = me
        self._rng = rng
        self._recent: OrderedDict[bytes, _Recent] = OrderedDict()
        self._links: OrderedDict[Hashable, dict[Hashable, _Link]] = OrderedDict()
        """author -> peer -> link."""
        self._direct: OrderedDict[Hashable, float] = OrderedDict()
        self._pulls: OrderedDict[bytes, _Pull] = OrderedDict()
        self._waiting: dict[Hashable, dict[bytes, bool]] = {}
        """peer -> id -> whether it is said because the peer sent it needlessly."""
        self._due_at: dict[Hashable, float] = {}
        self._order: dict[Hashable, float] = {}
        self._asked_at: dict[Hashable, float] = {}
        self._arriving: tuple[bytes, _Pull | None] = (b"", None)
        """The latest to arrive, and what was known of it before."""
        self._direct_wait = _Wait(DIRECT_PATIENCE_SECONDS)
        self._answer_wait = _Wait(ANSWER_SECONDS)

    # --- messages that are here -------------------------------------------------------------------

    def publish(
        self,
        message_id: bytes,
        topic: str,
        mesh: Collection[Hashable],
        subscribers: Collection[Hashable],
        now: float,
    ) -> list[Hashable]:
        """Whom to send one's own message: the mesh, then other subscribers, `PUSHED_BY_AUTHOR` in
        all."""
        recent = self._remember(message_id, self._me, topic, self._me, now)
        push = list(mesh)
        if len(push) < PUSHED_BY_AUTHOR:
            others = [peer for peer in subscribers if peer not in mesh]
            others.sort(key=self._place)  # the same ones each time
            push += others[: PUSHED_BY_AUTHOR - len(push)]
        self._sent(recent, push)
        return push

    def forward(
        self,
        message_id: bytes,
        author: Hashable,
        sender: Hashable,
        topic: str,
        mesh: Collection[Hashable],
        subscribers: Collection[Hashable],
        now: float,
    ) -> list[Hashable]:
        """Whom to send a message that just came from `sender`; others of the mesh are told later,
        see `due`."""
        recent = self._remember(message_id, author, topic, sender, now)
        if sender == author:
            self._came_straight(author, now, recent.announced_at)
        push = [
            peer
            for peer, link in self._links_of(author).items()
            if link.child and peer in subscribers and peer not in recent.holders
        ]
        self._sent(recent, push)
        for peer in mesh:
            self._offer(peer, message_id, recent, now)
        return push

    def arrived(self, message_id: bytes, sender: Hashable, now: float) -> None:
        """It is here, whatever becomes of it: nobody is asked for it any more."""
        pull = self._pulls.pop(message_id, None)
        self._arriving = (message_id, pull)
        if pull is not None and pull.asked == [sender]:
            # Of several asked, nobody knows whose answer it is.
            self._answer_wait.took(now - pull.asked_at)

    def arrived_again(
        self, message_id: bytes, author: Hashable, sender: Hashable, now: float
    ) -> None:
        """A copy of what is here: whoever need not have sent it is told that it is here."""
        recent = self._recent.get(message_id)
        if recent is None:
            return
        recent.holders.add(sender)
        needless = sender
        if sender == author:
            # The author sends it anyway; whoever was quicker this once need not go on.
            self._came_straight(author, now, recent.announced_at)
            needless = recent.first_from
        if needless not in (author, self._me):
            self._say_later(needless, message_id, now + URGENT_SECONDS, needless=True)

    def heartbeat(
        self, topic: str, others: Collection[Hashable], now: float, seconds: float = GOSSIP_SECONDS
    ) -> None:
        """Tell some of the subscribers outside the mesh of what came within the last `seconds`."""
        chosen = list(others)
        if len(chosen) > GOSSIP_TO:
            chosen = self._rng.sample(chosen, GOSSIP_TO)
        for message_id, recent in self._recent.items():
            if recent.topic == topic and recent.at > now - seconds:
                for peer in chosen:
                    self._offer(peer, message_id, recent, now)

    # --- what others say --------------------------------------------------------------------------

    def announced(
        self, peer: Hashable, message_id: bytes, author: Hashable, seen: bool, now: float
    ) -> None:
        """`peer` has a message; `seen`: so has this peer."""
        if seen:
            recent = self._recent.get(message_id)
            if recent is not None:
                if peer in recent.sent and recent.author != self._me:
                    # It has from elsewhere what was pushed to it.
                    link = self._link(recent.author, peer)
                    link.child = False
                    link.wanted = 0
                recent.holders.add(peer)
            return
        pull = self._pulls.get(message_id)
        if pull is None:
            patience = 0.0
            if now - self._direct.get(author, float("-inf")) < DIRECT_SECONDS:
                patience = self._direct_wait.seconds
            self._pulls[message_id] = _Pull([peer], now, now + patience)
            while len(self._pulls) > MAX_PULLS:
                self._pulls.popitem(last=False)
        elif peer not in pull.sources and len(pull.sources) < 2 * MAX_ASKED:
            pull.sources.append(peer)

    def wanted(self, peer: Hashable, message_ids: Iterable[bytes], now: float) -> list[bytes]:
        """Those of the ids asked for that are to be sent: here, and not sent too often."""
        send = []
        for message_id in dict.fromkeys(message_ids):
            recent = self._recent.get(message_id)
            if recent is None or recent.sent.get(peer, 0) >= MAX_SENT:
                continue
            self._asked_at[peer] = now
            if recent.author != self._me:
                self._link(recent.author, peer).asked()
            send.append(message_id)
            self._sent(recent, [peer])
        return send

    def gone(self, peer: Hashable) -> None:
        """The connection to `peer` is closed."""
        self._waiting.pop(peer, None)
        self._due_at.pop(peer, None)
        self._direct.pop(peer, None)
        self._order.pop(peer, None)
        self._asked_at.pop(peer, None)
        for links in self._links.values():
            links.pop(peer, None)

    # --- time -------------------------------------------------------------------------------------

    @property
    def next_wake(self) -> float:
        """When something is `due`; infinity: nothing is."""
        times = list(self._due_at.values())
        times += [pull.next_try for pull in self._pulls.values()]
        return min(times, default=float("inf"))

    def due(self, now: float) -> Due:
        """What is to be announced and asked for now; it counts as done."""
        announce: dict[Hashable, dict[str, list[bytes]]] = {}
        for peer in [peer for peer, at in self._due_at.items() if at <= now]:
            del self._due_at[peer]
            for message_id, needless in self._waiting.pop(peer).items():
                recent = self._recent.get(message_id)
                if recent is None or (peer in recent.holders and not needless):
                    continue
                announce.setdefault(peer, {}).setdefault(recent.topic, []).append(message_id)
                if not needless and recent.author != self._me:
                    wait = self._answer_wait.seconds
                    self._link(recent.author, peer).offered(now, wait)
        ask: dict[Hashable, list[bytes]] = {}
        for message_id, pull in list(self._pulls.items()):
            if pull.next_try > now:
                continue
            source = next((s for s in pull.sources if s not in pull.asked), None)
            if source is None or len(pull.asked) >= MAX_ASKED:
                del self._pulls[message_id]
                continue
            pull.asked.append(source)
            pull.asked_at = now
            pull.next_try = now + self._answer_wait.seconds
            ask.setdefault(source, []).append(message_id)
        return Due(announce, ask)

    # --- inside -----------------------------------------------------------------------------------

    def _remember(
        self, message_id: bytes, author: Hashable, topic: str, sender: Hashable, now: float
    ) -> _Recent:
        arriving, pull = self._arriving
        announced_at = None
        if arriving == message_id and pull is not None and author not in pull.asked:
            announced_at = pull.announced_at  # what it took is not of our own waiting
        while self._recent:
            oldest = next(iter(self._recent.values()))
            if oldest.at > now - RECENT_SECONDS and len(self._recent) < MAX_RECENT:
                break
            self._recent.popitem(last=False)
        recent = _Recent(author, topic, now, sender, {author, sender}, announced_at)
        self._recent[message_id] = recent
        return recent

    def _came_straight(self, author: Hashable, now: float, announced_at: float | None) -> None:
        if announced_at is not None:
            self._direct_wait.took(now - announced_at)
        self._direct[author] = now
        self._direct.move_to_end(author)
        while len(self._direct) > MAX_AUTHORS:
            self._direct.popitem(last=False)

    def _sent(self, recent: _Recent, peers: Iterable[Hashable]) -> None:
        for peer in peers:
            recent.sent[peer] = recent.sent.get(peer, 0) + 1
            recent.holders.add(peer)

    def _links_of(self, author: Hashable) -> dict[Hashable, _Link]:
        links = self._links.setdefault(author, {})
        self._links.move_to_end(author)
        if len(self._links) > MAX_AUTHORS:
            self._links.popitem(last=False)
        return links

    def _link(self, author: Hashable, peer: Hashable) -> _Link:
        return self._links_of(author).setdefault(peer, _Link())

    def _place(self, peer: Hashable) -> float:
        return self._order.setdefault(peer, self._rng.random())

    def _offer(self, peer: Hashable, message_id: bytes, recent: _Recent, now: float) -> None:
        if peer in recent.holders:
            return
        unwanted = 0
        hungry = now - self._asked_at.get(peer, float("-inf")) < HUNGRY_SECONDS
        if recent.author != self._me and not hungry:
            unwanted = self._link(recent.author, peer).unwanted
        often = max(1.0 / RAREST, 0.5**unwanted)
        if often < 1.0 and self._rng.random() >= often:
            return
        urgent = often > 1.0 / RAREST
        self._say_later(
            peer, message_id, now + (URGENT_SECONDS if urgent else PATIENT_SECONDS), needless=False
        )

    def _say_later(self, peer: Hashable, message_id: bytes, at: float, *, needless: bool) -> None:
        ids = self._waiting.setdefault(peer, {})
        ids[message_id] = needless or ids.get(message_id, False)
        self._due_at[peer] = min(at, self._due_at.get(peer, at))
