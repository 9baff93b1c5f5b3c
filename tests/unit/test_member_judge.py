"""Who is left out, and when it is let in again: sizes, weights and influence of made-up members."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openfl.aggregation.member_judge import (
    GROSS,
    HARMFUL,
    HEAVY,
    MAX_JUDGES,
    Influence,
    JudgeSettings,
    MemberJudge,
    Size,
    bound,
    measure,
)
from openfl.aggregation.member_stack import MemberStack
from openfl.core.contribution import Charter, PeerId, TableSchema
from openfl.core.model_view import DenseModel

TABLE = TableSchema("t", 2, (1.0, 1.0), (0.0, 0.0), (0.0, 0.0), "float32")
EMPTY = DenseModel.empty(Charter("g", "mean", (TABLE,)))
PEERS = [PeerId(f"p{n}") for n in range(6)]


def sizes(steps: list[float], evidence: float = 100.0) -> dict[PeerId, Size]:
    return {p: Size(s, evidence, 400) for p, s in zip(PEERS, steps, strict=False)}


def test_a_size_is_the_weighted_root_mean_square_of_the_steps():
    rows = MemberStack(
        np.array([1, 2], dtype=np.uint64),
        np.array([[1.0, 2.0], [0.0, 3.0]], dtype=np.float32),
        np.array([[4.0, 2.0], [6.0, 3.0]], dtype=np.float32),
        np.array([4, 6], dtype=np.uint32),
        np.array([2]),
    )
    (size,) = measure({"t": rows}, EMPTY)
    expected = math.sqrt((4 * 1 + 2 * 4 + 0 + 3 * 9) / ((4 + 6) * 2))
    assert size == Size(pytest.approx(expected), 10.0, 2)


def test_members_are_measured_each_by_its_own_rows():
    rows = MemberStack(
        np.array([1, 1, 2], dtype=np.uint64),
        np.array([[1.0, 1.0], [3.0, 3.0], [3.0, 3.0]], dtype=np.float32),
        np.full((3, 2), 2.0, dtype=np.float32),
        np.array([2, 2, 2], dtype=np.uint32),
        np.array([1, 0, 2]),
    )
    assert measure({"t": rows}, EMPTY) == [
        Size(pytest.approx(1.0), 2.0, 1),
        Size(0.0, 0.0, 0),
        Size(pytest.approx(3.0), 4.0, 2),
    ]


def test_a_member_with_steps_beyond_the_bound_is_left_out():
    judge = MemberJudge()
    judge.compare(sizes([1.0, 1.1, 0.9, 1.0, 10.0]))
    assert judge.left_out == {PEERS[4]: GROSS}


def test_a_member_with_steps_within_the_bound_is_not():
    judge = MemberJudge()
    judge.compare(sizes([1.0, 1.1, 0.9, 1.0, 2.9]))
    assert judge.left_out == {}


def test_a_gross_member_returns_only_well_below_the_bound():
    judge = MemberJudge()
    for step, out in ((10.0, True), (2.8, True), (2.0, False), (2.8, False)):
        judge.compare(sizes([1.0, 1.0, 1.0, 1.0, step]))
        assert bool(judge.left_out) is out


def test_few_rows_are_given_more_room():
    assert bound(3.0, 1.0, 1) == 9.0
    assert bound(3.0, 1.0, 10_000) == pytest.approx(3.06)


def test_among_three_nobody_is_gross():
    judge = MemberJudge()
    judge.compare(sizes([1.0, 1e9]))
    assert judge.left_out == {}


def test_great_harm_of_the_past_weighs_as_much_as_todays():
    judge = MemberJudge()
    judge.judge_influence({PEERS[0]: Influence(-1000.0, 100.0)})
    assert judge.z(PEERS[0]) == pytest.approx(-5.0)
    rounds = 0
    while judge.left_out:
        judge.judge_influence({PEERS[0]: Influence(0.2, 0.01)})
        rounds += 1
    assert rounds <= 5


def test_great_merits_of_the_past_do_not_cover_harm_for_long():
    judge = MemberJudge()
    for _ in range(20):
        judge.judge_influence({PEERS[0]: Influence(8.0, 1.0)})
    rounds = 0
    while not judge.left_out:
        judge.judge_influence({PEERS[0]: Influence(-3.0, 1.0)})
        rounds += 1
    assert rounds <= 6


def test_who_speaks_is_judged_at_once_by_the_last_medians():
    judge = MemberJudge()
    judge.heard(PEERS[0], Size(50.0, 100.0, 400))
    assert judge.left_out == {}, "before any round nothing is known"
    judge.compare(sizes([1.0, 1.0, 1.0, 1.0]))
    judge.heard(PEERS[0], Size(50.0, 100.0, 400))
    assert judge.left_out == {PEERS[0]: GROSS}


def test_whoever_claims_much_must_prove_itself():
    judge = MemberJudge()
    claims = dict.fromkeys(PEERS[:4], 100.0) | {PEERS[4]: 5000.0}
    judge.weigh(claims, own=100.0)
    assert judge.left_out == {PEERS[4]: HEAVY}
    judge.heard(PEERS[4], Size(1.0, 5000.0, 400))
    judge.judge_influence({PEERS[4]: Influence(-1.0, 1.0)})
    assert judge.left_out == {PEERS[4]: HEAVY}
    judge.judge_influence({PEERS[4]: Influence(5.0, 1.0)})
    judge.weigh(claims, own=100.0)
    assert judge.left_out == {}


@pytest.mark.parametrize(
    ("own", "opinions", "left_out"),
    [
        (0.5, [], True),
        (1.5, [], False),
        (0.5, [0.4, 0.6, 2.0], False),
        (0.5, [-5.0, -5.0, -4.0], True),
        (1.5, [-5.0, -5.0, -4.0], True),
        (-0.5, [2.0, 2.0, 2.0], True),
    ],
)
def test_a_little_luck_is_no_proof_of_a_claim(
    own: float, opinions: list[float], left_out: bool
) -> None:
    """Who is let in for a lucky z outweighs all others, who then look harmful against it."""
    judge = MemberJudge()
    claims = dict.fromkeys(PEERS[1:], 100.0) | {PEERS[0]: 5000.0}
    judge.weigh(claims, own=100.0)
    judge.heard(PEERS[0], Size(1.0, 5000.0, 400))
    judge.judge_influence(dict.fromkeys(PEERS[1:], Influence(1.0, 1.0)))  # they have a history
    for other, opinion in zip(PEERS[1:], opinions, strict=False):
        judge.told(other, dict.fromkeys(PEERS, 1.0) | {PEERS[0]: opinion})
    good = dict.fromkeys(PEERS[1:], Influence(1.0, 1.0))
    judge.judge_influence({PEERS[0]: Influence(own, 1.0)} | good)
    assert (PEERS[0] in judge.left_out) == left_out


def test_proof_is_of_about_this_much_evidence():
    judge = MemberJudge()
    claims = dict.fromkeys(PEERS[:4], 100.0) | {PEERS[4]: 5000.0}
    judge.weigh(claims, own=100.0)
    judge.heard(PEERS[4], Size(1.0, 5000.0, 400))
    judge.judge_influence({PEERS[4]: Influence(5.0, 1.0)})
    judge.weigh(claims | {PEERS[4]: 9_000.0}, own=100.0)
    assert judge.left_out == {}
    judge.weigh(claims | {PEERS[4]: 900_000.0}, own=100.0)
    assert judge.left_out == {PEERS[4]: HEAVY}


def test_harm_adds_up_until_a_member_is_left_out_and_good_until_it_returns():
    judge = MemberJudge(JudgeSettings(decay=0.7))
    harmful = []
    for total in (-1.9, -1.9, -1.9, -1.9, 1.0, 1.0, 1.0, 1.0):
        judge.judge_influence({PEERS[0]: Influence(total, 1.0)})
        harmful.append(judge.reason(PEERS[0]) == HARMFUL)
    assert harmful == [False, False, False, True, True, True, False, False]


def test_a_first_impression_counts_in_full_and_its_repetition_less():
    first, later = MemberJudge(), MemberJudge()
    first.judge_influence({PEERS[0]: Influence(-2.1, 1.0)})
    assert first.left_out == {PEERS[0]: HARMFUL}
    for _ in range(20):
        later.judge_influence({PEERS[0]: Influence(-1.6, 1.0)})
    assert -3 < later.z(PEERS[0]) < -2
    assert later.left_out == {}


def test_a_little_harm_is_forgiven():
    judge = MemberJudge()
    for total in (0.3, -0.5, 0.2, -0.9, 0.1):
        judge.judge_influence({PEERS[0]: Influence(total, 1.0)})
    assert judge.left_out == {}


def test_harm_on_few_examples_alone_is_no_proof_and_on_many_it_is():
    few, many = MemberJudge(), MemberJudge()
    for _ in range(6):
        few.judge_influence({PEERS[0]: Influence(-4.0, 4.0, sizes=4.0)})  # four examples
        many.judge_influence(
            {PEERS[0]: Influence(-28.3, 200.0, sizes=200.0)}
        )  # 200, and the same z
    assert few.left_out == {}
    assert many.left_out == {PEERS[0]: HARMFUL}


def test_an_influence_is_spread_over_as_many_examples_as_are_of_one_size():
    assert Influence(0.0, 4.0, sizes=4.0).examples == pytest.approx(4)
    assert Influence(0.0, 100.0 + 0.04, sizes=10.4).examples == pytest.approx(1.08, abs=0.01)


def test_numbers_that_are_not_finite_change_nothing():
    judge = MemberJudge()
    judge.judge_influence({PEERS[0]: Influence(math.nan, 1.0), PEERS[1]: Influence(1.0, math.inf)})
    assert judge.left_out == {}
    assert judge.z(PEERS[0]) == 0.0


def test_whoever_is_gone_is_forgotten():
    judge = MemberJudge()
    judge.compare(sizes([1.0, 1.0, 1.0, 1.0, 10.0]))
    judge.keep_only(set(PEERS[:4]))
    assert judge.left_out == {}


# --- together -------------------------------------------------------------------------------------


DOES_GOOD = Influence(1.0, 1.0)


def judged_by(opinions: list[float], own: float) -> MemberJudge:
    """A judge whose own z on the first member is `own`; others' opinions as given."""
    judge = MemberJudge()
    judge.compare(sizes([1.0] * 6))
    judge.judge_influence({PEERS[0]: Influence(0.0, 1.0), **dict.fromkeys(PEERS[1:], DOES_GOOD)})
    for other, opinion in zip(PEERS[1:], opinions, strict=False):
        judge.told(other, {PEERS[0]: opinion})
    # S1 = 0.7 * 0 + total, S2 = 0.7 + 1: total is chosen so that z is `own`.
    judge.judge_influence({PEERS[0]: Influence(own * math.sqrt(1.7), 1.0)})
    assert judge.z(PEERS[0]) == pytest.approx(own)
    return judge


def test_the_median_opinion_decides_when_enough_are_known():
    assert judged_by([-1.0, -1.0, -1.0], own=0.5).left_out == {PEERS[0]: HARMFUL}
    assert judged_by([-1.0, -1.0], own=0.5).left_out == {}, "three judges are too few"


def test_a_minority_of_liars_cannot_have_a_member_left_out():
    assert judged_by([-15.0, -15.0, 1.0, 1.0], own=1.0).left_out == {}


def test_ones_own_data_has_the_last_word_where_it_is_sure():
    assert judged_by([-9.0, -9.0, -9.0, -9.0], own=2.5).left_out == {}
    assert judged_by([9.0, 9.0, 9.0, 9.0], own=-4.5).left_out == {PEERS[0]: HARMFUL}
    assert judged_by([9.0, 9.0, 9.0, 9.0], own=-2.5).left_out == {}


def test_members_that_are_left_out_are_not_asked():
    judge = MemberJudge()
    judge.judge_influence({PEERS[0]: Influence(0.0, 1.0)})
    judge.compare(sizes([1.0, 1.0, 1.0, 1.0, 99.0, 99.0]))
    for other in PEERS[1:4]:
        judge.told(other, {PEERS[0]: 0.1})
    for other in PEERS[4:]:
        judge.told(other, {PEERS[0]: -15.0})
    judge.judge_influence({PEERS[0]: Influence(-0.5, 1.0)})
    assert PEERS[0] not in judge.left_out


def test_what_a_member_says_of_itself_does_not_count():
    judge = MemberJudge()
    judge.compare(sizes([1.0] * 6))
    judge.judge_influence({PEERS[0]: Influence(0.0, 1.0), **dict.fromkeys(PEERS[1:], DOES_GOOD)})
    for other, opinion in zip(PEERS, (15.0, -1.0, -1.0, -0.9), strict=False):
        judge.told(other, {PEERS[0]: opinion})
    judge.judge_influence({PEERS[0]: Influence(-0.5, 1.0)})
    assert judge.left_out == {PEERS[0]: HARMFUL}


# --- identities that cost nothing -----------------------------------------------------------------

SYBILS = [PeerId(f"s{n:03}") for n in range(195)]


def among_sybils() -> MemberJudge:
    """Five honest, this judge one of them, who know each other; then 195 others come."""
    judge = MemberJudge()
    honest = {peer: Size(1.0, 100.0, 400) for peer in PEERS[:4]}
    judge.compare(honest)
    judge.judge_influence(dict.fromkeys(honest, DOES_GOOD))
    crowd = {peer: Size(1e-6, 1.0, 400) for peer in SYBILS}  # as if they moved nothing
    judge.weigh({peer: size.evidence for peer, size in {**honest, **crowd}.items()}, own=100.0)
    judge.compare({**honest, **crowd})
    return judge


def test_any_number_of_strangers_does_not_make_known_members_look_too_large_or_too_heavy():
    assert among_sybils().left_out == {}


def test_nor_do_their_opinions_outvote_those_of_known_members():
    judge = among_sybils()
    for other in PEERS[1:4]:
        judge.told(other, {PEERS[0]: 1.0})
    for sybil in SYBILS:
        judge.told(sybil, {PEERS[0]: -15.0})
    judge.judge_influence({PEERS[0]: Influence(-0.1, 1.0)})
    assert 0 < judge.z(PEERS[0]) < judge.settings.sure, "its own data does not decide alone"
    assert judge.left_out == {}


def test_a_history_is_what_this_judge_has_seen_to_do_good():
    judge = among_sybils()
    assert [judge.has_history(peer) for peer in (PEERS[0], SYBILS[0], PEERS[5])] == [
        True,
        False,
        False,
    ]
    judge.judge_influence({SYBILS[0]: Influence(-1.0, 1.0), SYBILS[1]: DOES_GOOD})
    assert not judge.has_history(SYBILS[0])
    assert judge.has_history(SYBILS[1])


def test_an_opinion_is_told_once_there_is_one():
    judge = MemberJudge()
    assert judge.opinion(PEERS[0]) is None
    judge.compare(sizes([1.0]))
    assert judge.opinion(PEERS[0]) is None
    judge.judge_influence({PEERS[0]: Influence(1.0, 1.0)})
    assert judge.opinion(PEERS[0]) == pytest.approx(1.0)


def test_opinions_kept_are_bounded_and_go_with_their_judge():
    judge = MemberJudge()
    judge.judge_influence({PEERS[0]: Influence(1.0, 1.0)})
    for n in range(200):
        judge.heard(PeerId(f"judge{n}"), Size(1.0, 100.0, 400))
        judge.told(PeerId(f"judge{n}"), {PEERS[0]: 1.0, PeerId("stranger"): 1.0})
    assert len(judge._opinions) == MAX_JUDGES
    assert all(about == {PEERS[0]: 1.0} for about in judge._opinions.values())
    judge.keep_only({PEERS[0]})
    assert not judge._opinions


def test_whoever_has_not_contributed_is_no_judge():
    judge = MemberJudge()
    judge.judge_influence({PEERS[0]: Influence(0.0, 1.0)})
    for other in PEERS[1:]:
        judge.told(other, {PEERS[0]: -15.0})
    judge.judge_influence({PEERS[0]: Influence(0.1, 1.0)})
    assert judge.left_out == {}
