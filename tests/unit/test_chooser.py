"""`Chooser`: one look at a time, and what becomes of what was decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.contribution import Charter, Evaluation, GroupCard, GroupId
from openfl.core.errors import GroupError
from openfl.learning.comparison import Comparison, Fit
from openfl.switching.chooser import LEAST_PAUSE_SECONDS, Chooser, here_of, move_order
from openfl.switching.directory import Directory
from openfl.switching.events import LookResult
from openfl.switching.policy import Candidate, Decision, Finding, Here, LookOrder, SelectionSettings
from openfl.switching.seed import MoveOrder
from tests.group_rig import CHARTER, Rig, peer, taught_by

ALWAYS = SelectionSettings(look_probability=1.0, warm_up_rounds=0)
HOME = Here(GroupId("home"), "home", 10)
JAZZ = Candidate(GroupId("jazz"), "jazz", 10)
SKA = Candidate(GroupId("ska"), "ska", 10)
HERE = Evaluation("rmse", 1.0, 0.01, 40)
FIT = Fit(HERE)


def chooser(settings: SelectionSettings = ALWAYS, *, pinned: bool = False) -> Chooser:
    return Chooser(settings, np.random.default_rng(0), rounds=20, rounds_here=20, pinned=pinned)


def finding(candidate: Candidate, gain: float) -> Finding:
    there = Evaluation("rmse", 1 - gain, 0.01, 40)
    return Finding(candidate, 10, Comparison(HERE, there, gain, 0.01, 40))


def found(
    *findings: Finding,
    alone: Comparison | None = None,
    circle: Comparison | None = None,
    harmful: tuple[int, int] = (0, 0),
    **nothing: str,
) -> LookResult:
    reasons = {GroupId(name): why for name, why in nothing.items()}
    return LookResult(findings, reasons, alone, circle, harmful)


def order(one: Chooser) -> LookOrder:
    ordered = one.round_done(HOME, (JAZZ, SKA), FIT, True)
    assert ordered is not None
    return ordered


def test_while_a_look_and_what_follows_is_not_over_no_other_is_ordered() -> None:
    one = chooser()
    assert set(order(one).groups) == {JAZZ, SKA}
    rounds = one.selector.rounds
    assert one.round_done(HOME, (JAZZ,), FIT, True) is None
    assert one.selector.rounds == rounds + 1, "rounds count on"
    one.over(100.0)
    assert one.next_look_at == 100.0 + LEAST_PAUSE_SECONDS
    assert order(one)


def test_without_data_to_judge_by_there_is_no_look_for_it_could_end_in_nothing() -> None:
    one = chooser()
    rounds = one.selector.rounds
    for fit in (None, FIT):
        assert one.round_done(HOME, (JAZZ,), fit, False) is None
    assert one.selector.rounds == rounds + 2, "rounds count on"
    assert order(one), "and it is not busy with one"


def test_who_holds_nothing_back_looks_when_its_task_can_judge_all_the_same() -> None:
    ordered = chooser().round_done(HOME, (JAZZ,), None, True)
    assert ordered is not None
    assert ordered.groups == (JAZZ,)


def test_groups_that_gave_nothing_count_as_unreached_and_are_told_why() -> None:
    one = chooser()
    decision = one.decide(HOME, order(one), found(jazz="no answer in time"))
    assert decision is not None
    assert decision.why == "no other group was reached: jazz: no answer in time"


def test_no_more_than_three_reasons_are_told() -> None:
    groups = tuple(Candidate(GroupId(f"g{n}"), f"g{n}", 3) for n in range(5))
    reasons = {f"g{n}": "silent" for n in range(5)}
    decision = chooser().decide(HOME, LookOrder(groups, alone=False), found(**reasons))
    assert decision is not None
    assert decision.why.endswith("g0: silent; g1: silent; g2: silent; and 2 more")


def test_a_look_at_nobody_that_learned_nothing_decides_nothing() -> None:
    one = chooser()
    assert one.decide(HOME, LookOrder((), alone=True), found()) is None
    same = Comparison(HERE, HERE, 0.0, 0.01, 40)
    for result in (found(alone=same), found(circle=same)):
        decision = one.decide(HOME, LookOrder((), alone=True, circle=True), result)
        assert decision is not None
        assert decision.why.endswith("none is known that this node could join")


def test_what_a_look_found_of_the_own_circle_and_of_members_that_do_harm_counts() -> None:
    better = Comparison(HERE, HERE, 0.1, 0.01, 40)
    decision = chooser().decide(HOME, LookOrder((), circle=True), found(circle=better))
    assert decision is not None
    assert decision.action == "found"
    unsure = replace(finding(JAZZ, 0.1), comparison=replace(better, standard_error=0.05))
    unsure = replace(unsure, members=3)
    for harmful, action in (((0, 40), "stay"), ((20, 40), "move")):
        decision = chooser().decide(HOME, LookOrder((JAZZ,)), found(unsure, harmful=harmful))
        assert decision is not None
        assert decision.action == action


def test_what_the_owner_has_said_meanwhile_counts() -> None:
    one = chooser()
    ordered = order(one)
    one.pin(True)
    assert one.decide(HOME, ordered, found(finding(JAZZ, 0.2))) is None
    one.pin(False)
    decision = one.decide(HOME, ordered, found(finding(JAZZ, 0.2)))
    assert decision is not None
    assert decision.target == JAZZ


def test_who_is_pinned_from_the_start_never_looks() -> None:
    assert chooser(pinned=True).round_done(HOME, (JAZZ,), FIT, True) is None
    never = SelectionSettings(enabled=False)
    one = chooser(never)
    one.pin(False)
    assert one.round_done(HOME, (JAZZ,), FIT, True) is None, "freeing it does not switch it on"


def test_a_move_that_failed_is_told_as_a_stay_with_both_reasons() -> None:
    one = chooser()
    decision = one.decide(HOME, order(one), found(finding(JAZZ, 0.2)))
    assert decision is not None
    left = one.not_done(decision, "no member of group jazz answers")
    assert left.action == "stay"
    assert left.why == (
        "jazz should be 20.0 % better than home (+20.0 % +- 1.0 % by 40 examples),"
        " but no member of group jazz answers"
    )
    assert one.selector.moves == 0
    assert one.selector.latest == left


def test_a_move_counts_when_it_was_the_node_s_own_and_not_when_its_owner_s() -> None:
    one = chooser()
    one.decide(HOME, order(one), found(finding(JAZZ, 0.2)))
    one.arrived(MoveOrder(CHARTER, "move", "moved", by_itself=True))
    assert (one.selector.moves, one.selector.rounds_here, one.pinned) == (1, 0, False)
    one.arrived(MoveOrder(CHARTER, "switch", "switched", pin=True))
    assert (one.selector.moves, one.selector.rounds_here, one.pinned) == (1, 0, True)
    assert one.selector.latest.why == "its owner put it there"


def test_a_node_is_where_its_session_is_and_counts_itself() -> None:
    session = Rig().add().session
    assert here_of(session) == Here(CHARTER.group_id, CHARTER.name, 1)


# --- what a look compares with, and how closely it looks ------------------------------------------


def test_a_look_compares_with_the_others_of_the_own_group() -> None:
    me, other = (member.session for member in taught_by(CHARTER, 1, 2))
    one = chooser()
    standpoint = one.standpoint(me, LookOrder((JAZZ,)))
    assert standpoint.charter == CHARTER
    assert standpoint.others is not None
    assert list(standpoint.others.keys("weights")) == [3], "what the other one taught"
    assert standpoint.circle is None
    theirs = one.standpoint(other, LookOrder((JAZZ,))).others
    assert theirs is not None
    assert list(theirs.keys("weights")) == [2]


@given(
    gain=st.floats(-0.2, 0.2),
    error=st.floats(0.0, 1.0),
    members=st.integers(1, 40),
    harmful=st.integers(0, 40),
)
def test_whatever_it_would_move_for_it_looks_at_closer(
    gain: float, error: float, members: int, harmful: int
) -> None:
    """Where a node knows whom it has judged as it did at its last look."""
    session = Rig().add().session
    here = here_of(session)
    one, seen = chooser(), (harmful, 40)
    one.decide(here, LookOrder((SKA,)), found(finding(SKA, -0.5), harmful=seen))
    compared = Comparison(HERE, HERE, gain, error, 40)
    told = Finding(JAZZ, members, compared, signed=False)
    promising = one.standpoint(session, LookOrder((JAZZ,))).promising(told)
    signed = replace(told, signed=True)
    decision = one.decide(here, LookOrder((JAZZ,)), found(signed, harmful=seen))
    assert decision is not None
    if decision.action == "move":
        assert promising
    if gain + error < -0.05 and members == 1:
        assert not promising, "one that is surely worse is not fetched"


# --- what a decision comes to ---------------------------------------------------------------------

OLD = replace(CHARTER, name="blues")


def knows(*charters: Charter) -> Directory:
    directory = Directory()
    for number, charter in enumerate(charters):
        card = GroupCard(charter, 3, 9, "rmse", 1.0, 1.0, peer(number), 1.0)
        directory.add(card, b"card", 0.0)
    return directory


def ordered(decision: Decision, directory: Directory, now: float = 0.0) -> MoveOrder:
    return move_order(
        decision,
        OLD,
        directory,
        lambda name: replace(CHARTER, name=name),
        lambda count: bytes.fromhex("a03f")[:count],
        now,
    )


def to(charter: Charter) -> Decision:
    return Decision("move", "it is better", Candidate(charter.group_id, charter.name, 3))


def test_the_owner_is_told_whence_whither_and_why() -> None:
    moved = ordered(to(CHARTER), knows(CHARTER))
    assert (moved.charter, moved.action) == (CHARTER, "move")
    assert moved.text == "moved from blues to rig: it is better"
    founded = ordered(Decision("found", "alone is better"), knows())
    assert (founded.charter.name, founded.action) == ("blues-a03f", "found")
    assert founded.text == "founded blues-a03f, left blues: alone is better"
    assert moved.by_itself
    assert founded.by_itself


def test_a_group_that_no_card_tells_of_any_more_is_not_moved_to() -> None:
    with pytest.raises(GroupError, match="group rig is not known any more"):
        ordered(to(CHARTER), knows())
    with pytest.raises(GroupError, match="group rig is not known any more"):
        ordered(to(CHARTER), knows(CHARTER), now=1e6)


def test_a_group_that_is_called_what_another_s_id_is_diverts_nobody() -> None:
    impostor = replace(CHARTER, name=str(CHARTER.group_id))
    assert ordered(to(CHARTER), knows(impostor, CHARTER)).charter == CHARTER
    with pytest.raises(GroupError):
        ordered(to(CHARTER), knows(impostor))
