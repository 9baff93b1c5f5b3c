"""Invariant: whatever strangers send, and whenever, a session answers and stays consistent.

An input is a list of events, each made of a few bytes: messages that are true, false or damaged,
answers to what the session asked for, requests of others, time. Signatures are left out, so that
the fuzzer can speak for every member: an envelope is its author's number, its type and the body.
At the end the replica is rebuilt from the envelopes it would hand out; the two must be equal.
"""

from __future__ import annotations

import math

import numpy as np

from openfl.aggregation.delta import Delta, Leave
from openfl.aggregation.member_judge import Influence
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.replica import Completeness, Cursor, Item, Replica, ReplicaLimits
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import (
    Charter,
    Contribution,
    Evaluation,
    PeerId,
    RowBlock,
    TableSchema,
)
from openfl.core.errors import InvalidSignature, RemoteError
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings, SessionStart
from openfl.wire import messages as wire

PEERS = tuple(
    wire.peer_id_from_bytes(bytes.fromhex("002408011220") + bytes([number]) * 32)
    for number in range(1, 7)
)
ME = PEERS[0]
CHARTER = Charter(
    "fuzz",
    "mean",
    (
        TableSchema("items", 2, (1.0, 1.0), (0.5, 0.0), (0.125, 0.0)),
        TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), "float32", key_bits=1),
    ),
    seed=1,
)
LIMITS = ReplicaLimits(
    max_members=4,
    max_rows=60,
    max_bytes=100_000,
    max_member_rows=30,
    max_member_deltas=6,
    member_ttl_seconds=30.0,
)
SETTINGS = SessionSettings(
    interval_seconds=1.0,
    heartbeat_seconds=1.0,
    inline_limit_bytes=300,
    snapshot_page_bytes=2000,
    messages_per_second=10.0,
    bytes_per_second=4000.0,
    limits=LIMITS,
)
MAX_EVENTS = 60
EDGES = (0, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 2, (1 << 63) - 1)
TYPES = (wire.DELTA_TYPE, wire.LEAVE_TYPE)


class OpenSealer:
    """Envelopes that anybody can make, except in this member's name."""

    peer_id = ME

    def __init__(self) -> None:
        self._mine: set[bytes] = set()

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        envelope = sealed(0, payload_type, payload)
        self._mine.add(envelope)
        return envelope

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        if len(envelope) < 2 or envelope[1] != TYPES.index(payload_type):
            raise InvalidSignature("not such an envelope")
        author = PEERS[envelope[0] % len(PEERS)]
        if author == ME and envelope not in self._mine:
            raise InvalidSignature("forged")
        return author, envelope[2:]


def sealed(author: int, payload_type: bytes, payload: bytes) -> bytes:
    return bytes([author, TYPES.index(payload_type)]) + payload


class Source:
    """Numbers and bytes out of the input; zeros once it has ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self) -> int:
        """Mostly small, now and then at the edge of what is allowed."""
        byte = self.byte()
        return byte if byte < 250 else EDGES[byte - 250]

    def peer(self) -> int:
        return self.byte() % len(PEERS)


def delta(source: Source) -> bytes:
    """The body of a delta; its rows follow from three bytes, so equal seqnos often differ."""
    epoch, seqno = 1 + source.number() % ((1 << 63) - 1), 1 + source.number() % ((1 << 63) - 1)
    first, count, value = source.byte() % 40, source.byte() % 12, source.byte()
    blocks = []
    if count:
        blocks.append(
            QuantizedBlock(
                "items",
                "int8",
                np.arange(first, first + count, dtype=np.uint64),
                np.full((count, 2), value % 128, dtype=np.int8),
                np.full(count, 0.25, dtype=np.float16),
                np.full(count, 1 + value * 3000, dtype=np.uint32),
                np.array([1.0, value], dtype=np.float32),
            )
        )
    if value & 1:
        blocks.append(
            QuantizedBlock(
                "mean",
                "float32",
                np.array([value >> 7], dtype=np.uint64),
                np.array([[value]], dtype=np.float32),
                np.zeros(0, dtype=np.float16),
                np.array([value + 1], dtype=np.uint32),
                np.ones(1, dtype=np.float32),
            )
        )
    fit = Evaluation("rmse", value / 100, 0.01, 10) if value & 2 else None
    return wire.encode_delta(Delta(CHARTER.group_id, epoch, seqno, seqno, 10, fit, tuple(blocks)))


def damaged(data: bytes, source: Source) -> bytes:
    """`data`, in one of four cases with a byte changed or its end cut off."""
    how = source.byte()
    if how & 3 or not data:
        return data
    at = source.byte() * 257 % len(data)
    if how & 4:
        return data[:at]
    return data[:at] + bytes([source.byte()]) + data[at + 1 :]


def gossip(source: Source, author: int) -> bytes:
    match source.byte() % 6:
        case 0:
            return source.bytes(source.byte())
        case 1 | 2:
            return wire.encode_gossip(
                wire.InlineDelta(damaged(sealed(author, wire.DELTA_TYPE, delta(source)), source))
            )
        case 3:
            body = delta(source)
            return wire.encode_gossip(
                wire.Announce(
                    wire.delta_digest(body),
                    1 + source.number() % wire.LIMITS.max_envelope_bytes,
                    1 + source.byte(),
                    1 + source.byte(),
                )
            )
        case 4:
            body = wire.encode_leave(Leave(CHARTER.group_id, 1 + source.byte()))
            return wire.encode_gossip(wire.LeaveNotice(sealed(author, wire.LEAVE_TYPE, body)))
        case _:
            versions = tuple(
                wire.HeardVersion(
                    PEERS[source.peer()],
                    1 + source.byte(),
                    source.number(),
                    source.number() % (1 << 32),
                    (source.byte() - 128) / 8 if source.byte() & 1 else None,
                )
                for _ in range(source.byte() % 5)
            )
            return wire.encode_gossip(
                wire.Heartbeat(
                    source.byte(),
                    source.number(),
                    source.byte(),
                    10,
                    None,
                    source.byte(),
                    versions,
                    source.bytes(16).ljust(16, b"\0"),
                )
            )


def answer(source: Source) -> bytes:
    match source.byte() % 6:
        case 0:
            return source.bytes(source.byte())
        case 1:
            return wire.encode_answer(wire.Refusal("busy", "later"))
    items = []
    for _ in range(source.byte() % 5):
        author, age = source.peer(), source.byte()
        if source.byte() & 7:
            envelope = damaged(sealed(author, wire.DELTA_TYPE, delta(source)), source)
            items.append(wire.AnswerItem("delta", envelope or b"\0", age))
        else:
            body = wire.encode_leave(Leave(CHARTER.group_id, 1 + source.byte()))
            items.append(wire.AnswerItem("leave", sealed(author, wire.LEAVE_TYPE, body), age))
    complete = tuple(
        Completeness(
            PEERS[source.peer()],
            1 + source.byte(),
            source.number(),
            1 + source.byte(),
            source.byte(),
        )
        for _ in range(source.byte() % 3)
    )
    cursor = None
    if source.byte() & 1:
        cursor = Cursor(PEERS[source.peer()], source.byte(), source.number())
    return damaged(
        wire.encode_answer(wire.ItemsAnswer(tuple(items), complete, cursor, bytes(16))), source
    )


def request(source: Source, protocol: str) -> bytes:
    known = {
        PEERS[source.peer()]: Version(1 + source.byte(), source.number())
        for _ in range(source.byte() % 4)
    }
    cursor = None
    if source.byte() & 1:
        cursor = Cursor(PEERS[source.peer()], source.byte(), source.number())
    most = 1 + source.number() % ((1 << 63) - 1)
    if protocol == wire.SNAPSHOT_PROTOCOL:
        payload = wire.encode_snapshot_request(
            wire.SnapshotRequest(CHARTER.group_id, known, most, cursor)
        )
    else:
        payload = wire.encode_pull_request(wire.PullRequest(CHARTER.group_id, known, most, cursor))
    return damaged(payload, source)


class World:
    """One session, and what it asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.session = GroupSession(
            Replica(CHARTER, LIMITS),
            OpenSealer(),
            SETTINGS,
            np.random.default_rng(1),
            SessionStart(5),
        )
        self.session.start(self.now)
        self.asked: list[ev.Request] = []
        self.work: list[ev.Train | ev.Evaluate] = []

    def give(self, event: ev.Event) -> list[ev.Effect]:
        effects = self.session.handle(event, self.now)
        for effect in effects:
            match effect:
                case ev.Request():
                    self.asked.append(effect)
                case ev.Train() | ev.Evaluate():
                    self.work.append(effect)
                case ev.Publish():
                    wire.decode_gossip(effect.payload)  # whatever it says is well-formed
        assert len(self.work) <= 1, "two trainings at once"
        snapshots = sum(asked.protocol == wire.SNAPSHOT_PROTOCOL for asked in self.asked)
        assert len(self.asked) - snapshots <= SETTINGS.max_open_requests
        assert snapshots <= 2, "three snapshots at once"
        assert not math.isnan(self.session.next_wake)
        return effects

    def happen(self, source: Source) -> None:
        """The next event of the input."""
        match source.byte() % 12:
            case 0 | 1 | 2 | 3:
                author = source.peer()
                relay = PEERS[source.peer()]
                payload = gossip(source, author)
                effects = self.give(ev.GossipReceived(PEERS[author], relay, payload))
                assert isinstance(effects[0], ev.Judge), "a message without a verdict"
            case 4 | 5:
                self.pass_time(source.byte() / 16)
            case 6 | 7 if self.asked:
                asked = self.asked.pop(source.byte() % len(self.asked))
                if source.byte() & 7:
                    self.give(ev.AnswerReceived(asked.token, asked.peer, answer(source)))
                else:
                    self.give(ev.RequestFailed(asked.token, asked.peer, "no answer"))
            case 8:
                protocol = (wire.SNAPSHOT_PROTOCOL, wire.PULL_PROTOCOL)[source.byte() & 1]
                payload = request(source, protocol)
                peer = PEERS[source.peer()]
                try:
                    effects = self.give(ev.RequestReceived(peer, protocol, payload))
                except RemoteError:
                    return
                (response,) = [e for e in effects if isinstance(e, ev.Respond)]
                wire.decode_items_answer(response.payload)
            case 9:
                here = source.byte()
                reachable = {p for bit, p in enumerate(PEERS) if here >> bit & 1}
                self.give(ev.MembersReachable(frozenset(reachable)))
            case 10:
                self.give(ev.DiscoveryEnded(alone=bool(source.byte() & 1)))
            case _ if self.work:
                self.finish(self.work.pop(), source)

    def finish(self, work: ev.Train | ev.Evaluate, source: Source) -> None:
        fit = Evaluation("rmse", source.byte() / 100, 0.01, 10)
        influence = {PEERS[source.peer()]: Influence(source.byte() - 128.0, 10.0)}
        if isinstance(work, ev.Evaluate):
            self.give(ev.EvaluationFinished(fit, influence))
            return
        count = 1 + source.byte() % 12
        rows = RowBlock(
            "items",
            np.arange(count, dtype=np.uint64),
            np.full((count, 2), source.byte() / 16, dtype=np.float32),
            np.ones(count, dtype=np.float32),
            np.ones(2, dtype=np.float32),
        )
        self.give(ev.TrainingFinished(Contribution((rows,)), fit, influence))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(100):
            if self.session.next_wake > end:
                break
            self.now = max(self.now, self.session.next_wake)
            self.give(ev.TimerFired())
        else:
            raise AssertionError("its timer spins")
        self.now = end

    def look(self) -> None:
        """What must hold at any time."""
        session, replica = self.session, self.session.replica
        assert replica.member_count <= LIMITS.max_members
        assert replica.register_count <= LIMITS.max_rows
        assert replica.size_bytes <= LIMITS.max_bytes
        assert len(session.members(self.now)) <= LIMITS.max_members
        rebuilt = Replica(CHARTER, LIMITS)
        for item in replica.items(self.now):
            merge(rebuilt, item, self.now)
        assert rebuilt.digest() == replica.digest(), "what it hands out is not what it has"
        for table in ("items", "mean"):
            keys = replica.view().keys(table)
            assert np.array_equal(keys, rebuilt.view().keys(table))
            rows = replica.view().rows(table, keys)
            assert np.isfinite(rows).all()
            assert np.array_equal(rows, rebuilt.view().rows(table, keys))
            assert np.isfinite(session.model().rows(table, keys)).all()


def merge(replica: Replica, item: Item, now: float) -> None:
    body = item.envelope[2:]
    if item.kind == "leave":
        replica.leave(item.author, wire.decode_leave(body).epoch, item.envelope, now)
    else:
        replica.merge(item.author, wire.decode_delta(body), item.envelope, now)


def check(data: bytes) -> None:
    """Returns, or fails with whatever is wrong."""
    source, world = Source(data), World()
    for _ in range(MAX_EVENTS):
        if source.ended:
            break
        world.happen(source)
    world.look()


def seeds() -> list[bytes]:
    """Short lives: alone, with a snapshot, with gaps, with two who lie."""
    rng = np.random.default_rng(7)
    alone = bytes([10, 1, 4, 32, 11, 50, 1, 128, 5, 16, 4, 64])
    met = bytes([9, 62, 10, 0, 4, 40])
    joined = met + bytes([6, 0, 1, 2, 2, 1, 0, 1, 1, 1, 3, 5, 9, 1, 2, 0, 1, 2, 1, 0, 0, 0, 1])
    said = b"".join(
        bytes([0, author, author, 1, 1, seqno, 3 * seqno, 4, 90 + seqno, 1])
        for author in (1, 2, 3)
        for seqno in (0, 1, 3)
    )
    noise = [rng.bytes(int(size)) for size in rng.integers(20, 300, 40)]
    return [alone, met, joined, met + said, joined + said + alone, *noise]
