"""The network model, stand-in envelopes and what is told of a run."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest

from openfl.core.contribution import Evaluation
from openfl.core.errors import InvalidSignature
from openfl.core.telemetry import json_plain
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
from openfl.simulation.agenda import Agenda
from openfl.simulation.connections import connections
from openfl.simulation.links import Links
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import Fits
from openfl.simulation.scenario import NetworkSection
from openfl.simulation.sealing import OnceReader, OnceSealer, StandInSealer
from openfl.wire import messages as wire


def links(**settings: float | int) -> Links:
    section = NetworkSection(**{"latency_spread": 0.0, **settings})  # type: ignore[arg-type]
    return Links(section, 2.0, np.random.default_rng(0))


def test_latency_is_that_of_all_hops_and_bandwidth_adds_to_it() -> None:
    assert links().published(10.0, 1000, 3).first.tolist() == pytest.approx([10.1] * 3)
    slow = links(bandwidth_bytes_per_second=1000.0)
    assert slow.published(10.0, 1000, 1).first.tolist() == pytest.approx([11.1])
    assert slow.one_way(500) == pytest.approx(0.55)


def test_loss_duplicates_and_delays_come_in_the_parts_asked_for() -> None:
    arrivals = links(loss=0.2, duplicate=0.1, delay_rounds=3.0).published(0.0, 10, 20_000)
    lost = np.isinf(arrivals.first)
    assert lost.mean() == pytest.approx(0.2, abs=0.02)
    twice = np.isfinite(arrivals.again)
    assert twice.mean() == pytest.approx(0.08, abs=0.02)
    assert not (twice & lost).any()
    assert (arrivals.again[twice] > arrivals.first[twice]).all()
    assert 5.9 < arrivals.first[~lost].max() < 6.1 + 0.1
    quiet = links().published(0.0, 10, 1000)
    assert np.isfinite(quiet.first).all()
    assert np.isinf(quiet.again).all()


def test_messages_that_are_held_back_are_overtaken() -> None:
    first = links(reorder=0.5, reorder_seconds=4.0).published(0.0, 10, 1000).first
    assert (first > 0.2).mean() == pytest.approx(0.48, abs=0.05)


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 5000, 70_000])
def test_a_stand_in_envelope_is_as_large_as_a_real_one(size: int) -> None:
    real, stand_in = Libp2pSealer(generate_identity()), StandInSealer(0, 1)
    payload = bytes(size)
    sealed = stand_in.seal(wire.DELTA_TYPE, payload)
    if size:
        assert len(sealed) == len(real.seal(wire.DELTA_TYPE, payload))
    assert stand_in.open(wire.DELTA_TYPE, sealed) == (stand_in.peer_id, payload)


def test_a_stand_in_envelope_of_another_kind_or_with_a_changed_byte_does_not_open() -> None:
    sealer = StandInSealer(0, 1)
    sealed = sealer.seal(wire.DELTA_TYPE, b"payload")
    with pytest.raises(InvalidSignature):
        sealer.open(wire.LEAVE_TYPE, sealed)
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1
        with pytest.raises(InvalidSignature):
            sealer.open(wire.DELTA_TYPE, bytes(broken))
    with pytest.raises(InvalidSignature):
        sealer.open(wire.DELTA_TYPE, b"")


def test_identities_follow_from_seed_and_number() -> None:
    assert StandInSealer(0, 1).peer_id == StandInSealer(0, 1).peer_id
    assert len({StandInSealer(s, n).peer_id for s in (0, 1) for n in (0, 1)}) == 4


def test_what_is_read_once_is_the_same_object_for_all() -> None:
    reader, memory = OnceReader(), OrderedDict()  # type: ignore[var-annotated]
    sealers = [OnceSealer(StandInSealer(0, n), memory) for n in (0, 1)]
    sealed = sealers[0].seal(wire.DELTA_TYPE, b"payload")
    opened = [sealer.open(wire.DELTA_TYPE, sealed) for sealer in sealers]
    assert opened[0] == opened[1] == (sealers[0].peer_id, b"payload")
    with pytest.raises(InvalidSignature):
        sealers[1].open(wire.LEAVE_TYPE, sealed)
    message = wire.encode_gossip(wire.Announce(bytes(32), 1, 1, 1))
    assert reader.gossip(message) is reader.gossip(message)


def test_fits_weigh_by_ratings_only_when_pooled() -> None:
    fits = Fits.of([Evaluation("rmse", 1.0, 0.1, 30), Evaluation("rmse", 2.0, 0.1, 10)])
    assert fits.pooled == pytest.approx(math.sqrt((30 + 40) / 40))
    assert (fits.mean, fits.median, fits.worst) == (1.5, 1.5, 2.0)
    mean = Fits.of([Evaluation("log_loss", 1.0, 0.1, 30), Evaluation("log_loss", 2.0, 0.1, 10)])
    assert mean.pooled == pytest.approx(50 / 40)
    nothing = Fits.of([Evaluation("rmse", math.nan, math.nan, 0)])
    assert math.isnan(nothing.pooled)
    assert json_plain({"a": [math.nan, math.inf, 1.0]}) == {"a": [None, None, 1.0]}


def test_the_agenda_goes_by_time_then_by_order_of_planning_and_never_back() -> None:
    agenda, seen = Agenda(), []  # type: ignore[var-annotated]

    def say(word: str) -> None:
        seen.append((agenda.now, word))
        agenda.note(word, 0)
        if word == "b":
            agenda.plan(0.0, say, "planned into the past")
        if word == "end":
            agenda.end()

    for at, word in ((2.0, "b"), (1.0, "a"), (2.0, "c"), (3.0, "end"), (4.0, "never")):
        agenda.plan(at, say, word)
    agenda.run()
    assert seen == [
        (1.0, "a"),
        (2.0, "b"),
        (2.0, "c"),
        (2.0, "planned into the past"),
        (3.0, "end"),
    ]
    assert agenda.trace != Agenda().trace


def member(index: int, side: int = 0) -> SimulatedMember:
    return SimulatedMember(index, StandInSealer(0, index), None, side=side)  # type: ignore[arg-type]


def test_connections_go_both_ways_stay_on_one_side_and_are_kept() -> None:
    rng = np.random.default_rng(0)
    members = [member(index, side=index % 2) for index in range(20)]
    links = connections(members, 3, rng)
    side = {m.peer_id: m.side for m in members}
    for peer, others in links.items():
        assert len(others) >= 3
        assert all(peer in links[other] and side[other] == side[peer] for other in others)
    for one in members:
        one.reachable = links[one.peer_id]
    assert connections(members, 3, rng) == links
    left = connections(members[2:], 3, rng)
    gone = {m.peer_id for m in members[:2]}
    assert all(links[peer] - gone <= found for peer, found in left.items())
    assert not any(found & gone for found in left.values())


def test_the_last_one_is_connected_to_nobody() -> None:
    alone = member(0)
    assert connections([alone], 8, np.random.default_rng(0)) == {alone.peer_id: frozenset()}
