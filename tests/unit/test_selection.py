"""`Selector`: every rule of the policy, beside the case that differs in one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openfl.core.contribution import Evaluation, GroupId
from openfl.learning.comparison import Comparison
from openfl.switching.policy import (
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


def compared(gain: float, z: float = 2.0, left: float = 1.0) -> Comparison:
    error = abs(gain / z) if z else 1.0
    there = Evaluation("rmse", left * (1 - gain), 0.01, 40)
    return Comparison(Evaluation("rmse", left, 0.01, 40), there, gain, error, 40)


def finding(
    name: str, gain: float, members: int = 10, z: float = 2.0, left: float = 1.0
) -> Finding:
    return Finding(candidate(name, members), members, compared(gain, z, left))


def fit(value: float) -> Evaluation:
    return Evaluation("rmse", value, 0.01, 40)


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


def rare_looks(chooser: Selector, fits: tuple[float, ...] = (1.0,)) -> int:
    """How many of 400 rounds it looks in, having looked 16 times for nothing."""
    known = [candidate("jazz")]
    for _ in range(16):
        chooser.decide(HOME, [finding("jazz", -0.1)])
    looked = 0
    for n in range(400):
        looked += chooser.round_done(HOME, known, fit(fits[n % len(fits)])) is not None
    return looked


def test_looks_for_nothing_become_rare_but_never_end() -> None:
    settings = replace(ALWAYS, founding=False)
    assert 10 < rare_looks(selector(settings)) < 45  # a sixteenth


def test_but_not_while_the_own_fit_gets_worse() -> None:
    settings = replace(ALWAYS, founding=False)
    worse = tuple(1.03**n for n in range(400))
    assert rare_looks(selector(settings), worse) > 380


def test_and_not_when_a_new_group_is_heard_of() -> None:
    chooser = selector(replace(ALWAYS, founding=False))
    for _ in range(16):
        chooser.decide(HOME, [finding("jazz", -0.1)])
    assert looks(chooser, "jazz", "new") is not None


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


# --- greed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "action"), [(0.0001, "move"), (0.0, "stay"), (-0.2, "stay")])
def test_any_gain_is_moved_for_and_no_gain_is_not(gain: float, action: str) -> None:
    chooser = selector(rounds=4)
    decision = chooser.decide(HOME, [finding("jazz", gain, z=0.1)])
    assert decision.action == action
    assert (decision.target is not None) == (action == "move")
    assert chooser.latest is decision


def test_of_several_better_groups_the_best_is_taken() -> None:
    decision = selector().decide(HOME, [finding("jazz", 0.01), finding("rock", 0.3)])
    assert decision.target is not None
    assert decision.target.name == "rock"
    assert "rock is +30.0 % better than home" in decision.why


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


# --- consolidation --------------------------------------------------------------------------------


def test_a_clearly_larger_group_that_is_about_as_good_is_joined() -> None:
    decision = selector(rounds=6).decide(HOME, [finding("big", -0.004, members=15, z=0.5)])
    assert decision.action == "move"
    assert "big is larger (15 members, home has 10)" in decision.why


@pytest.mark.parametrize(
    ("gain", "members", "z", "rounds"),
    [
        (-0.004, 14, 0.5, 6),  # not 1.5 times as large
        (-0.005, 15, 0.5, 6),  # too much worse
        (-0.004, 15, -1.0, 6),  # surely worse
        (-0.004, 15, 0.5, 5),  # too early
    ],
)
def test_but_not_when_one_thing_differs(gain: float, members: int, z: float, rounds: int) -> None:
    found = finding("big", gain, members=members)
    error = abs(gain / z)
    found = replace(found, comparison=replace(found.comparison, standard_error=error))
    decision = selector(rounds=rounds).decide(HOME, [found])
    if z == -1.0:
        assert found.comparison.z == pytest.approx(-1.0)
    assert decision.action == "stay"


def test_the_larger_group_never_moves_to_the_smaller_for_it() -> None:
    big = Here(GroupId("big"), "big", 15)
    assert selector().decide(big, [finding("home", -0.001, members=10, z=0.1)]).action == "stay"


def test_the_size_that_counts_is_what_was_fetched_not_what_was_claimed() -> None:
    claimed = Finding(candidate("boast", 500), 3, compared(-0.001, 0.1))
    assert selector().decide(HOME, [claimed]).action == "stay"


# --- founding -------------------------------------------------------------------------------------


def test_it_asks_for_training_alone_in_a_big_group_after_some_rounds() -> None:
    look = selector(rounds=7).round_done(Here(GroupId("home"), "home", 6), [])
    assert look == LookOrder((), alone=True)


@pytest.mark.parametrize(
    ("members", "rounds", "founding", "chance"),
    [(5, 7, True, 1.0), (6, 6, True, 1.0), (6, 7, False, 1.0), (6, 7, True, 0.0)],
)
def test_but_not_in_a_small_one_or_early_or_when_told_not_to(
    members: int, rounds: int, founding: bool, chance: float
) -> None:
    settings = replace(ALWAYS, founding=founding, found_probability=chance)
    here = Here(GroupId("home"), "home", members)
    assert selector(settings, rounds=rounds).round_done(here, []) is None


@pytest.mark.parametrize(
    ("gain", "z", "action"),
    [(0.03, 1.1, "found"), (0.029, 1.1, "stay"), (0.03, 1.0, "stay")],
)
def test_a_group_is_founded_when_training_alone_is_clearly_better(
    gain: float, z: float, action: str
) -> None:
    decision = selector().decide(HOME, [], compared(gain, z))
    assert decision.action == action


def test_a_better_group_is_joined_rather_than_one_founded() -> None:
    decision = selector().decide(HOME, [finding("jazz", 0.01)], compared(0.5))
    assert decision.action == "move"


# --- promises -------------------------------------------------------------------------------------


def deceived(
    settings: SelectionSettings = ALWAYS, fits: tuple[float, ...] = (1.03,)
) -> tuple[Selector, LookOrder | None]:
    """It left home (metric 1.0) for a group that promised 0.8 and serves `fits` instead."""
    chooser = selector(settings)
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
    decision = chooser.decide(trap, [finding("home", 0.03, left=1.03)])
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


def test_what_is_no_longer_known_is_forgotten() -> None:
    chooser = selector()
    chooser.decide(HOME, [finding("jazz", -0.1), finding("rock", -0.1)])
    chooser.forget_all_but({GroupId("rock"): None})
    assert set(chooser.findings) == {"rock"}
