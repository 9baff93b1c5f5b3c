"""A membership on disk: what is saved comes back to the bit, and nothing else gets in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.aggregation.quantize import quantize
from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import Charter
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, TABLE, RigSealer, contribution, peer, tight

NOW = 5000.0
LIMITS = ReplicaLimits(member_ttl_seconds=600.0)
ME = RigSealer(peer(0))


def delta_envelope(
    sealer: RigSealer, seqno: int, keys: tuple[int, ...], value: float, charter: Charter = CHARTER
) -> tuple[wire.Delta, bytes]:
    block = quantize(contribution(keys, value).blocks[0], TABLE, np.random.default_rng(seqno))
    body = wire.encode_delta(wire.Delta(charter.group_id, 9, seqno, seqno, 10, None, (block,)))
    return wire.decode_delta(body), sealer.seal(wire.DELTA_TYPE, body)


def leave_envelope(sealer: RigSealer, epoch: int, charter: Charter = CHARTER) -> bytes:
    return sealer.seal(wire.LEAVE_TYPE, wire.encode_leave(wire.Leave(charter.group_id, epoch)))


@pytest.fixture
def replica() -> Replica:
    """Three members (one with a superseded delta, so that its log has a hole), and a leaver."""
    made = Replica(CHARTER, LIMITS)
    for number in range(4):
        sealer = RigSealer(peer(number))
        for seqno, keys in ((1, (1, 2)), (2, (2, 3)), (3, (2, 3, 4)), (4, (9,))):
            delta, envelope = delta_envelope(sealer, seqno, keys, float(number + seqno))
            made.merge(sealer.peer_id, delta, envelope, NOW, age_seconds=10.0 * number)
    leaver = RigSealer(peer(3))
    made.leave(leaver.peer_id, 9, leave_envelope(leaver, 9), NOW)
    assert made.member_count == 3
    return made


@pytest.fixture
def saved(replica: Replica) -> SavedMembership:
    return SavedMembership.of(replica, 9, 17, (1.5, 1.25), {"users": np.eye(3)}, NOW)


def through_disk(saved: SavedMembership) -> SavedMembership:
    """As `store` writes and reads it."""
    return SavedMembership.from_plain(cbor2.loads(cbor2.dumps(saved.to_plain())))


def test_a_rebuilt_replica_is_the_saved_one_to_the_bit(
    replica: Replica, saved: SavedMembership
) -> None:
    rebuilt, refused = through_disk(saved).rebuild(ME, LIMITS, 0.0)
    assert refused == 0
    assert rebuilt.digest() == replica.digest()
    keys = np.arange(12, dtype=np.uint64)
    assert np.array_equal(
        rebuilt.view().rows(TABLE.name, keys), replica.view().rows(TABLE.name, keys)
    )


def test_a_rebuilt_replica_misses_nothing_that_the_saved_one_had(
    replica: Replica, saved: SavedMembership
) -> None:
    rebuilt, _ = through_disk(saved).rebuild(ME, LIMITS, 0.0)
    assert rebuilt.version_vector() == replica.version_vector()
    assert rebuilt.version_of(peer(1)) == Version(9, 4)  # though its second delta is superseded


def test_without_the_statements_of_completeness_a_superseded_delta_would_be_missed(
    saved: SavedMembership,
) -> None:
    rebuilt, _ = replace(saved, complete=()).rebuild(ME, LIMITS, 0.0)
    assert rebuilt.version_of(peer(1)) == Version(9, 1)


def test_a_leaver_stays_away_after_a_restart(saved: SavedMembership) -> None:
    rebuilt, _ = through_disk(saved).rebuild(ME, LIMITS, 0.0)
    leaver = RigSealer(peer(3))
    delta, envelope = delta_envelope(leaver, 5, (1,), 1.0)
    assert rebuilt.merge(leaver.peer_id, delta, envelope, 0.0).reason == "left"


def test_members_are_as_old_as_they_were_when_saved(
    replica: Replica, saved: SavedMembership
) -> None:
    # The clock of the new run starts anywhere; a week of sleep ages nobody.
    ages = {m.peer_id: NOW - m.last_heard for m in replica.members()}
    rebuilt, _ = through_disk(saved).rebuild(ME, LIMITS, 77.0)
    assert {m.peer_id: 77.0 - m.last_heard for m in rebuilt.members()} == ages
    assert sorted(ages.values()) == [0.0, 10.0, 20.0]


def test_everything_beside_the_replica_comes_back(saved: SavedMembership) -> None:
    again = through_disk(saved)
    assert (again.charter, again.epoch, again.round) == (CHARTER, 9, 17)
    assert again.history == (1.5, 1.25)
    assert again.items == saved.items
    assert again.complete == saved.complete


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(5, dtype=np.uint64),
        np.zeros((0, 4)),
        np.array(3.5),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["matrix", "keys", "empty", "scalar", "fortran"],
)
def test_private_arrays_come_back_with_type_and_shape(replica: Replica, array: Any) -> None:
    saved = SavedMembership.of(replica, 1, 0, (), {"a": array}, NOW)
    again = through_disk(saved).private["a"]
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


# --- what is forged or damaged --------------------------------------------------------------------

Damage = Callable[[tuple[str, bytes, float]], tuple[str, bytes, float]]


def flip(item: tuple[str, bytes, float]) -> tuple[str, bytes, float]:
    kind, envelope, age = item
    return kind, envelope[:-1] + bytes([envelope[-1] ^ 1]), age


def as_the_other_kind(item: tuple[str, bytes, float]) -> tuple[str, bytes, float]:
    return {"delta": "leave", "leave": "delta"}[item[0]], item[1], item[2]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    "damage",
    [
        flip,
        as_the_other_kind,
        lambda item: (item[0], b"", item[2]),
        lambda item: (item[0], item[1][:50], item[2]),
        lambda item: (item[0], b"\xff" * 200, item[2]),
    ],
    ids=["flipped", "other-kind", "empty", "cut", "junk"],
)
def test_a_damaged_item_is_refused_counted_and_costs_no_other(
    saved: SavedMembership, damage: Damage, number: int
) -> None:
    items = list(saved.items)
    # One of each member's, and the leave.
    picked = [1, 4, 7, len(items) - 1][number]
    items[picked] = damage(items[picked])
    rebuilt, refused = replace(saved, items=tuple(items)).rebuild(ME, LIMITS, 0.0)
    assert refused == 1
    kept = items[:picked] + items[picked + 1 :]
    without, _ = replace(saved, items=tuple(kept)).rebuild(ME, LIMITS, 0.0)
    assert rebuilt.digest() == without.digest()


def test_an_item_of_another_group_is_refused(saved: SavedMembership) -> None:
    other = replace(CHARTER, seed=2)
    _, envelope = delta_envelope(RigSealer(peer(5)), 1, (1,), 1.0, other)
    more = (*saved.items, ("delta", envelope, 0.0))
    rebuilt, refused = replace(saved, items=more).rebuild(ME, LIMITS, 0.0)
    assert (rebuilt.member_count, refused) == (3, 1)


def test_a_leave_of_another_group_takes_nobody_out_of_this_one(saved: SavedMembership) -> None:
    other = replace(CHARTER, seed=2)
    more = (*saved.items, ("leave", leave_envelope(RigSealer(peer(1)), 9, other), 0.0))
    rebuilt, refused = replace(saved, items=more).rebuild(ME, LIMITS, 0.0)
    assert (rebuilt.member_count, refused) == (3, 1)


def test_a_delta_that_breaks_the_charter_is_refused(saved: SavedMembership) -> None:
    wide = replace(CHARTER, tables=(replace(TABLE, key_bits=64),))
    sealer = RigSealer(peer(5))
    block = quantize(
        contribution((1 << 40,), 1.0).blocks[0], wide.tables[0], np.random.default_rng(0)
    )
    body = wire.encode_delta(wire.Delta(CHARTER.group_id, 9, 1, 1, 10, None, (block,)))
    more = (*saved.items, ("delta", sealer.seal(wire.DELTA_TYPE, body), 0.0))
    rebuilt, refused = replace(saved, items=more).rebuild(ME, LIMITS, 0.0)
    assert (rebuilt.member_count, refused) == (3, 1)


def test_a_file_cannot_claim_to_be_complete_beyond_what_authors_signed(
    saved: SavedMembership,
) -> None:
    lie = replace(saved, complete=((peer(1), 9, 0, 10_000, 0.0), (peer(8), 1, 0, 5, 0.0)))
    rebuilt, _ = lie.rebuild(ME, LIMITS, 0.0)
    assert rebuilt.version_of(peer(1)) == Version(9, 4)
    assert rebuilt.version_of(peer(8)) == Version(0, 0)


def test_a_replica_with_tighter_limits_keeps_what_fits(saved: SavedMembership) -> None:
    rebuilt, _ = saved.rebuild(ME, tight(max_members=2), 0.0)
    assert rebuilt.member_count == 2


def without_key(plain: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name != key}


@pytest.mark.parametrize(
    "key", ["charter", "epoch", "round", "history", "items", "complete", "private"]
)
def test_a_state_that_lacks_anything_is_not_taken(saved: SavedMembership, key: str) -> None:
    plain = saved.to_plain()
    SavedMembership.from_plain(plain)
    with pytest.raises(ValueError, match="not a saved membership"):
        SavedMembership.from_plain(without_key(plain, key))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("charter", {}),
        ("charter", "music"),
        ("epoch", "soon"),
        ("epoch", float("inf")),
        ("round", None),
        ("round", float("nan")),
        ("history", ["good"]),
        ("history", [10**400]),
        ("history", 3),
        ("items", [["delta", b""]]),
        ("items", [[1, 2, 3]]),
        ("items", [["delta", "text", 0.0]]),
        ("items", [["delta", 1 << 60, 0.0]]),
        ("items", [["delta", b"x", -1.0]]),
        ("items", [["delta", b"x", float("nan")]]),
        ("items", None),
        ("complete", [["peer", 1, 2, 3]]),
        ("complete", [["peer", 1, 2, 3, "old"]]),
        ("private", {"a": {"dtype": "<f8", "shape": [3], "data": b"1234"}}),
        ("private", {"a": {"dtype": "O", "shape": [1], "data": b"12345678"}}),
        ("private", {"a": {"dtype": "nonsense", "shape": [1], "data": b"12345678"}}),
        ("private", {"a": {"dtype": "<f8", "shape": [-5], "data": b"12345678"}}),
        ("private", {"a": {"dtype": "<f8", "shape": ["x"], "data": b"12345678"}}),
        ("private", {"a": {"dtype": "V0", "shape": [0], "data": b""}}),
        ("private", {"a": {"dtype": "<f8", "shape": [1]}}),
        ("private", {"a": {"dtype": "S4", "shape": [1], "data": b"1234"}}),
        ("private", [1]),
        ("surplus", 1),
    ],
)
def test_garbage_is_a_value_error(saved: SavedMembership, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match="not a saved membership"):
        SavedMembership.from_plain({**saved.to_plain(), key: value})


@pytest.mark.parametrize("plain", [None, 3, "state", b"state", [], {}])
def test_what_is_no_state_at_all_is_a_value_error(plain: Any) -> None:
    with pytest.raises(ValueError, match="not a saved membership"):
        SavedMembership.from_plain(plain)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    key=st.sampled_from(["epoch", "round", "history", "items", "complete", "private"]),
    value=anything | st.lists(st.tuples(anything, anything, anything), max_size=2),
)
def test_whatever_stands_in_a_field_it_is_a_membership_or_a_value_error(
    key: str, value: Any
) -> None:
    plain = SavedMembership(CHARTER, 1, 0, (), (), ()).to_plain()
    try:
        saved = SavedMembership.from_plain({**plain, key: value})
    except ValueError:
        return
    saved.rebuild(ME, LIMITS, 0.0)
