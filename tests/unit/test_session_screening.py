"""Whom a session leaves out of its model: judged while it trains, told to its owner, undone when
the member behaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.member_judge import GROSS, HARMFUL, HEAVY
from openfl.core.contribution import Contribution, ModelView
from openfl.group import events as ev
from openfl.group.case import Case
from openfl.group.screening import AggregationSettings
from openfl.group.settings import SessionSettings
from openfl.learning.task import Counterfactuals
from openfl.network.base import Verdict
from openfl.wire import messages as wire
from tests.group_rig import TABLE, Member, Rig, contribution, evaluation, quick

KEYS = tuple(range(1, 9))
TRUTH = 4.0
BY_INFLUENCE_ALONE = quick(row_fraction=1.0, aggregation=AggregationSettings(norm_factor=1000.0))


class Judge:
    """A task whose examples say that every row is `TRUTH`, five examples a row."""

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float64]]:
        keys = np.array(KEYS, dtype=np.uint64)
        known = model.evidence(TABLE.name, keys)[:, None] > 0
        rows = np.where(known, model.rows(TABLE.name, keys).astype(np.float64), 0.0)
        for part in parts:
            found = part.changed(TABLE.name, keys)
            other = np.repeat(rows[:, :1], part.count, axis=1)
            other[found.row, found.counterfactual] += found.change[:, 0]
            change = (other - TRUTH) ** 2 - (rows[:, :1] - TRUTH) ** 2
            yield np.repeat(change, 5, axis=0)


class Undecided:
    """A judge to whom nobody makes a difference."""

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float64]]:
        return (np.zeros((5, part.count)) for part in parts)


class NoJudge:
    """A task that cannot say what members do to its data."""


def work(value: float, evidence: float = 10.0) -> Contribution:
    return contribution(KEYS, value, evidence)


def finish(
    rig: Rig, member: Member, value: float, task: object, evidence: float = 10.0
) -> list[ev.Effect]:
    """One round's training ends, with what the task says of the others."""
    train = member.wants_training.pop()
    influence = {} if train.case is None else train.case.judge(task)
    event = ev.TrainingFinished(work(value, evidence), evaluation(1.0), influence)
    return rig.give(member, event)


def group(settings: SessionSettings | None = None, members: int = 5) -> Rig:
    rig = Rig(settings if settings is not None else quick(row_fraction=1.0))
    for _ in range(members):
        rig.join(rig.add())
    settle(rig, Undecided())
    return rig


def settle(rig: Rig, task: object) -> None:
    """Finish the evaluations that members have asked for."""
    for member in rig.members:
        while member.wants_evaluation:
            case = member.wants_evaluation.pop().case
            influence = {} if case is None else case.judge(task)
            rig.give(member, ev.EvaluationFinished(evaluation(1.0), influence))


def rounds(
    rig: Rig, values: list[float], count: int, task: object, evidence: list[float] | None = None
) -> None:
    """Every member does `count` rounds; member n proposes `values[n]`."""
    for _ in range(count):
        rig.pass_time(1.2)
        settle(rig, task)
        for n, member in enumerate(rig.members):
            if member.wants_training:
                finish(rig, member, values[n], task, 10.0 if evidence is None else evidence[n])
        settle(rig, task)


def test_a_member_that_does_harm_is_left_out_after_few_rounds_and_readmitted_when_it_behaves():
    rig = group(BY_INFLUENCE_ALONE)
    judge, flipper = rig.members[0], rig.members[4]
    others = [TRUTH - 1] * 4
    rounds(rig, [*others, -TRUTH], 4, Judge())
    assert judge.session.left_out == {flipper.peer_id: HARMFUL}
    rounds(rig, [*others, -TRUTH], 1, Judge())
    left_out = [tell for tell in judge.told if tell.kind == "left-out"]
    assert [tell.data["peer"] for tell in left_out] == [flipper.peer_id]
    assert judge.session.faults["member-left-out"] == 1
    view = {v.peer_id: v.left_out for v in judge.session.members(rig.now)}
    assert view[flipper.peer_id] == HARMFUL
    assert not any(reason for peer, reason in view.items() if peer != flipper.peer_id)

    rounds(rig, [*others, TRUTH + 1], 15, Judge())
    assert flipper.peer_id not in judge.session.left_out
    told = [t.kind for t in judge.told if t.data.get("peer") == flipper.peer_id]
    assert [kind for kind in told if kind != "member-joined"] == ["left-out", "readmitted"]


def test_a_member_that_does_good_is_not_left_out():
    rig = group()
    rounds(rig, [TRUTH] * 5, 6, Judge())
    assert all(member.session.left_out == {} for member in rig.members)
    assert not any(tell.kind == "left-out" for member in rig.members for tell in member.told)


def test_the_model_lacks_who_is_left_out_and_the_replica_does_not():
    rig = group()
    judge, flipper = rig.members[0], rig.members[4]
    rounds(rig, [TRUTH] * 4 + [-TRUTH], 5, Judge())
    replica, keys = judge.session.replica, np.array(KEYS, dtype=np.uint64)
    without = replica.view_without([flipper.peer_id]).rows(TABLE.name, keys)
    assert np.array_equal(judge.session.model().rows(TABLE.name, keys), without)
    assert not np.array_equal(replica.view().rows(TABLE.name, keys), without)
    assert flipper.peer_id in replica.version_vector(), "its registers stay and are passed on"
    assert replica.digest() == rig.members[1].session.replica.digest()


def test_gross_steps_are_left_out_before_any_model_has_them():
    rig = group()
    judge, attacker = rig.members[0], rig.members[4]
    rounds(rig, [TRUTH] * 5, 3, NoJudge())
    rig.pass_time(1.2)
    before = judge.session.model()
    finish(rig, attacker, 90.0, NoJudge())
    assert judge.session.left_out == {attacker.peer_id: GROSS}
    keys = np.array(KEYS, dtype=np.uint64)
    after = judge.session.model().rows(TABLE.name, keys)
    assert np.abs(after - before.rows(TABLE.name, keys)).max() < 1.0


def test_whoever_claims_much_is_outside_until_it_has_proved_itself():
    rig = group()
    judge, large = rig.members[0], rig.members[4]
    evidence = [10.0] * 4 + [5000.0]
    rounds(rig, [TRUTH] * 5, 3, Undecided(), evidence)
    assert judge.session.left_out == {large.peer_id: HEAVY}
    rounds(rig, [TRUTH] * 5, 2, Judge(), evidence)
    assert judge.session.left_out == {}


def test_where_nobody_can_judge_nobody_has_to_prove_itself():
    rig = group()
    rounds(rig, [TRUTH] * 5, 4, NoJudge(), [10.0] * 4 + [5000.0])
    assert rig.members[0].session.left_out == {}


def test_whoever_claims_much_and_does_harm_stays_outside():
    rig = group()
    judge, attacker = rig.members[0], rig.members[4]
    rounds(rig, [TRUTH] * 4 + [-TRUTH], 6, Judge(), [10.0] * 4 + [5000.0])
    assert attacker.peer_id in judge.session.left_out


def test_a_newcomers_first_word_is_judged_before_anything_is_learned_from_it():
    rig = group(BY_INFLUENCE_ALONE, members=2)
    rounds(rig, [TRUTH] * 2, 3, Judge())
    judge, newcomer = rig.members[0], rig.add()
    rig.join(newcomer)
    settle(rig, Judge())
    while not newcomer.wants_training:
        rig.pass_time(0.1)
        settle(rig, Judge())
    rig.pass_time(1.2)
    finish(rig, newcomer, -TRUTH, Judge())
    finish(rig, judge, TRUTH, Judge())  # it was training meanwhile, from a model without it
    rig.pass_time(1.2)
    assert (len(judge.wants_evaluation), len(judge.wants_training)) == (1, 0)
    settle(rig, Judge())
    assert judge.session.left_out == {newcomer.peer_id: HARMFUL}
    keys = np.array(KEYS, dtype=np.uint64)
    without = judge.session.replica.view_without([newcomer.peer_id])
    model = judge.wants_training[-1].model
    assert np.array_equal(model.rows(TABLE.name, keys), without.rows(TABLE.name, keys))


def test_members_that_were_judged_cost_no_evaluation_before_a_round():
    rig = group(members=3)
    rounds(rig, [TRUTH] * 3, 3, Judge())
    assert not any(member.session._screening.has_strangers() for member in rig.members)
    rig.pass_time(1.2)
    assert all(member.wants_training for member in rig.members)
    assert not any(member.wants_evaluation for member in rig.members)


def test_few_members_with_different_data_do_not_leave_each_other_out():
    # Whoever is alone in its model has no steps left: its own are no measure of others'.
    rig = group(members=3)
    rounds(rig, [-50.0, 0.0, 50.0], 6, NoJudge())
    assert all(member.session.left_out == {} for member in rig.members)


def test_the_plain_mean_leaves_nobody_out():
    rig = group(quick(row_fraction=1.0, aggregation=AggregationSettings(rule="mean")))
    rounds(rig, [TRUTH] * 4 + [90.0], 4, Judge())
    assert all(member.session.left_out == {} for member in rig.members)
    assert all(train.case is None for member in rig.members for train in member.wants_training)


def test_other_rules_make_the_model_that_is_trained_from():
    rig = group(quick(row_fraction=1.0, aggregation=AggregationSettings(rule="median")))
    rounds(rig, [4.0, 4.0, 4.0, 4.0, 90.0], 3, NoJudge())
    rig.pass_time(1.2)
    model = rig.members[0].wants_training[-1].model
    row = model.rows(TABLE.name, np.array([1], dtype=np.uint64))[0, 0]
    assert row == np.float32(50 * 4.0 / (50 + 1)), "the median, shrunk by the prior"


def test_a_case_is_the_world_without_the_judge_and_the_one_with_it():
    rig = group(BY_INFLUENCE_ALONE, members=3)
    rounds(rig, [1.0, 2.0, 3.0], 3, Undecided())
    rig.pass_time(1.2)
    judge = rig.members[0]
    case = judge.wants_training[-1].case
    assert isinstance(case, Case)
    keys = np.array(KEYS, dtype=np.uint64)
    assert {*case.members_inside, *case.members_outside} == {m.peer_id for m in rig.members[1:]}
    replica = judge.session.replica
    without = replica.view_without([judge.peer_id]).rows(TABLE.name, keys)
    assert np.array_equal(case.model.rows(TABLE.name, keys), without)
    assert np.array_equal(case.full.rows(TABLE.name, keys), replica.view().rows(TABLE.name, keys))


def test_a_member_that_left_is_forgotten_without_a_word():
    rig = group()
    judge, flipper = rig.members[0], rig.members[4]
    rounds(rig, [TRUTH] * 4 + [-TRUTH], 5, Judge())
    rig.give(flipper, ev.LeaveRequested())
    flipper.online = False
    rig.connect()
    rounds(rig, [TRUTH] * 5, 12, Judge())
    assert judge.session.left_out == {}
    assert "readmitted" not in judge.kinds()


def test_members_tell_each_other_their_opinions_with_heartbeats():
    rig = group(BY_INFLUENCE_ALONE)
    rounds(rig, [TRUTH] * 4 + [-TRUTH], 6, Judge())
    judge, flipper = rig.members[0], rig.members[4]
    told = judge.session._screening._judge._opinions
    assert set(told) == {member.peer_id for member in rig.members[1:]}
    assert all(told[m.peer_id][flipper.peer_id] < 0 for m in rig.members[1:4])


def test_an_author_that_floods_with_bytes_is_ignored_beyond_its_quota():
    rig = Rig(quick(bytes_per_second=100.0))
    first = rig.add()
    rig.join(first)
    second = rig.add()
    announce = wire.encode_gossip(wire.Announce(bytes(32), 300, 1, 1))
    verdicts = [rig.gossip(second, announce, first) for _ in range(4)]
    assert [v.reason for v in verdicts].count("bytes") == 2
    assert all(v.verdict is not Verdict.REJECT for v in verdicts)
    assert first.session.faults["gossip-bytes"] == 2
    rig.now += 10
    assert rig.gossip(second, announce, first).reason != "bytes"


def test_195_identities_that_come_to_five_honest_members_do_not_take_their_model_from_them():
    """All on virtual time. The crowd signs what pulls the model away, and says of every
    honest member that it does harm."""
    rig = group(quick(row_fraction=1.0))
    honest = list(rig.members)
    good = [TRUTH - 1.0] * 5
    rounds(rig, good, 4, Judge())
    assert all(not member.session.left_out for member in honest)
    crowd = []
    for _ in range(195):
        sybil = rig.add()
        sybil.online = False  # what it says is handed over below
        crowd.append(sybil)
    rig.members = honest
    for sybil in crowd:
        messages, _ = sybil.session._publisher.publish(work(-TRUTH), 1, None, rig.now)
        for message in messages:
            for member in honest:
                rig.gossip(sybil, wire.encode_gossip(message), member)
        slander = tuple(wire.HeardVersion(m.peer_id, m.session.epoch, 1, 0, -15.0) for m in honest)
        lie = wire.Heartbeat(sybil.session.epoch, 1, 1, 9, None, 200, slander, bytes(16))
        for member in honest:
            rig.gossip(sybil, wire.encode_gossip(lie), member)
    assert len(honest[0].session.members(rig.now)) == 200
    rounds(rig, good, 6, Judge())
    known = {member.peer_id for member in honest}
    for member in honest:
        assert not known & member.session.left_out.keys()
        views = member.session.members(rig.now)
        assert sum(view.history is False for view in views) >= 195
        rows = member.session.model().rows(TABLE.name, np.array(KEYS, dtype=np.uint64))
        assert float(rows[:, 0].mean()) > TRUTH / 2
