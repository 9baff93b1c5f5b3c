from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import MEMBER_CAP, VALUE_LIMIT_CAP, to_fixed
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.replica import (
    Completeness,
    Cursor,
    MergeKind,
    MergeResult,
    Replica,
    ReplicaLimits,
)
from openfl.aggregation.version_vector import MAX_EXTRAS, HeardSeqnos, Version
from openfl.core.contribution import (
    MAX_CURVATURE,
    MAX_EVIDENCE,
    MAX_PRECISION,
    Charter,
    PeerId,
    TableSchema,
)
from openfl.core.model_view import initial_rows
from tests.protocol_samples import CHARTER, FIT, HALF, ITEMS, MEAN, block, delta, envelope_of, peer

ANN, BOB, EVE = peer("ann"), peer("bob"), peer("eve")


def merge(
    replica: Replica, author: PeerId, sample: Delta, now: float = 0.0, age: float = 0.0
) -> MergeResult:
    return replica.merge(author, sample, envelope_of(author, sample), now, age)


def keys(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


# --- merging --------------------------------------------------------------------------------------


def test_an_empty_replica_says_the_seeded_values() -> None:
    view = Replica(CHARTER).view()
    assert len(view.keys("items")) == 0
    assert (view.rows("items", keys(4)) == initial_rows(CHARTER, "items", keys(4))).all()


def test_one_members_rows_are_shrunk_towards_zero_by_the_prior() -> None:
    replica = Replica(CHARTER)
    sent = block(keys=[3], evidence=[100])
    result = merge(replica, ANN, delta(blocks=(sent,)))
    assert (result.kind, result.rows_changed) == (MergeKind.MERGED, 1)
    h = 100 * sent.curvature.astype(np.float64)
    prior = np.array([8 + 0.05 * 100, 8 + 0.05 * 100, 5.0])
    expected = h * sent.values()[0] / (h + prior)
    assert np.allclose(replica.view().rows("items", keys(3))[0], expected, atol=1e-6)


def test_a_row_without_evidence_keeps_its_seeded_value_beside_one_with() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(blocks=(block(keys=[3]),)))
    rows = replica.view().rows("items", keys(3, 4))
    assert (rows[1] == initial_rows(CHARTER, "items", keys(4))[0]).all()


def test_a_row_whose_precision_is_zero_and_that_has_no_prior_keeps_its_seeded_value() -> None:
    replica = Replica(CHARTER)
    silent = dataclasses.replace(block(MEAN, keys=[0]), curvature=np.zeros(1, dtype=np.float32))
    merge(replica, ANN, delta(blocks=(silent,)))
    assert replica.view().keys("mean").tolist() == [0]
    assert replica.view().rows("mean", keys(0))[0, 0] == 0.0


def test_a_later_delta_replaces_only_the_rows_it_has() -> None:
    replica = Replica(CHARTER)
    first, second = block(keys=[1, 2], seed=1), block(keys=[2, 3], seed=2)
    merge(replica, ANN, delta(1, blocks=(first,)))
    result = merge(replica, ANN, delta(2, blocks=(second,)))
    assert result.rows_changed == 2
    rows = replica.member_rows(ANN, "items")
    assert rows.keys.tolist() == [1, 2, 3]
    assert (rows.values[0] == first.values()[0]).all()
    assert (rows.values[1:] == second.values()).all()


def test_an_earlier_delta_that_comes_late_fills_in_only_what_is_missing() -> None:
    replica = Replica(CHARTER)
    first, second = block(keys=[1, 2], seed=1), block(keys=[2, 3], seed=2)
    merge(replica, ANN, delta(2, blocks=(second,)))
    assert merge(replica, ANN, delta(1, blocks=(first,))).rows_changed == 1
    assert (replica.member_rows(ANN, "items").values[1:] == second.values()).all()


def test_a_wholly_superseded_delta_is_stale_but_counts_as_heard() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(2, blocks=(block(keys=[1]),)))
    assert not replica.has_heard(ANN, 1, 1)
    result = merge(replica, ANN, delta(1, blocks=(block(keys=[1]),)))
    assert (result.kind, result.reason) == (MergeKind.STALE, "superseded")
    assert replica.version_of(ANN) == Version(1, 2)
    again = merge(replica, ANN, delta(1, blocks=(block(keys=[1]),)))
    assert again.kind is MergeKind.DUPLICATE


def test_the_same_delta_twice_is_a_duplicate() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta())
    before = replica.digest()
    assert merge(replica, ANN, delta()).kind is MergeKind.DUPLICATE
    assert replica.digest() == before


def test_a_new_epoch_replaces_everything_of_the_old_one() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(7, epoch=1, blocks=(block(keys=[1, 2]),)))
    merge(replica, ANN, delta(1, epoch=2, blocks=(block(keys=[2]),)))
    assert replica.view().keys("items").tolist() == [2]
    assert replica.version_of(ANN) == Version(2, 1)


def test_a_delta_of_an_older_epoch_is_stale() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1, epoch=2))
    before = replica.digest()
    result = merge(replica, ANN, delta(9, epoch=1))
    assert (result.kind, result.reason) == (MergeKind.STALE, "older-epoch")
    assert replica.digest() == before


def test_a_delta_without_rows_still_says_where_its_author_is() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1, round_number=1))
    merge(replica, ANN, delta(2, blocks=(), round_number=2))
    (state,) = replica.members()
    assert (state.round, state.latest_seqno, state.rows) == (2, 2, 3)
    assert (state.fit, state.examples) == (FIT, 1234)


def test_two_deltas_of_one_seqno_prove_their_author_dishonest() -> None:
    replica = Replica(CHARTER)
    assert not merge(replica, EVE, delta(1, blocks=(block(seed=1),))).equivocation
    second = merge(replica, EVE, delta(1, blocks=(block(keys=[9], seed=2),)))
    assert second.equivocation
    third = merge(replica, EVE, delta(1, blocks=(block(keys=[10], seed=3),)))
    assert (third.kind, third.reason) == (MergeKind.REFUSED, "equivocation")


def test_looking_again_gives_the_same_view_until_something_changes() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1))
    first = replica.view()
    merge(replica, ANN, delta(1))
    replica.heard(ANN, 5.0)
    assert replica.view() is first
    frozen = first.rows("items", first.keys("items")).copy()
    merge(replica, ANN, delta(2, blocks=(block(seed=9),)))
    assert replica.view() is not first
    assert (first.rows("items", first.keys("items")) == frozen).all()
    with pytest.raises(ValueError, match="read-only"):
        first.keys("items")[0] = 1


# --- refusals -------------------------------------------------------------------------------------


def wild(**changes: object) -> Delta:
    """A delta that breaks one rule; built past the encoder, which would not let it through."""
    return dataclasses.replace(delta(1), **changes)


def broken_block(**changes: object) -> Delta:
    return wild(blocks=(dataclasses.replace(block(), **changes),))


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (wild(group_id="0" * 32), "other-group"),
        (wild(seqno=0), "version"),
        (broken_block(table="nothing"), "schema"),
        (wild(blocks=(block(), block(keys=[8]))), "schema"),
        (broken_block(keys=keys(5, 3, 9)), "schema"),
        (broken_block(keys=keys(3, 3, 9)), "schema"),
        (broken_block(scales=np.full(3, np.inf, dtype=np.float16)), "bounds"),
        (broken_block(scales=np.full(3, np.nan, dtype=np.float16)), "bounds"),
        (broken_block(scales=np.full(3, 60000, dtype=np.float16)), "bounds"),
        (broken_block(evidence=np.array([1, 0, 1], dtype=np.uint32)), "bounds"),
        (broken_block(evidence=np.full(3, 1_000_001, dtype=np.uint32)), "bounds"),
        (broken_block(curvature=np.array([1, -1, 1], dtype=np.float32)), "bounds"),
        (broken_block(curvature=np.array([1, np.nan, 1], dtype=np.float32)), "bounds"),
        (broken_block(curvature=np.array([1, 1001, 1], dtype=np.float32)), "bounds"),
    ],
)
def test_what_breaks_the_charter_is_refused_and_changes_nothing(sample: Delta, reason: str) -> None:
    replica = Replica(CHARTER)
    merge(replica, BOB, delta(1))
    before = (replica.digest(), replica.size_bytes, replica.version_vector(), replica.view())
    result = merge(replica, ANN, sample)
    assert (result.kind, result.reason) == (MergeKind.REFUSED, reason)
    assert result.detail
    after = (replica.digest(), replica.size_bytes, replica.version_vector(), replica.view())
    assert after == before


def test_members_beyond_the_limit_are_refused_until_one_leaves() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_members=2))
    merge(replica, ANN, delta(1))
    merge(replica, BOB, delta(1))
    assert merge(replica, EVE, delta(1)).reason == "max-members"
    assert merge(replica, BOB, delta(1, epoch=2)).kind is MergeKind.MERGED
    replica.leave(ANN, 1, b"leave", 0.0)
    assert merge(replica, EVE, delta(1)).kind is MergeKind.MERGED


def test_rows_beyond_the_limit_are_refused_but_known_rows_go_on_changing() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_rows=5))
    merge(replica, ANN, delta(1, blocks=(block(keys=range(4)),)))
    assert merge(replica, BOB, delta(1, blocks=(block(keys=range(2)),))).reason == "max-rows"
    assert merge(replica, BOB, delta(1, blocks=(block(keys=[0]),))).kind is MergeKind.MERGED
    assert merge(replica, ANN, delta(2, blocks=(block(keys=range(4), seed=3),))).rows_changed == 4
    # A new epoch frees the rows of the old one before it is counted.
    fresh = delta(1, epoch=2, blocks=(block(keys=range(10, 14)),))
    assert merge(replica, ANN, fresh).kind is MergeKind.MERGED
    assert replica.register_count == 5


def test_one_member_cannot_take_all_rows() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_member_rows=3))
    assert merge(replica, EVE, delta(1, blocks=(block(keys=range(4)),))).reason == "max-member-rows"
    assert merge(replica, EVE, delta(1, blocks=(block(keys=range(3)),))).kind is MergeKind.MERGED
    assert merge(replica, EVE, delta(2, blocks=(block(keys=[9]),))).reason == "max-member-rows"


def test_bytes_beyond_the_limit_are_refused() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_bytes=40_000))
    number = 0
    while merge(replica, peer(number), delta(1)).kind is MergeKind.MERGED:
        number += 1
        assert replica.size_bytes <= 40_000
    assert number > 3
    assert merge(replica, peer(number), delta(1)).reason == "max-bytes"


def test_many_small_deltas_of_one_member_are_refused_until_it_sends_larger_ones() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_member_deltas=4))
    for seqno in range(1, 5):
        merge(replica, ANN, delta(seqno, blocks=(block(keys=[seqno]),)))
    assert merge(replica, ANN, delta(5, blocks=(block(keys=[5]),))).reason == "max-member-deltas"
    gathered = delta(5, blocks=(block(keys=range(1, 6)),))
    assert merge(replica, ANN, gathered).kind is MergeKind.MERGED
    assert len(replica.page({}, 0.0, 1 << 20).items) == 1


def test_limits_that_the_arithmetic_cannot_hold_are_refused() -> None:
    ReplicaLimits(max_members=MEMBER_CAP)
    with pytest.raises(ValueError, match="max_members"):
        ReplicaLimits(max_members=MEMBER_CAP + 1)


@pytest.mark.parametrize("limit", [1e-6, 0.5, 1.0, 1.5, 64.0, 100.0, 128.0, VALUE_LIMIT_CAP])
def test_as_many_members_as_may_be_cannot_overflow_a_sum(limit: float) -> None:
    schema = TableSchema("t", 1, (0.0,), (0.0,), (0.0,), "float32", value_limit=limit)
    charter = Charter("edge", "rating", (schema,))
    most = np.full((1, 1), limit, dtype=np.float32)
    if most[0, 0] > limit:
        most = np.nextafter(most, np.float32(0))
    worst = QuantizedBlock(
        "t",
        "float32",
        keys(0),
        most,
        np.zeros(0, dtype=np.float16),
        np.array([MAX_EVIDENCE], dtype=np.uint32),
        np.array([MAX_CURVATURE], dtype=np.float32),
    )
    replica = Replica(charter)
    merge(replica, ANN, delta(1, blocks=(worst,), charter=charter))
    live = replica._sums["t"].live()
    assert 0 < int(live.num[0, 0]) * MEMBER_CAP < 2**63
    assert int(live.den[0, 0]) == MAX_PRECISION * 2**27
    assert int(live.den[0, 0]) * MEMBER_CAP < 2**63
    assert abs(replica.view().rows("t", keys(0))[0, 0] / most[0, 0] - 1) < 1e-6


def test_the_smallest_precision_still_gives_a_mean_within_the_limit() -> None:
    tiny = np.full(1, 2.0**-28, dtype=np.float32)
    num, den = to_fixed(np.full((1, 1), 100.0, np.float32), np.ones(1, np.uint32), tiny, 20)
    assert (int(num[0, 0]), int(den[0, 0])) == (0, 0)
    replica = Replica(CHARTER)
    for scale in (2.0**-27, 2.0**-24):
        curvature = np.full(1, scale, dtype=np.float32)
        faint = dataclasses.replace(block(MEAN, keys=[0]), curvature=curvature)
        faint = dataclasses.replace(faint, codes=np.full((1, 1), 100.0, dtype=np.float32))
        merge(replica, ANN, delta(1, epoch=round(1 / scale), blocks=(faint,)))
        assert abs(replica.view().rows("mean", keys(0))[0, 0]) <= 100.0


# --- departures -----------------------------------------------------------------------------------


def test_a_leave_takes_its_author_out_and_keeps_old_deltas_out() -> None:
    replica = Replica(CHARTER)
    merge(replica, BOB, delta(1))
    alone = replica.digest()
    merge(replica, ANN, delta(1))
    assert replica.leave(ANN, 1, b"leave", 0.0).rows_changed == 3
    assert replica.digest() == alone
    result = merge(replica, ANN, delta(2))
    assert (result.kind, result.reason) == (MergeKind.STALE, "left")
    assert replica.leave(ANN, 1, b"leave", 0.0).kind is MergeKind.DUPLICATE
    assert merge(replica, ANN, delta(1, epoch=2)).kind is MergeKind.MERGED


def test_a_leave_of_an_epoch_that_is_over_is_stale() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1, epoch=2))
    assert replica.leave(ANN, 1, b"leave", 0.0).kind is MergeKind.STALE
    assert replica.member_count == 1


def test_a_leave_heard_before_any_delta_holds() -> None:
    replica = Replica(CHARTER)
    assert replica.leave(ANN, 3, b"leave", 0.0).kind is MergeKind.MERGED
    assert merge(replica, ANN, delta(1, epoch=3)).reason == "left"
    assert replica.has_left(ANN, 3)
    assert not replica.has_left(ANN, 4)
    assert not replica.has_left(BOB, 1)


def test_a_silent_member_expires_and_one_that_speaks_does_not() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    merge(replica, BOB, delta(1), now=0.0)
    replica.heard(BOB, 50.0)
    assert replica.expire(99.9) == ()
    assert replica.expire(100.0) == (ANN,)
    assert [m.peer_id for m in replica.members()] == [BOB]


def test_a_node_does_not_expire_itself() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    assert replica.expire(1000.0, keep={ANN}) == ()


def test_a_relayed_word_counts_with_its_age() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    replica.heard(ANN, 100.0, age_seconds=60.0)
    assert replica.expire(139.0) == ()
    assert replica.expire(140.0) == (ANN,)


def test_stale_copies_do_not_bring_an_expired_member_back() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    merge(replica, ANN, delta(2), now=10.0)
    replica.expire(110.0)
    replica.heard(ANN, 115.0, age_seconds=110.0)  # someone heard it at 5: old news
    for seqno in (1, 2):
        assert merge(replica, ANN, delta(seqno), now=120.0, age=50.0).reason == "expired"
    assert replica.behind({ANN: Version(1, 2)}) == ()


def test_a_newer_delta_brings_an_expired_member_back() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    replica.expire(100.0)
    assert merge(replica, ANN, delta(2), now=101.0).kind is MergeKind.MERGED
    assert merge(replica, ANN, delta(1, blocks=(block(keys=[1]),)), now=101.0).rows_changed == 1


def test_a_newer_sign_of_life_brings_an_expired_member_back() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    merge(replica, ANN, delta(1), now=0.0)
    replica.expire(100.0)
    replica.heard(ANN, 130.0, age_seconds=20.0)  # someone heard it at 110
    assert replica.behind({ANN: Version(1, 1)}) == ((ANN, Version(1, 0), Version(1, 1)),)
    assert merge(replica, ANN, delta(1), now=130.0, age=20.0).kind is MergeKind.MERGED


def test_a_stranger_not_heard_of_for_the_time_to_live_is_not_taken_in() -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    assert merge(replica, ANN, delta(1), now=500.0, age=100.0).reason == "expired"
    assert merge(replica, ANN, delta(1), now=500.0, age=99.0).kind is MergeKind.MERGED
    assert replica.expire(501.0) == (ANN,)


def test_tombstones_are_bounded_in_number_and_time() -> None:
    replica = Replica(CHARTER, ReplicaLimits(max_members=2, member_ttl_seconds=100))
    for number in range(9):
        replica.leave(peer(number), 1, b"leave", float(number))
    assert len(replica.page({}, 10.0, 1 << 20).items) == 4
    assert merge(replica, peer(0), delta(1), now=10.0).kind is MergeKind.MERGED  # forgotten
    assert merge(replica, peer(8), delta(1), now=10.0).reason == "left"
    replica.expire(208.0)
    assert merge(replica, peer(8), delta(1), now=208.0).reason == "left"
    replica.expire(208.1)
    assert merge(replica, peer(8), delta(1), now=208.1).kind is MergeKind.MERGED


def test_a_relayed_tombstone_does_not_go_round_for_ever() -> None:
    limits = ReplicaLimits(member_ttl_seconds=100)
    first, second = Replica(CHARTER, limits), Replica(CHARTER, limits)
    first.leave(ANN, 1, b"leave", 0.0)
    (item,) = first.page({}, 150.0, 1000).items
    assert item.age_seconds == 150.0
    assert second.leave(ANN, 1, b"leave", 150.0, age_seconds=150.0).kind is MergeKind.MERGED
    second.expire(200.1)
    assert not second.has_left(ANN, 1)
    assert second.leave(ANN, 1, b"leave", 201.0, age_seconds=201.0).reason == "expired"
    merge(second, ANN, delta(1), now=201.0)
    assert second.leave(ANN, 1, b"leave", 201.0, age_seconds=201.0).kind is MergeKind.MERGED


# --- version vectors and pages --------------------------------------------------------------------


def test_the_version_counts_up_to_the_first_gap() -> None:
    replica = Replica(CHARTER)
    for seqno in (1, 2, 4, 5):
        merge(replica, ANN, delta(seqno, blocks=(block(keys=[seqno]),)))
    assert replica.version_vector() == {ANN: Version(1, 2)}
    assert [replica.has_heard(ANN, 1, n) for n in range(1, 7)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    merge(replica, ANN, delta(3, blocks=(block(keys=[3]),)))
    assert replica.version_vector() == {ANN: Version(1, 5)}


def test_behind_names_gaps_new_epochs_and_strangers_but_not_leavers() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1))
    merge(replica, ANN, delta(3))
    merge(replica, BOB, delta(2, epoch=1))
    replica.leave(peer("gone"), 4, b"leave", 0.0)
    theirs = {
        ANN: Version(1, 3),
        BOB: Version(2, 1),
        EVE: Version(1, 1),
        peer("gone"): Version(4, 9),
    }
    assert dict((a, have) for a, have, _ in replica.behind(theirs)) == {
        ANN: Version(1, 1),
        BOB: Version(2, 0),
        EVE: Version(1, 0),
    }
    assert replica.behind({ANN: Version(1, 1), BOB: Version(1, 0)}) == ()


def test_a_page_holds_what_the_asker_lacks_and_says_what_is_complete() -> None:
    replica = Replica(CHARTER)
    for seqno in (1, 2, 3):
        merge(replica, ANN, delta(seqno, blocks=(block(keys=[seqno]),)))
    page = replica.page({ANN: Version(1, 1)}, 7.0, 1 << 20)
    assert [item.envelope for item in page.items] == [
        envelope_of(ANN, delta(n, blocks=(block(keys=[n]),))) for n in (2, 3)
    ]
    assert page.complete == (Completeness(ANN, 1, 1, 3, 7.0),)
    assert page.items[0].age_seconds == 7.0
    assert page.cursor is None
    assert replica.page({ANN: Version(1, 3)}, 7.0, 1 << 20).items == ()
    assert replica.page({ANN: Version(2, 0)}, 7.0, 1 << 20).items == ()
    assert len(replica.page({ANN: Version(0, 0)}, 7.0, 1 << 20).items) == 3


def test_superseded_deltas_are_declared_complete_instead_of_sent() -> None:
    server, asker = Replica(CHARTER), Replica(CHARTER)
    for seqno in range(1, 9):
        merge(server, ANN, delta(seqno))
    page = server.page({}, 0.0, 1 << 20)
    assert len(page.items) == 1
    merge(asker, ANN, delta(8))
    assert asker.version_of(ANN) == Version(1, 0)
    assert asker.mark_complete(page.complete[0])
    assert asker.version_of(ANN) == Version(1, 8)
    assert asker.digest() == server.digest()


def test_a_statement_that_does_not_connect_is_not_believed() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(9))
    assert not replica.mark_complete(Completeness(ANN, 1, 3, 9, 0.0))
    assert not replica.mark_complete(Completeness(ANN, 2, 0, 9, 0.0))
    assert not replica.mark_complete(Completeness(BOB, 1, 0, 9, 0.0))
    assert replica.version_of(ANN) == Version(1, 0)
    assert replica.mark_complete(Completeness(ANN, 1, 0, 99, 0.0))
    assert replica.version_of(ANN) == Version(1, 9)  # not beyond what its author signed


def test_pages_of_one_byte_still_move_on() -> None:
    replica = Replica(CHARTER)
    for author in (ANN, BOB, EVE):
        for seqno in (1, 2):
            merge(replica, author, delta(seqno, blocks=(block(keys=[seqno]),)))
    replica.leave(peer("gone"), 1, b"leave", 0.0)
    seen, cursor = [], None
    for _ in range(20):
        page = replica.page({}, 0.0, 1, cursor)
        assert len(page.items) <= 1
        seen += [item.envelope for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [item.envelope for item in replica.items(0.0)]
    assert len(seen) == 7


def test_a_delta_that_comes_in_behind_the_cursor_is_not_declared_complete() -> None:
    server, asker = Replica(CHARTER), Replica(CHARTER)
    samples = {n: delta(n, blocks=(block(keys=[n]),)) for n in (1, 2, 3, 4)}
    by_envelope = {envelope_of(ANN, sample): sample for sample in samples.values()}
    for seqno in (1, 3, 4):
        merge(server, ANN, samples[seqno])
    cursor = None
    while True:
        page = server.page({}, 0.0, 1, cursor)
        for item in page.items:
            merge(asker, ANN, by_envelope[item.envelope])
        for statement in page.complete:
            asker.mark_complete(statement)
        cursor = page.cursor
        if cursor is None:
            break
        if cursor.seqno == 3:
            merge(server, ANN, samples[2])
    assert not asker.has_heard(ANN, 1, 2)
    assert asker.version_of(ANN) == Version(1, 1)
    assert asker.behind(server.version_vector()) == ((ANN, Version(1, 1), Version(1, 4)),)


def test_the_leave_of_a_member_that_rejoined_is_sent_once() -> None:
    replica = Replica(CHARTER)
    replica.leave(ANN, 1, b"leave", 0.0)
    for seqno in (1, 2, 3):
        merge(replica, ANN, delta(seqno, epoch=2, blocks=(block(keys=[seqno]),)))
    kinds, cursor = [], None
    for _ in range(20):
        page = replica.page({}, 0.0, 1, cursor)
        kinds += [item.kind for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert kinds == ["leave", "delta", "delta", "delta"]
    assert [i.kind for i in replica.page({ANN: Version(2, 1)}, 0.0, 1000).items] == ["delta"] * 2


def test_a_page_cut_within_an_author_with_a_gap_is_complete_only_up_to_the_gap() -> None:
    server = Replica(CHARTER)
    for seqno in (1, 3, 4):
        merge(server, ANN, delta(seqno, blocks=(block(keys=[seqno]),)))
    size = len(envelope_of(ANN, delta())) + 128
    page = server.page({}, 0.0, 2 * size)
    assert page.cursor == Cursor(ANN, 1, 3)
    assert page.complete == (Completeness(ANN, 1, 0, 1, 0.0),)
    assert server.page({}, 0.0, 2 * size, page.cursor).complete == ()


def test_any_cursor_from_a_stranger_is_harmless() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1))
    for cursor in (Cursor(ANN, 1, 1 << 62), Cursor(EVE, 9, 9), Cursor(PeerId(""), 0, 0)):
        page = replica.page({}, 0.0, 1 << 20, cursor)
        assert len(page.items) <= 1
        assert page.cursor is None


def test_a_pull_answers_for_the_authors_it_names() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1))
    merge(replica, BOB, delta(1))
    page = replica.page({BOB: Version(1, 0)}, 0.0, 1 << 20, authors={BOB, EVE})
    assert [item.author for item in page.items] == [BOB]


def test_a_replica_saved_and_loaded_again_is_the_same() -> None:
    replica = Replica(CHARTER)
    samples = {}
    for author in (ANN, BOB):
        for seqno in (1, 2, 3):
            sample = delta(seqno, blocks=(block(keys=[seqno, 5]), block(HALF, keys=[seqno])))
            samples[envelope_of(author, sample)] = sample
            merge(replica, author, sample)
    loaded = Replica(CHARTER)
    for item in replica.items(0.0):
        merge(loaded, item.author, samples[item.envelope])
    assert loaded.digest() == replica.digest()
    assert loaded.size_bytes == replica.size_bytes


def test_seqnos_beyond_a_gap_are_remembered_up_to_a_bound() -> None:
    heard = HeardSeqnos()
    for seqno in range(3, MAX_EXTRAS + 10):
        heard.add(seqno)
    assert heard.complete == 0
    assert 3 in heard
    assert MAX_EXTRAS + 9 not in heard
    heard.add(1)
    heard.add(2)
    assert heard.complete == MAX_EXTRAS + 2
    heard.mark_complete(MAX_EXTRAS + 5)
    assert heard.complete == MAX_EXTRAS + 5


def test_rows_nobody_holds_any_more_are_reclaimed() -> None:
    replica = Replica(CHARTER)
    merge(replica, ANN, delta(1, blocks=(block(keys=range(5000)),)))
    merge(replica, BOB, delta(1, blocks=(block(keys=range(4990, 5010), seed=4),)))
    expected = Replica(CHARTER)
    merge(expected, BOB, delta(1, blocks=(block(keys=range(4990, 5010), seed=4),)))
    sums = replica._sums["items"]
    before = sums.allocated_bytes
    replica.leave(ANN, 1, b"leave", 0.0)
    assert sums.allocated_bytes < before / 10
    assert replica.model_rows == 20
    seen, wanted = replica.view(), expected.view()
    assert seen.keys("items").tolist() == wanted.keys("items").tolist()
    rows = seen.rows("items", seen.keys("items"))
    assert (rows == wanted.rows("items", wanted.keys("items"))).all()
    assert ITEMS.width == rows.shape[1]
