"""`Selector`: every rule of the policy, beside the case that differs in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.contribution import Evaluation, GroupId
from openfl.learning.comparison import Comparison, Fit
from openfl.switching.distrusted import MAX_DISTRUSTED, Distrusted
from openfl.switching.policy import (
    MAX_TRIED,
    Candidate,
    Finding,
    Here,
    LookOrder,
    SelectionSettings,
    Selector,
)

ALWAYS = SelectionSettings(look_probability=1.0, found_probability=1.0)
HOME = Here(GroupId("home"), "home", 10)


def candidate(name: str, members: int = 10) -> Candidate:
    return Candidate(GroupId(name), name, members)


def compared(gain: float, error: float = 0.002, count: int = 40) -> Comparison:
    there = Evaluation("rmse", 1 - gain, 0.01, 40)
    return Comparison(Evaluation("rmse", 1.0, 0.01, 40), there, gain, error, count)


def finding(name: str, gain: float, members: int = 10, error: float = 0.002) -> Finding:
    return Finding(candidate(name, members), members, compared(gain, error))


def fit(value: float, error: float = 0.005) -> Fit:
    return Fit(Evaluation("rmse", value, error * value, 40))


def selector(settings: SelectionSettings = ALWAYS, rounds: int = 20, seed: int = 0) -> Selector:
    return Selector(settings, np.random.default_rng(seed), rounds=rounds, rounds_here=rounds)


def looks(chooser: Selector, *names: str, here: Here = HOME) -> tuple[str, ...] | None:
    """Whom it wants to look at after a round."""
    look = chooser.round_done(here, [candidate(name) for name in names])
    return None if look is None else tuple(c.name for c in look.groups)


# --- when to look ---------------------------------------------------------------------------------


def test_it_looks_after_the_warm_up_and_not_before() -> None:
    chooser = selector(rounds=0)
    assert looks(chooser, "jazz") is None
    assert looks(chooser, "jazz") == ("jazz",)


def test_with_no_other_group_there_is_nothing_to_look_at() -> None:
    assert looks(selector(replace(ALWAYS, founding=False)), "home") is None


def test_a_node_told_to_stay_never_looks() -> None:
    chooser = selector(replace(ALWAYS, enabled=False))
    assert [looks(chooser, "jazz") for _ in range(20)] == [None] * 20
    assert chooser.rounds == 40


def test_it_looks_about_as_often_as_it_is_set_to() -> None:
    settings = SelectionSettings(look_probability=0.5, founding=False)
    chooser = selector(settings)
    count = sum(looks(chooser, "jazz") is not None for _ in range(400))
    assert 160 < count < 240


def rare_looks(chooser: Selector, fits: Sequence[Fit] = (fit(1.0),)) -> int:
    """How many of 400 rounds it looks in, having looked 16 times for nothing."""
    known = [candidate("jazz")]
    for _ in range(16):
        chooser.decide(HOME, [finding("jazz", -0.1)])
    looked = 0
    for n in range(400):
        looked += chooser.round_done(HOME, known, fits[n % len(fits)]) is not None
    return looked


def test_looks_for_nothing_become_rare_but_never_end() -> None:
    settings = replace(ALWAYS, founding=False)
    assert 10 < rare_looks(selector(settings)) < 45  # a sixteenth


def test_but_not_while_the_own_fit_gets_worse() -> None:
    settings = replace(ALWAYS, founding=False)
    worse = [fit(1.03**n) for n in range(400)]
    assert rare_looks(selector(settings), worse) > 380


def test_and_not_when_a_new_group_is_heard_of() -> None:
    chooser = selector(replace(ALWAYS, founding=False))
    for _ in range(16):
        chooser.decide(HOME, [finding("jazz", -0.1)])
    assert looks(chooser, "jazz", "new") is not None


def test_nor_do_they_end_being_rare_for_what_chance_does_to_the_fit() -> None:
    """One round in two is 3 % worse, which is less than two standard errors."""
    chooser = selector(replace(ALWAYS, founding=False))
    noisy = [fit(value, error=0.05) for value in (1.0, 1.03)]
    assert 10 < rare_looks(chooser, noisy) < 45


def test_pairs_of_examples_tell_what_is_chance_and_what_is_not() -> None:
    """Every example a bit worse is news, some much worse and others much better is none."""
    hard = np.linspace(0.1, 3.9, 40)
    for change, rare in ((np.full(40, 0.1), False), (np.tile([-1.0, 1.2], 20), True)):
        chooser = selector(replace(ALWAYS, founding=False))
        fits = [
            Fit(Evaluation("mse", float(losses.mean()), 0.2, 40), losses)
            for losses in (hard, hard + change)
        ]
        assert (rare_looks(chooser, fits) < 45) is rare


def test_the_same_seed_decides_the_same_and_another_seed_differently() -> None:
    def story(seed: int) -> list[object]:
        chooser = selector(SelectionSettings(), rounds=0, seed=seed)
        return [looks(chooser, "jazz", "rock") for _ in range(50)]

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_chance_does_not_depend_on_what_was_seen() -> None:
    settings = SelectionSettings()
    seeing, blind = selector(settings), selector(settings)
    for _ in range(5):
        looks(seeing, "jazz", "rock")
        looks(blind)
    assert [looks(seeing, "jazz") for _ in range(30)] == [looks(blind, "jazz") for _ in range(30)]


def test_a_move_is_followed_by_a_dwell_time_that_grows_with_the_moves() -> None:
    for moves, rounds in ((1, 3), (2, 4), (6, 8)):
        chooser = Selector(ALWAYS, np.random.default_rng(0), moves=moves, rounds=50, rounds_here=0)
        waits = 0
        while looks(chooser, "jazz") is None:
            assert chooser.latest.action == "stay"
            assert "dwell time ends in" in chooser.latest.why
            waits += 1
        assert waits == rounds - 1
        assert chooser.dwell_left == 0


def test_who_never_moved_does_not_dwell() -> None:
    chooser = Selector(ALWAYS, np.random.default_rng(0), moves=0, rounds=50, rounds_here=0)
    assert looks(chooser, "jazz") == ("jazz",)


# --- whom to look at ------------------------------------------------------------------------------


def test_new_groups_are_tried_first_of_them_those_whose_members_were_seen() -> None:
    chooser = selector(replace(ALWAYS, max_candidates=2))
    known = [candidate("small", 2), candidate("large", 9), candidate("middle", 5)]
    known = [replace(c, standing=1) if c.name != "large" else c for c in known]
    assert {c.name for c in chooser.choose(HOME, known)} == {"small", "middle"}
    chooser.decide(HOME, [finding("large", -0.1), finding("middle", -0.2)])
    chooser.round_done(HOME, known)
    assert "small" in [c.name for c in chooser.choose(HOME, known)]


def test_a_flood_of_new_groups_does_not_hide_the_best_known() -> None:
    chooser = selector(replace(ALWAYS, max_candidates=4))
    chooser.decide(HOME, [finding("best", -0.01), finding("bad", -0.5), finding("good", -0.02)])
    flood = [candidate(f"fake{n}", 500) for n in range(50)]
    known = [candidate("best"), candidate("good"), candidate("bad"), *flood]
    chosen = [c.name for c in chooser.choose(HOME, known)]
    assert chosen[:2] == ["best", "good"]
    assert all(name.startswith("fake") for name in chosen[2:])


def test_what_cards_claim_does_not_order_the_groups_never_tried() -> None:
    """Nor can ids be made for it: a flood that claims most is not ahead at every node."""
    flood = [candidate(f"fake{n}", 10**12) for n in range(20)]
    known = [candidate("honest", 5), *flood]
    tried_at: list[int] = []
    for seed in range(12):
        chooser = Selector(ALWAYS, np.random.default_rng(seed))
        chosen = [c.name for c in chooser.choose(HOME, known)]
        tried_at.append("honest" in chosen)
    assert 1 <= sum(tried_at) <= 11


def test_groups_out_of_reach_do_not_take_the_places_of_others_again_and_again() -> None:
    chooser = selector(replace(ALWAYS, max_candidates=1))
    known = [candidate("dead", 100), candidate("alive", 5)]
    (first,) = chooser.choose(HOME, known)
    chooser.decide(HOME, [], unreached=[first.group_id])
    (second,) = chooser.choose(HOME, known)
    assert {first.name, second.name} == {"dead", "alive"}


def test_the_own_group_is_never_a_candidate() -> None:
    assert selector().choose(HOME, [candidate("home", 100)]) == ()


# --- what is expected of a move -------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "action"), [(0.0001, "move"), (-0.0001, "stay"), (-0.2, "stay")])
def test_any_gain_that_is_sure_is_moved_for(gain: float, action: str) -> None:
    chooser = selector(rounds=4)
    decision = chooser.decide(HOME, [finding("jazz", gain, error=1e-6)])
    assert decision.action == action
    assert (decision.target is not None) == (action == "move")
    assert chooser.latest is decision


@pytest.mark.parametrize(("gain", "action"), [(0.0049, "stay"), (0.0051, "move")])
def test_a_smaller_group_must_be_half_a_percent_better(gain: float, action: str) -> None:
    found = finding("jazz", gain, members=9, error=1e-6)
    assert selector().decide(HOME, [found]).action == action


def test_a_large_gain_that_is_unsure_is_not_believed_of_groups_of_one_kind() -> None:
    """10 % with an error of 8 %: of a group as large, a bit of it; of a smaller one, too little."""
    chooser = selector()
    expected = chooser.expected_gain(HOME, finding("jazz", 0.1, error=0.08))
    assert 0 < expected < 0.015
    assert chooser.decide(HOME, [finding("jazz", 0.1, members=5, error=0.08)]).action == "stay"


def test_it_is_where_many_members_do_harm_here_for_then_there_are_other_kinds_of_data() -> None:
    found = [finding("jazz", 0.1, members=5, error=0.04)]
    assert selector().decide(HOME, found, harmful=(0, 40)).action == "stay"
    chooser = selector()
    assert chooser.decide(HOME, found, harmful=(20, 40)).action == "move"
    assert chooser.latest.gain > 0.07


def test_a_larger_group_is_joined_unless_it_is_surely_worse() -> None:
    assert selector().decide(HOME, [finding("big", -0.02, 30, error=0.05)]).action == "move"
    assert selector().decide(HOME, [finding("big", -0.02, 30, error=0.002)]).action == "stay"
    assert selector().decide(HOME, [finding("small", -0.02, 3, error=0.05)]).action == "stay"


def test_the_size_that_counts_is_what_was_fetched_not_what_was_claimed() -> None:
    claimed = Finding(candidate("boast", 500), 3, compared(-0.001, 0.05))
    assert selector().decide(HOME, [claimed]).action == "stay"


def test_what_nobody_has_signed_moves_nobody() -> None:
    told = replace(finding("jazz", 0.3, members=50), signed=False)
    decision = selector().decide(HOME, [told], harmful=(20, 40))
    assert decision.action == "stay"
    both = [told, finding("soul", 0.01)]
    decision = selector().decide(HOME, both, harmful=(20, 40))
    assert decision.target == candidate("soul")


def between(
    gain: float, error: float, here: int, there: int, harmful: tuple[int, int] = (0, 0)
) -> tuple[bool, bool]:
    """Whether a node of group a, of `here` members, moves to b, of `there`; and one of b to a. What
    the one gains, that the other loses."""
    a, b = Here(GroupId("a"), "a", here), Here(GroupId("b"), "b", there)
    to_b, to_a = finding("b", gain, there, error), finding("a", -gain, here, error)
    there_ = selector().decide(a, [to_b], harmful=harmful).action == "move"
    back = selector().decide(b, [to_a], harmful=harmful).action == "move"
    return there_, back


@given(
    gain=st.floats(-1, 1),
    error=st.floats(0, 1),
    here=st.integers(1, 50),
    there=st.integers(1, 50),
    harmful=st.integers(0, 40),
)
def test_two_nodes_never_move_to_each_other_s_group_at_once(
    gain: float, error: float, here: int, there: int, harmful: int
) -> None:
    assert between(gain, error, here, there, (harmful, 40)) != (True, True)


@pytest.mark.parametrize("error", [0.0, 0.01, 1.0])
@pytest.mark.parametrize(("here", "there"), [(1, 1), (3, 3), (12, 12), (1, 2), (5, 8), (10, 11)])
def test_groups_between_which_nothing_tells_become_one_towards_the_larger(
    here: int, there: int, error: float
) -> None:
    """Of equal ones, towards the one whose id is later: everywhere the same."""
    assert between(0.0, error, here, there) == (True, False)
    if here != there:
        assert between(0.0, error, there, here) == (False, True)


def test_of_several_better_groups_the_best_is_taken() -> None:
    decision = selector().decide(HOME, [finding("jazz", 0.01), finding("rock", 0.3)])
    assert decision.target is not None
    assert decision.target.name == "rock"
    assert decision.gain == pytest.approx(0.3, abs=0.001)
    assert decision.why == (
        "rock should be 30.0 % better than home (+30.0 % +- 0.2 % by 40 examples)"
    )


def test_why_it_stays_says_the_same_of_the_next_best() -> None:
    one = Finding(candidate("jazz"), 10, compared(-0.1, 0.01, count=1))
    decision = selector().decide(HOME, [one, finding("rock", -0.3)])
    assert decision.why.startswith("jazz should be ")
    assert decision.why.endswith(" % worse than home (-10.0 % +- 1.0 % by 1 example)")


def test_when_nobody_answered_it_stays_and_says_so() -> None:
    decision = selector().decide(HOME, [], unreached=[GroupId("jazz")])
    assert decision.action == "stay"
    assert "no other group was reached" in decision.why


def test_a_move_is_counted_and_starts_the_dwell_time() -> None:
    chooser = selector()
    chooser.decide(HOME, [finding("jazz", 0.1)])
    chooser.moved()
    assert (chooser.moves, chooser.rounds_here, chooser.findings) == (1, 0, {})
    assert chooser.dwell_left == 3


def test_a_move_that_the_owner_orders_is_not_counted() -> None:
    chooser = selector()
    chooser.placed()
    assert (chooser.moves, chooser.rounds_here, chooser.dwell_left) == (0, 0, 0)


# --- founding -------------------------------------------------------------------------------------

SIX = Here(GroupId("home"), "home", 6)


def orders(chooser: Selector, here: Here, rounds: int) -> list[LookOrder]:
    found = [chooser.round_done(here, []) for _ in range(rounds)]
    return [order for order in found if order is not None]


def test_it_asks_for_its_own_circle_in_a_big_group_after_some_rounds() -> None:
    found = orders(selector(rounds=7), SIX, 40)
    assert found
    assert set(found) == {LookOrder((), circle=True)}


@pytest.mark.parametrize(
    ("members", "rounds", "count", "founding"),
    [(5, 7, 40, True), (6, 0, 7, True), (6, 7, 40, False)],
)
def test_but_not_in_a_small_one_or_early_or_when_told_not_to(
    members: int, rounds: int, count: int, founding: bool
) -> None:
    here = Here(GroupId("home"), "home", members)
    assert orders(selector(replace(ALWAYS, founding=founding), rounds=rounds), here, count) == []


@pytest.mark.parametrize(
    ("probability", "members", "part"),
    [(0.1, 6, 0.1), (0.1, 20, 0.1), (0.1, 40, 0.05), (0.1, 200, 0.01), (1.0, 6, 1 / 3), (0, 6, 0)],
)
def test_no_more_than_two_members_a_round_look_at_their_circle(
    probability: float, members: int, part: float
) -> None:
    settings = replace(ALWAYS, found_probability=probability)
    found = orders(selector(settings), Here(GroupId("home"), "home", members), 4000)
    assert abs(len(found) - 4000 * part) <= 4 * (4000 * part * (1 - part)) ** 0.5


def test_who_looks_at_its_circle_looks_whether_it_has_a_group_already() -> None:
    settings = replace(ALWAYS, look_probability=0.0)
    chooser = selector(settings)
    found = [chooser.round_done(SIX, [candidate("jazz")]) for _ in range(40)]
    assert LookOrder((candidate("jazz"),), circle=True) in found


@pytest.mark.parametrize(
    ("gain", "z", "count", "action"),
    [
        (0.03, 1.1, 5, "found"),
        (0.029, 1.1, 5, "stay"),
        (0.03, 1.0, 5, "stay"),
        (0.03, 1.1, 4, "stay"),
        (-0.3, -9.0, 40, "stay"),
    ],
)
def test_a_group_is_founded_when_the_own_circle_is_clearly_better(
    gain: float, z: float, count: int, action: str
) -> None:
    circle = compared(gain, gain / z, count)
    decision = selector().decide(HOME, [], circle=circle)
    assert decision.action == action
    assert decision.target is None
    assert ("without members that do harm here home is +3.0 % better" in decision.why) is (
        action == "found"
    )


@pytest.mark.parametrize(
    ("gain", "z", "count", "action"),
    [
        (0.5, 2.6, 40, "found"),
        (0.5, 2.5, 40, "stay"),
        (0.02, 9.0, 40, "stay"),
        (0.5, 9.0, 4, "stay"),
        (-0.5, -9.0, 40, "stay"),
    ],
)
def test_where_nobody_s_influence_is_known_a_group_is_founded_when_alone_is_surely_better(
    gain: float, z: float, count: int, action: str
) -> None:
    alone = compared(gain, gain / z, count)
    assert selector().decide(HOME, [], alone).action == action


def test_whose_circle_has_a_group_joins_that_and_of_two_the_larger() -> None:
    kin = [replace(finding(n, -0.1, m), kin=True) for n, m in (("few", 3), ("many", 4))]
    others = [finding("others", -0.1, 9)]
    decision = selector().decide(HOME, [*kin, *others], circle=compared(0.1))
    assert decision.action == "move"
    assert decision.target == candidate("many", 4)
    assert "many is of the others" in decision.why
    decision = selector().decide(HOME, others, circle=compared(0.1))
    assert decision.action == "found"
    assert selector().decide(HOME, [*kin, *others], circle=compared(0.01)).action == "stay"


def test_a_better_group_is_joined_rather_than_one_founded() -> None:
    decision = selector().decide(HOME, [finding("jazz", 0.01)], circle=compared(0.5))
    assert decision.action == "move"


# --- promises -------------------------------------------------------------------------------------


def deceived(
    settings: SelectionSettings = ALWAYS, fits: tuple[float, ...] = (1.03,)
) -> tuple[Selector, LookOrder | None]:
    """It left home (metric 1.0) for a group that promised 0.8 and serves `fits` instead."""
    chooser = selector(settings)
    chooser.round_done(HOME, [], fit(1.0))
    chooser.decide(HOME, [finding("trap", 0.2)])
    chooser.moved()
    trap = Here(GroupId("trap"), "trap", 5)
    look = None
    for value in fits:
        look = chooser.round_done(trap, [candidate("home"), candidate("trap")], fit(value))
    return chooser, look


def test_a_broken_promise_makes_it_look_at_once_in_spite_of_the_dwell_time() -> None:
    chooser, look = deceived()
    assert chooser.dwell_left == 0
    assert look is not None
    assert [c.name for c in look.groups] == ["home"]
    assert look.alone


@pytest.mark.parametrize("value", [0.8, 0.9, 1.02])
def test_a_group_no_worse_than_the_one_left_has_kept_it(value: float) -> None:
    chooser, look = deceived(fits=(value,))
    assert look is None
    assert chooser.dwell_left == 2
    assert not chooser.is_distrusted(GroupId("trap"))


def test_it_goes_back_and_the_move_does_not_count() -> None:
    chooser, _ = deceived()
    trap = Here(GroupId("trap"), "trap", 5)
    decision = chooser.decide(trap, [finding("home", 0.03)])
    assert decision.action == "move"
    assert "does not hold what it promised" in decision.why
    chooser.moved()
    assert chooser.moves == 0


def test_it_is_not_fooled_again_for_a_time_that_doubles() -> None:
    chooser, _ = deceived(replace(ALWAYS, patient_looks=10**6))
    trap, known = Here(GroupId("trap"), "trap", 5), [candidate("home"), candidate("trap")]
    lengths = []
    for _ in range(3):
        chooser.decide(trap, [finding("home", 0.03)])
        chooser.moved()
        waited = 0
        while not (look := chooser.round_done(HOME, known, fit(1.0))) or not look.groups:
            waited += 1
            assert not look or chooser.decide(HOME, [finding("trap", 0.2)]).action != "move"
        lengths.append(waited)
        assert chooser.decide(HOME, [finding("trap", 0.2)]).action == "move"
        chooser.moved()
        chooser.round_done(trap, known, fit(1.5))
    assert 14 <= lengths[0] <= 17
    assert lengths[1] - 2 * lengths[0] in range(-2, 3)
    assert lengths[2] - 2 * lengths[1] in range(-2, 3)


def test_whoever_is_deceived_and_finds_nothing_better_founds_a_group_or_stays() -> None:
    trap = Here(GroupId("trap"), "trap", 5)
    chooser, _ = deceived()
    assert chooser.decide(trap, [finding("home", -0.1)], compared(0.01, 0.1)).action == "found"
    chooser, _ = deceived()
    decision = chooser.decide(trap, [finding("home", -0.1)], compared(-0.1))
    assert decision.action == "stay"
    assert "nothing better is known" in decision.why


def test_it_goes_on_looking_while_nobody_answers() -> None:
    trap, known = Here(GroupId("trap"), "trap", 5), [candidate("home")]
    chooser, _ = deceived()
    chooser.decide(trap, [], unreached=[GroupId("home")])
    assert chooser.round_done(trap, known, fit(1.5)) is not None
    chooser.decide(trap, [finding("home", -0.1)])  # so the trap was not that bad
    # An ordinary look from now on.
    assert chooser.round_done(trap, known, fit(1.5)) == LookOrder((candidate("home"),), alone=False)


def test_what_may_be_chance_is_no_broken_promise() -> None:
    """5 % worse than what was left, with a standard error of 4 %, is."""
    trap = Here(GroupId("trap"), "trap", 5)
    for error, broken in ((0.04, False), (0.01, True)):
        chooser = selector()
        chooser.round_done(HOME, [], fit(1.0, error / 2**0.5))
        chooser.decide(HOME, [finding("trap", 0.2)])
        chooser.moved()
        chooser.round_done(trap, [], fit(1.05, error / 2**0.5))
        assert chooser.is_distrusted(GroupId("trap")) is broken


def test_who_has_nothing_held_out_measures_no_promise() -> None:
    chooser = selector()
    chooser.round_done(HOME, [], None)
    chooser.decide(HOME, [finding("trap", 0.2)])
    chooser.moved()
    assert chooser.round_done(Here(GroupId("trap"), "trap", 5), [], fit(9.0)) is None
    assert not chooser.is_distrusted(GroupId("trap"))


def test_a_group_that_was_founded_has_promised_nothing() -> None:
    chooser = selector()
    chooser.round_done(HOME, [], fit(1.0))
    chooser.decide(HOME, [], circle=compared(0.1))
    chooser.moved()
    own = Here(GroupId("own"), "own", 1)
    assert chooser.round_done(own, [candidate("home")], fit(9.0)) is None
    assert chooser.moves == 1


# --- bounded memory -------------------------------------------------------------------------------


def test_no_more_than_so_many_broken_promises_are_remembered() -> None:
    distrusted = Distrusted(16)
    for number in range(MAX_DISTRUSTED + 100):
        distrusted.broke_promise(GroupId(f"g{number:04}"), number)
    assert len(distrusted) == MAX_DISTRUSTED
    latest = GroupId(f"g{MAX_DISTRUSTED + 99:04}")
    assert distrusted.is_distrusted(latest, MAX_DISTRUSTED + 100)
    assert not distrusted.is_distrusted(GroupId("g0000"), 15), "free again first: it made room"


def test_distrust_lasts_twice_as_long_each_time_but_is_a_number_for_ever() -> None:
    distrusted, trap = Distrusted(16), GroupId("trap")
    for times in range(30):
        distrusted.broke_promise(trap, 0)
        rounds = 16 * 2 ** min(times, 20)
        assert distrusted.is_distrusted(trap, rounds - 1)
        assert not distrusted.is_distrusted(trap, rounds)


def test_of_a_flood_of_groups_no_more_than_so_many_are_remembered() -> None:
    chooser = selector()
    for number in range(MAX_TRIED + 10):
        name = f"fake{number}"
        if number % 2:
            chooser.decide(HOME, [finding(name, -0.1)])
        else:
            chooser.decide(HOME, [], unreached=[GroupId(name)])
    assert len(chooser._tried) == MAX_TRIED
    assert len(chooser.findings) == MAX_TRIED // 2
    assert GroupId(f"fake{MAX_TRIED + 9}") in chooser.findings
