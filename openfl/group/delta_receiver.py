"""`DeltaReceiver`: verifies what others say and takes it into the replica, the roster and the
missing deltas.

Order of checks, cheapest first: size and form (decoding), group, signature and author, charter,
then the replica's own rules. What is wrong by somebody's fault raises a RemoteError and changes
nothing; what is merely old, known or too much for this node is reported as a value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from itertools import islice

from openfl.aggregation.replica import MergeKind, MergeResult, Replica
from openfl.aggregation.version_vector import NOTHING, Version
from openfl.core.contribution import PeerId
from openfl.core.errors import InvalidContribution, InvalidSignature
from openfl.group import events as ev
from openfl.group.checks import Checks
from openfl.group.identity_watch import IdentityWatch
from openfl.group.missing_deltas import MissingDeltas
from openfl.group.roster import Roster
from openfl.group.settled_versions import SettledVersions
from openfl.network.base import Verdict
from openfl.wire import messages as wire

MAX_ANNOUNCED = 1024
SETTLED_SECONDS = 3.0
"""Who lacks what this member has had for less lacks nothing yet: it may be on its way."""
MAX_HEARSAY = 64
"""Members known by the word of others alone."""


class Agreement(Enum):
    """How what a heartbeat says agrees with what this member has. LACKS: its sender lacks
    something that it should have got by now. SAME: the sender has the same and has heard of this
    member lately, so that it says what this one would say. OTHER: neither."""

    LACKS = "lacks"
    SAME = "same"
    OTHER = "other"


class DeltaReceiver:
    """`count(name)` counts what was refused; `merged(author)` is told whose registers changed."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        missing: MissingDeltas,
        checks: Checks,
        identity: IdentityWatch,
        count: Callable[[str], None],
        merged: Callable[[PeerId], None],
    ) -> None:
        self.deltas_merged = 0
        self._replica = replica
        self._roster = roster
        self._missing = missing
        self._sealer = checks.sealer
        self._reader = checks.reader
        self._admission = checks.admission
        self._me = checks.sealer.peer_id
        self._identity = identity
        self._count = count
        self._on_merged = merged
        self._gone: dict[PeerId, int] = {}
        """author -> epoch that it left in, though some member still counts it: to be told."""
        self._changed: dict[PeerId, float] = {}
        """author -> when something of it was last merged; in that order."""
        self._hearsay: set[PeerId] = set()
        self._settled = SettledVersions(SETTLED_SECONDS)
        self._announced: OrderedDict[tuple[PeerId, int, int], bytes] = OrderedDict()
        """(author, epoch, seqno) -> the digest its author signed, until it is pulled."""

    # --- from the topic ---------------------------------------------------------------------------

    def delta(self, envelope: bytes, event: ev.GossipReceived, now: float) -> list[ev.Effect]:
        """A delta in a gossip message; its signer must have published it."""
        author, body = self._sealer.open(wire.DELTA_TYPE, envelope)
        if author != event.author:
            raise InvalidSignature("a delta signed by one member was published by another")
        delta = self._reader.delta(body)
        self._require_group(delta.group_id)
        result, effects = self._merge(author, delta, envelope, now)
        if result.kind is MergeKind.MERGED:
            self._roster.said(author, now, delta.epoch, delta.round, delta.fit)
        version = self._replica.version_of(author)
        if version.epoch == delta.epoch and version.seqno < delta.seqno:
            # Something before it is missing.
            self._missing.notice(
                author, delta.epoch, delta.seqno, event.relayed_by, now, overtaken=True
            )
        else:
            self._missing.close(author, version.epoch, version.seqno)
        if result.kind is MergeKind.MERGED:
            return [ev.Judge(Verdict.ACCEPT), *effects]
        # Known, old, or beyond our own bounds: it may serve others, so nobody is blamed.
        return [ev.Judge(Verdict.IGNORE, result.reason), *effects]

    def leave(self, envelope: bytes, event: ev.GossipReceived, now: float) -> list[ev.Effect]:
        """A tombstone in a gossip message; its signer must have published it."""
        author, body = self._sealer.open(wire.LEAVE_TYPE, envelope)
        if author != event.author:
            raise InvalidSignature("a leave signed by one member was published by another")
        leave = wire.decode_leave(body)
        self._require_group(leave.group_id)
        if not self._merge_leave(author, leave, envelope, now, 0.0):
            return [ev.Judge(Verdict.IGNORE, "stale")]
        text = f"{ev.short(author)} left the group"
        told = ev.Tell("info", "member-left", text, {"peer": author})
        return [ev.Judge(Verdict.ACCEPT), told, ev.Save()]

    def announce(
        self,
        message: wire.Announce,
        event: ev.GossipReceived,
        reachable: frozenset[PeerId],
        now: float,
    ) -> ev.Judge:
        """A delta to be pulled: from its author when we are connected to it."""
        self._heard_from(event.author, now)
        if self._replica.has_heard(event.author, message.epoch, message.seqno):
            return ev.Judge(Verdict.IGNORE, "stale")
        source = event.author if event.author in reachable else event.relayed_by
        self._missing.notice(
            event.author, message.epoch, message.seqno, source, now, announced=True
        )
        self._announced[event.author, message.epoch, message.seqno] = message.digest
        while len(self._announced) > MAX_ANNOUNCED:
            self._announced.popitem(last=False)
        return ev.Judge(Verdict.ACCEPT)

    def heartbeat(self, message: wire.Heartbeat, author: PeerId, now: float) -> Agreement:
        """Note what a member has, and what of that is missing here."""
        self._heard_from(author, now)
        self._roster.said(author, now, message.epoch, message.round, message.fit)
        theirs = {v.author: Version(v.epoch, v.seqno) for v in message.versions}
        if message.seqno:
            theirs[author] = Version(message.epoch, message.seqno)
        own = theirs.get(self._me, NOTHING)
        if 0 < own.seqno < wire.GONE and self._identity.is_beyond(own.epoch, own.seqno):
            # Its word alone proves nothing: ask for what is said to be signed with our key.
            self._missing.notice(self._me, own.epoch, own.seqno, author, now)
        for heard in message.versions:
            self._hear_of(heard.author, heard.epoch, now, heard.age_seconds)
        if message.replica == self._replica.digest():
            return Agreement.SAME if self._is_named(message) else Agreement.OTHER
        for missing, _, version in self._replica.behind(theirs):
            if missing == self._me or not version.seqno:
                continue
            seqno = version.seqno
            if seqno == wire.GONE:
                # Ask as for its next delta: a false word must not hide what is really missing.
                seqno = self._replica.version_of(missing).seqno + 1
            self._missing.notice(missing, version.epoch, seqno, author, now)
        for heard in message.versions:
            # Its leave did not get there. Only its own word counts, so point to where that is.
            counted = 0 < heard.seqno < wire.GONE
            if counted and self._replica.has_left(heard.author, heard.epoch):
                self._gone[heard.author] = heard.epoch
        ours = self._settled.at(self._replica.version_vector(), now)
        if len(message.versions) + 1 < message.members:
            # Only a part of what it has: what is not named is not lacking.
            ours = {peer: version for peer, version in ours.items() if peer in theirs}
        lacks = bool(self._gone) or any(
            theirs.get(peer, NOTHING) < version for peer, version in ours.items()
        )
        return Agreement.LACKS if lacks else Agreement.OTHER

    def take_gone(self) -> dict[PeerId, int]:
        """author -> epoch that it left in, where some member still counts it; each once."""
        gone, self._gone = self._gone, {}
        return gone

    def latest(self, count: int) -> list[PeerId]:
        """The authors of whom something was merged last, latest first; at most `count`."""
        return list(islice(reversed(self._changed), count))

    # --- from answers -----------------------------------------------------------------------------

    def page(self, answer: wire.ItemsAnswer, now: float) -> list[ev.Effect]:
        """Merge a page of a snapshot or a pull. RemoteError when any of it is forged or malformed;
        what came before it stays, for its authors signed it."""
        for invitation in answer.invitations:
            self._admission.learn(invitation)
        effects: list[ev.Effect] = []
        for item in answer.items:
            if item.kind == "leave":
                author, body = self._sealer.open(wire.LEAVE_TYPE, item.envelope)
                if not self._is_member(author):
                    continue
                leave = wire.decode_leave(body)
                self._require_group(leave.group_id)
                self._merge_leave(author, leave, item.envelope, now, item.age_seconds)
                continue
            author, body = self._sealer.open(wire.DELTA_TYPE, item.envelope)
            if not self._is_member(author):
                continue
            delta = self._reader.delta(body)
            self._require_group(delta.group_id)
            announced = self._announced.pop((author, delta.epoch, delta.seqno), delta.digest)
            if announced != delta.digest:
                # Its author signed both, so whoever serves it is not to blame. It is merged like
                # any second delta of one number, so that all members end with the same.
                self._count("announced-otherwise")
                effects.append(ev.Penalize(author, "announced-otherwise"))
            self._merge(author, delta, item.envelope, now, item.age_seconds, relayed=True)
            self._hear_of(author, delta.epoch, now, item.age_seconds)
            entry = self._roster.get(author)
            if entry is not None and author != self._me and delta.round >= entry.round:
                entry.tell(delta.epoch, delta.round, delta.fit)
        for statement in answer.complete:
            if not self._admission.admits(statement.author):
                continue
            self._replica.heard(statement.author, now, statement.age_seconds)
            self._replica.mark_complete(statement)
        for author, version in self._replica.version_vector().items():
            self._missing.close(author, version.epoch, version.seqno)
        return effects

    # --- inside -----------------------------------------------------------------------------------

    def _is_named(self, message: wire.Heartbeat) -> bool:
        """Whether the sender has heard of this member lately. If not, what it says does not stand
        for what we would say: that we are here."""
        recently = self._roster.presence_seconds / 2
        return any(v.author == self._me and v.age_seconds <= recently for v in message.versions)

    def _is_member(self, author: PeerId) -> bool:
        """Whoever serves what a stranger signed may have known it as a member: nobody is blamed."""
        if self._admission.admits(author):
            return True
        self._count("not-invited")
        return False

    def _require_group(self, group_id: str) -> None:
        if group_id != self._replica.charter.group_id:
            raise InvalidContribution(f"something of group {group_id} was sent to this group")

    def _merge(
        self,
        author: PeerId,
        delta: wire.Delta,
        envelope: bytes,
        now: float,
        age: float = 0.0,
        *,
        relayed: bool = False,
    ) -> tuple[MergeResult, list[ev.Effect]]:
        self._reader.validate(delta, self._replica.charter)
        if author == self._me and not self._identity.takes_in(delta.epoch, delta.seqno, now):
            return MergeResult(MergeKind.STALE, "duplicate-identity"), []
        if relayed:
            # Lets an expired member back only when this sign of life is newer than its last.
            self._replica.heard(author, now, age)
        result = self._replica.merge(author, delta, envelope, now, age)
        effects: list[ev.Effect] = []
        if result.kind is MergeKind.MERGED:
            self.deltas_merged += 1
            self._changed.pop(author, None)
            self._changed[author] = now
            if len(self._changed) > self._replica.limits.max_members:
                del self._changed[next(iter(self._changed))]
            self._on_merged(author)
        elif result.kind is MergeKind.REFUSED:
            self._count(f"refused-{result.reason}")
        if result.equivocation:
            self._count("equivocation")
            text = f"{ev.short(author)} signed two different contributions as number {delta.seqno}"
            effects.append(ev.Tell("warning", "equivocation", text, {"peer": author}))
        return result, effects

    def _merge_leave(
        self, author: PeerId, leave: wire.Leave, envelope: bytes, now: float, age: float
    ) -> bool:
        """True when it was news."""
        if author == self._me and not self._identity.takes_in(leave.epoch, 1, now):
            return False
        result = self._replica.leave(author, leave.epoch, envelope, now, age)
        if result.kind is not MergeKind.MERGED:
            return False
        self._missing.forget(author)
        entry = self._roster.get(author)
        if author != self._me and entry is not None and entry.epoch <= leave.epoch:
            self._roster.forget(author)
        return True

    def _heard_from(self, author: PeerId, now: float) -> None:
        self._hearsay.discard(author)
        self._replica.heard(author, now)
        self._roster.heard(author, now)

    def _hear_of(self, author: PeerId, epoch: int, now: float, age: float) -> None:
        """Someone relays that `author` was alive `age` seconds ago."""
        if author == self._me or self._replica.has_left(author, epoch):
            return
        if not self._admission.admits(author):
            return
        self._replica.heard(author, now, age)
        if age <= self._roster.presence_seconds:
            if not self._is_known(author) and not self._has_room_for_hearsay(author, now):
                self._count("hearsay-full")
                return
            entry = self._roster.heard(author, now, age)
            entry.epoch = max(entry.epoch, epoch)

    def _is_known(self, author: PeerId) -> bool:
        known = self._roster.get(author) is not None
        return known or self._replica.version_of(author) != NOTHING

    def _has_room_for_hearsay(self, author: PeerId, now: float) -> bool:
        """Whether one more may count as present of whom nothing signed was ever heard: a liar can
        name hundreds in each heartbeat."""
        if len(self._hearsay) >= MAX_HEARSAY:
            for peer in list(self._hearsay):
                entry = self._roster.get(peer)
                if entry is None or not self._roster.is_present(peer, entry, now):
                    self._hearsay.discard(peer)
                    self._roster.forget(peer)
        if len(self._hearsay) >= MAX_HEARSAY:
            return False
        self._hearsay.add(author)
        return True
