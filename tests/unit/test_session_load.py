"""A loaded member of a group: rounds, heartbeats and patience follow its load, and nobody is taken
to be away for it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from openfl.group import events as ev
from openfl.group.pace import LENGTHENED, MAX_PATIENCE, RESTORED
from openfl.wire import messages as wire
from tests.group_rig import Member, Rig, contribution, quick


def loaded_by(member: Member, load: float) -> ev.LoadMeasured:
    """`load`: in parts of what may be."""
    behind = load * max(0.25, member.session.interval_seconds / 2)
    return ev.LoadMeasured(behind, behind)


def feel(rig: Rig, member: Member, seconds: int, load: float) -> None:
    """So many seconds with this load, rounds included."""
    for _ in range(seconds):
        rig.pass_time(1.0)
        rig.give(member, loaded_by(member, load))
        finish_work(rig, member)


def finish_work(rig: Rig, member: Member) -> None:
    while member.wants_training:
        rig.train(member, contribution((1,), 1.0))
    while member.wants_evaluation:
        member.wants_evaluation.pop()
        rig.give(member, ev.EvaluationFinished(None))


def learner(rig: Rig, number: int | None = None) -> Member:
    member = rig.add(number=number)
    rig.join(member)
    rig.pass_time(0.1)
    return member


def rounds_in(rig: Rig, member: Member, seconds: int, load: float) -> int:
    before = member.session.round
    feel(rig, member, seconds, load)
    return member.session.round - before


def test_rounds_come_more_slowly_under_load_and_as_set_afterwards() -> None:
    rig = Rig(quick())
    member = learner(rig)
    well = rounds_in(rig, member, 30, load=0.2)
    feel(rig, member, 30, load=3.0)
    loaded = rounds_in(rig, member, 30, load=3.0)
    assert well > 25
    assert loaded < 5
    assert member.session.interval_seconds > 4
    feel(rig, member, 300, load=0.2)
    assert member.session.interval_seconds == 1.0
    assert rounds_in(rig, member, 30, load=0.2) > 25
    assert LENGTHENED in member.kinds()
    assert member.kinds().count(RESTORED) == 1


def test_a_round_that_is_awaited_is_put_off_as_soon_as_the_interval_grows() -> None:
    rig = Rig(quick(interval_seconds=10.0))
    member = learner(rig)
    feel(rig, member, 12, load=3.0)
    assert member.session.interval_seconds == pytest.approx(15.0)
    assert member.session.round == 2, "the first at once, the next after an interval"
    # It would come 9 to 11 s after the one before.
    feel(rig, member, 10, load=3.0)
    assert member.session.round == 2


def test_members_that_trained_at_different_moments_go_on_to_do_so() -> None:
    rig = Rig(quick(interval_seconds=4.0))
    members = [rig.add() for _ in range(8)]
    for member in members:
        rig.join(member)
    seen: dict[str, list[float]] = {member.peer_id: [] for member in members}
    for second in range(1, 90 * 5):
        rig.pass_time(0.2)
        for member in members:
            if second % 5 == 0:
                rig.give(member, loaded_by(member, 3.0 if second < 30 * 5 else 0.7))
            if member.wants_training:
                seen[member.peer_id].append(rig.now)
            finish_work(rig, member)
    interval = max(member.session.interval_seconds for member in members)
    assert interval > 8
    ends = sorted(moments[-1] for moments in seen.values())
    assert max(ends) - min(ends) > interval / 2, "not all within what was the interval before"


def test_before_its_rounds_begin_a_member_keeps_its_interval() -> None:
    rig = Rig(quick(auto_start=False))
    member = learner(rig)
    feel(rig, member, 60, load=3.0)
    assert member.session.interval_seconds == 1.0


def test_heartbeats_become_rarer_but_not_so_rare_that_others_miss_the_member() -> None:
    rig = Rig(quick(auto_start=True))
    member, other = learner(rig), learner(rig)
    heard: list[float] = []

    def note(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        if sender is member and isinstance(message, wire.Heartbeat):
            heard.append(rig.now)
        return False

    rig.lost = note
    feel(rig, member, 60, load=0.2)
    well = len(heard)
    feel(rig, member, 120, load=3.0)
    heard.clear()
    before = len(other.told)
    feel(rig, member, 60, load=3.0)
    assert member.session.interval_seconds > 20, "longer than members are waited for"
    assert 0 < len(heard) < well
    longest = max(b - a for a, b in itertools.pairwise(heard))
    assert longest < rig.settings.presence_seconds
    assert "member-away" not in [tell.kind for tell in other.told[before:]]


def test_a_loaded_member_waits_longer_for_others_and_for_answers() -> None:
    rig = Rig(quick())
    member, other = learner(rig), learner(rig)
    feel(rig, member, 60, load=3.0)
    other.online = False
    rig.connect()
    presence = int(rig.settings.presence_seconds)
    feel(rig, member, presence + 5, load=3.0)
    assert "member-away" not in member.kinds()
    feel(rig, member, int(MAX_PATIENCE * presence), load=3.0)
    assert member.kinds().count("member-away") == 1


@pytest.mark.parametrize("first", [ev.TimerFired(), None], ids=["timer", "gossip"])
def test_who_stood_still_takes_nobody_to_be_away(first: ev.Event | None) -> None:
    rig = Rig(quick())
    member, other = learner(rig), learner(rig)
    rig.pass_time(5.0)
    member.online = False
    rig.pass_time(120.0)
    member.online = True
    # As the driver does: its own stall before whatever is handled first.
    rig.give(member, ev.Stalled(120.0))
    rig.give(member, first if first is not None else ev.MembersReachable(frozenset()))
    rig.pass_time(2.0)
    assert "member-away" not in member.kinds()
    assert len(member.session.members(rig.now)) == 2
    other.online = False
    rig.connect()
    rig.pass_time(rig.settings.presence_seconds + 2.0)
    assert member.kinds().count("member-away") == 1, "what comes after it counts"


def test_who_stood_still_is_not_deaf_at_once() -> None:
    rig = Rig(replace(quick(), auto_start=False))
    member, other = learner(rig), rig.add()
    rig.lost = lambda *_: True
    rig.give(member, ev.MembersReachable(frozenset({other.peer_id})))
    rig.pass_time(3.0)
    rig.now += 120.0
    rig.give(member, ev.Stalled(120.0))
    rig.pass_time(5.0)
    assert "deaf" not in member.kinds()
    rig.pass_time(rig.settings.presence_seconds)
    assert "deaf" in member.kinds()
