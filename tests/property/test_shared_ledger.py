"""The shared ledger gives every member the bits that a replica of its own would give it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.aggregation.quantize import quantize
from openfl.aggregation.replica import MergeKind, Replica, ReplicaLimits
from openfl.core.contribution import Charter, PeerId, RowBlock, TableSchema
from openfl.simulation.ledger import Ledger
from openfl.simulation.sealing import StandInSealer
from openfl.simulation.shared_replica import SharedReplica
from openfl.wire import messages as wire

ITEMS = TableSchema("items", 3, (2.0, 2.0, 0.0), (0.1, 0.0, 0.0), (0.3, 0.3, 0.0), key_bits=40)
MEAN = TableSchema("mean", 1, (0.001,), (0.0,), (0.0,), encoding="float32")
CHARTER = Charter("ledger", "test", (ITEMS, MEAN))
LIMITS = ReplicaLimits()
MEMBERS = 4
PEERS = [StandInSealer(0, number).peer_id for number in range(40)]


def delta(rng: np.random.Generator, seqno: int) -> wire.Delta:
    """Some random rows of both tables, as read back from the wire."""
    keys = np.sort(rng.choice(12, size=int(rng.integers(1, 7)), replace=False)).astype(np.uint64)
    curvature = rng.random(3).astype(np.float32)
    curvature[rng.random(3) < 0.3] = 0.0
    rows = RowBlock(
        "items",
        keys,
        rng.normal(0, 2, (len(keys), 3)).astype(np.float32),
        rng.integers(1, 30, len(keys)).astype(np.float32),
        curvature,
    )
    blocks = [quantize(rows, ITEMS, rng)]
    if rng.random() < 0.5:
        mean = RowBlock(
            "mean",
            np.zeros(1, np.uint64),
            rng.normal(0, 1, (1, 1)).astype(np.float32),
            np.full(1, 5, np.float32),
            np.ones(1, np.float32),
        )
        blocks.append(quantize(mean, MEAN, rng))
    written = wire.Delta(CHARTER.group_id, 7, seqno, seqno, 10, None, tuple(blocks))
    return wire.decode_delta(wire.encode_delta(written))


class Twins:
    """Every member twice: with a replica of its own, and as a window on the ledger."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.ledger = Ledger(CHARTER, MEMBERS)
        self.own = [Replica(CHARTER, LIMITS) for _ in range(MEMBERS)]
        self.shared = [
            SharedReplica(self.ledger, n, PEERS[n], lambda: self.now, LIMITS)
            for n in range(MEMBERS)
        ]
        self.seqnos = [0] * MEMBERS
        self.on_the_way: list[tuple[float, int, PeerId, wire.Delta, bytes]] = []
        self.published: list[tuple[int, wire.Delta]] = []
        self.left: set[int] = set()

    def publish(self, author: int) -> None:
        """Reaches some at once, some late, some never (within any test)."""
        self.seqnos[author] += 1
        made = delta(self.rng, self.seqnos[author])
        envelope = made.digest
        mine = self.own[author].merge(PEERS[author], made, envelope, self.now)
        result = self.shared[author].merge(PEERS[author], made, envelope, self.now)
        assert mine.kind is result.kind is MergeKind.MERGED
        self.published.append((author, made))
        count = len(self.own)
        arrivals = self.now + self.rng.choice([0.5, 1.5, 4.0, 1e6], count) * self.rng.random()
        for receiver in range(count):
            if receiver != author:
                at = float(arrivals[receiver])
                self.on_the_way.append((at, receiver, PEERS[author], made, envelope))
        self.ledger.send(author, arrivals)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [m for m in self.on_the_way if m[0] <= self.now]
        self.on_the_way = [m for m in self.on_the_way if m[0] > self.now]
        self.rng.shuffle(due)  # type: ignore[arg-type]
        for _, receiver, author, made, envelope in due:
            self.own[receiver].merge(author, made, envelope, self.now)
        if self.rng.random() < 0.5:
            self.ledger.settle(self.now)

    def join(self) -> None:
        """Somebody comes, and gets what those who are there have published so far."""
        number = self.ledger.admit()
        assert number == len(self.own)
        self.own.append(Replica(CHARTER, LIMITS))
        self.shared.append(
            SharedReplica(self.ledger, number, PEERS[number], lambda: self.now, LIMITS)
        )
        self.seqnos.append(0)
        for author, made in self.published:
            if author not in self.left:
                self.own[number].merge(PEERS[author], made, made.digest, self.now)

    def leave(self, author: int) -> None:
        """Somebody leaves, and everybody knows at once."""
        self.left.add(author)
        self.ledger.leave(author)
        for own in self.own:
            own.leave(PEERS[author], 7, b"leave", self.now)

    def compare(self) -> None:
        for number, (own, shared) in enumerate(zip(self.own, self.shared, strict=True)):
            if number in self.left:
                continue
            expected, window = own.view(), shared.shared_view()
            dense = window.dense()
            assert dense.tables.keys() == expected.tables.keys()
            for name, table in expected.tables.items():
                found = dense.tables[name]
                assert np.array_equal(found.keys, table.keys)
                assert found.rows.tobytes() == table.rows.tobytes()
                assert np.array_equal(found.evidence, table.evidence)
            keys = self.rng.choice(16, size=9, replace=False).astype(np.uint64)
            keys = np.concatenate((keys, keys[:2]))  # any order, repeats are fine
            assert window.rows("items", keys).tobytes() == expected.rows("items", keys).tobytes()
            evidence = window.evidence("items", keys)
            assert np.array_equal(evidence, expected.evidence("items", keys))
            assert np.array_equal(window.keys("items"), expected.keys("items"))
            assert shared.digest() == own.digest()
            assert shared.version_vector() == own.version_vector()
            assert shared.member_count == own.member_count


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.one_of(st.integers(0, MEMBERS - 1), st.just("wait")), max_size=40),
)
def test_members_see_the_same_bits_through_the_ledger(seed: int, steps: list[int | str]) -> None:
    twins = Twins(seed)
    for step in steps:
        if isinstance(step, int):
            twins.publish(step)
        else:
            twins.pass_time(1.0)
            twins.compare()
    twins.pass_time(0.0)
    twins.compare()


def test_a_long_run_with_overtaking_stays_equal_and_settles() -> None:
    twins = Twins(5)
    for number in range(300):
        twins.publish(number % MEMBERS)
        twins.pass_time(0.3)
        if number % 20 == 0:
            twins.compare()
    twins.pass_time(2e6)
    assert twins.ledger.settle(twins.now) == 0
    twins.compare()
    assert twins.ledger.arrived(twins.now) == 300 * (MEMBERS - 1)


def test_a_view_that_outlives_a_publication_is_refused() -> None:
    twins = Twins(1)
    twins.publish(0)
    view = twins.shared[1].shared_view()
    view.keys("items")
    twins.publish(2)
    with pytest.raises(RuntimeError, match="after something else was published"):
        view.keys("items")


def test_the_ledger_refuses_a_delta_out_of_order() -> None:
    twins = Twins(1)
    with pytest.raises(ValueError, match="seqno 2 after 0"):
        twins.shared[0].merge(PEERS[0], replace(delta(twins.rng, 2)), b"", 0.0)
    with pytest.raises(NotImplementedError):
        twins.shared[0].merge(PEERS[1], delta(twins.rng, 1), b"", 0.0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(
        st.sampled_from(["publish"] * 6 + ["wait"] * 3 + ["join", "leave"]), max_size=60
    ),
)
def test_members_see_the_same_bits_though_others_come_and_leave(
    seed: int, steps: list[str]
) -> None:
    twins = Twins(seed)
    for step in steps:
        there = [n for n in range(len(twins.own)) if n not in twins.left]
        match step:
            case "publish":
                twins.publish(int(twins.rng.choice(there)))
            case "wait":
                twins.pass_time(1.0)
            case "join" if len(twins.own) < len(PEERS):
                twins.join()
            case "leave" if len(there) > 1:
                twins.leave(int(twins.rng.choice(there)))
        twins.compare()
    twins.pass_time(2e6)
    assert twins.ledger.settle(twins.now) == 0
    twins.compare()
