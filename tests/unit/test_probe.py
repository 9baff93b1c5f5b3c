"""`Probe`: a group's model fetched from outside, page by page, from members that may lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from openfl.core.errors import InvalidContribution, InvalidSignature, RemoteError
from openfl.group import events as ev
from openfl.group.screening import AggregationSettings
from openfl.switching.probe import Probe, Probes, ProbeSettings
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, Member, Rig, RigSealer, contribution, peer, quick

STRANGER = RigSealer(peer(99))
PLAIN = quick(aggregation=AggregationSettings(rule="mean"))


def group(members: int = 2) -> Rig:
    """Members that have published a row each."""
    rig = Rig(PLAIN)
    for number in range(members):
        member = rig.add()
        rig.join(member)
        if member.wants_evaluation:  # of the snapshot it joined with
            rig.give(member, ev.EvaluationFinished(None))
        rig.pass_time(2.5)
        rig.train(member, contribution((number + 1,), float(number + 1)))
    return rig


def ask(rig: Rig, member: Member, payload: bytes) -> bytes:
    request = ev.RequestReceived(STRANGER.peer_id, wire.SNAPSHOT_PROTOCOL, payload)
    effects = member.session.handle(request, rig.now)
    (answer,) = (e.payload for e in effects if isinstance(e, ev.Respond))
    return answer


def look(rig: Rig, probe: Probe, member: Member) -> int:
    """A whole look; how many pages it took."""
    probe.begin(rig.now)
    for pages in range(1, 100):
        if probe.answer(ask(rig, member, probe.request()), rig.now):
            return pages
    raise AssertionError("the look did not end")


def probe_of(settings: ProbeSettings | None = None) -> Probe:
    return Probes(STRANGER, settings).take(CHARTER)


def test_a_probe_sees_the_model_that_members_see() -> None:
    rig, probe = group(), probe_of()
    look(rig, probe, rig.members[0])
    assert probe.replica.digest() == rig.members[0].session.replica.digest()
    known = probe.view()
    keys = known.keys("weights")
    assert len(keys) == 2
    there = rig.members[0].session.replica.view()
    assert known.rows("weights", keys).tolist() == there.rows("weights", keys).tolist()


def test_nobody_is_told_of_a_probe() -> None:
    rig, probe = group(), probe_of()
    before = [m.session.members(rig.now) for m in rig.members]
    look(rig, probe, rig.members[0])
    assert [m.session.members(rig.now) for m in rig.members] == before


def test_a_second_look_fetches_only_what_is_new() -> None:
    rig, probe = group(), probe_of()
    look(rig, probe, rig.members[0])
    first = probe.fetched_bytes
    look(rig, probe, rig.members[0])
    assert probe.fetched_bytes < first / 2
    rig.pass_time(1.2)
    rig.train(rig.members[1], contribution((7,), 5.0))
    look(rig, probe, rig.members[0])
    assert 7 in probe.view().keys("weights")
    assert probe.fetched_bytes < first


def test_who_has_left_is_not_in_the_model_of_the_next_look() -> None:
    rig, probe = group(), probe_of()
    look(rig, probe, rig.members[0])
    rig.give(rig.members[1], ev.LeaveRequested())
    look(rig, probe, rig.members[0])
    assert list(probe.view().keys("weights")) == [1]


def test_a_member_can_be_left_out_of_the_view() -> None:
    rig, probe = group(), probe_of()
    look(rig, probe, rig.members[0])
    assert list(probe.view(without=(rig.members[1].peer_id,)).keys("weights")) == [1]


def test_a_large_group_comes_in_pages() -> None:
    rig = group(3)
    probe = probe_of(ProbeSettings(page_bytes=1))
    assert look(rig, probe, rig.members[0]) >= 3
    assert probe.replica.digest() == rig.members[0].session.replica.digest()


def test_a_look_ends_at_its_budget_and_keeps_what_it_has() -> None:
    rig = group(3)
    probe = probe_of(ProbeSettings(page_bytes=1, max_bytes=300))
    with pytest.raises(RemoteError, match="a snapshot of more than 300 bytes"):
        look(rig, probe, rig.members[0])
    assert 0 < probe.replica.member_count < 3


def test_pages_without_anything_in_them_do_not_go_on_for_ever() -> None:
    rig = group(3)
    probe = probe_of(ProbeSettings(page_bytes=1))
    probe.begin(rig.now)
    answer = wire.decode_items_answer(ask(rig, rig.members[0], probe.request()))
    assert isinstance(answer, wire.ItemsAnswer)
    assert answer.cursor is not None
    empty = wire.ItemsAnswer((), (), answer.cursor, answer.replica)
    with pytest.raises(RemoteError):
        probe.answer(wire.encode_answer(empty), rig.now)


def test_a_refusal_is_told_in_its_own_words() -> None:
    rig, probe = group(), probe_of()
    probe.begin(rig.now)
    refusal = wire.encode_answer(wire.Refusal("unknown-group", "this node is in group x"))
    with pytest.raises(RemoteError, match='who was asked refused: "this node is in group x"'):
        probe.answer(refusal, rig.now)


def altered(rig: Rig, probe: Probe, change: Callable[[wire.AnswerItem], wire.AnswerItem]) -> bytes:
    """A true answer but for what `change` does to its first item."""
    probe.begin(rig.now)
    answer = wire.decode_items_answer(ask(rig, rig.members[0], probe.request()))
    assert isinstance(answer, wire.ItemsAnswer)
    first, *rest = answer.items
    items = (change(first), *rest)
    return wire.encode_answer(
        wire.ItemsAnswer(items, answer.complete, answer.cursor, answer.replica)
    )


def test_the_same_answer_unaltered_is_taken() -> None:
    rig, probe = group(), probe_of()
    assert probe.answer(altered(rig, probe, lambda item: item), rig.now)


def test_a_forged_row_is_refused() -> None:
    rig, probe = group(), probe_of()

    def forge(item: wire.AnswerItem) -> wire.AnswerItem:
        broken = bytearray(item.envelope)
        broken[-5] ^= 1
        return wire.AnswerItem(item.kind, bytes(broken), item.age_seconds)

    with pytest.raises(InvalidSignature):
        probe.answer(altered(rig, probe, forge), rig.now)
    assert probe.replica.member_count == 0


def test_a_true_row_of_another_group_is_refused() -> None:
    elsewhere = Rig(PLAIN, replace(CHARTER, name="elsewhere"))
    member = elsewhere.add()
    elsewhere.join(member)
    elsewhere.pass_time(2.5)
    elsewhere.train(member, contribution((1,), 100.0))
    (foreign,) = member.session.replica.items(elsewhere.now)
    rig, probe = group(), probe_of()

    def swap(item: wire.AnswerItem) -> wire.AnswerItem:
        return wire.AnswerItem("delta", foreign.envelope, 0)

    with pytest.raises(InvalidContribution, match="was sent to this probe"):
        probe.answer(altered(rig, probe, swap), rig.now)


def test_probes_keep_the_groups_looked_at_last() -> None:
    probes = Probes(STRANGER, ProbeSettings(max_kept=2))

    def look(name: str) -> Probe:
        probe = probes.take(replace(CHARTER, name=name))
        probes.keep(probe)
        return probe

    a, b = look("a"), look("b")
    assert look("a") is a
    look("c")  # b was looked at longest ago
    assert look("a") is a
    assert look("b") is not b


def test_a_probe_that_was_taken_is_its_takers_alone() -> None:
    probes = Probes(STRANGER)
    first = probes.take(CHARTER)
    probes.keep(first)
    assert probes.take(CHARTER) is first
    other = probes.take(CHARTER)
    assert other is not first
    probes.keep(other)
    assert probes.take(CHARTER) is other
