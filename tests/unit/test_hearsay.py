"""How far a judge goes by others' opinions: by how far they tell members apart, and have told its
own."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.aggregation.hearsay import Hearsay, Opinions


def opinions(own: float, others: list[float]) -> Opinions:
    return Opinions(own, 1.0, [own, *others])


def by_chance(members: int, judges: int, seed: int) -> list[Opinions]:
    """Nobody makes any difference to anybody."""
    draw = np.random.default_rng(seed).normal(size=(members, judges)).tolist()
    return [opinions(own, others) for own, *others in draw]


def test_opinions_that_are_chance_alone_are_believed_less() -> None:
    found = [Hearsay.of(by_chance(24, 24, seed)) for seed in range(20)]
    assert np.mean([one.difference for one in found]) < 0.75
    assert all(one.agreement == 1.0 for one in found)
    known = by_chance(24, 24, 0)
    worst = min(known, key=lambda one: one.median)
    assert worst.median < found[0].believed(worst) < 0


@pytest.mark.parametrize("seed", range(5))
def test_members_that_harm_everybody_are_believed_to(seed: int) -> None:
    known = by_chance(20, 24, seed)
    rng = np.random.default_rng(seed + 100)
    known += [opinions(-2.0, (rng.normal(size=23) - 2.0).tolist()) for _ in range(4)]
    found = Hearsay.of(known)
    assert found.difference == 1.0
    assert all(found.believed(one) < -1.4 for one in known[20:])
    assert found.agreement == 1.0


def test_harm_that_all_members_do_alike_is_not_theirs() -> None:
    known = [opinions(-2.0, [-2.0] * 9) for _ in range(20)]
    assert Hearsay.of(known).believed(known[0]) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_who_is_harmed_by_what_does_others_good_goes_by_its_own_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    majority = [
        opinions(float(rng.normal() - 2.5), (rng.normal(size=28) + 1.5).tolist()) for _ in range(29)
    ]
    ally = opinions(1.0, (rng.normal(size=28) - 2.5).tolist())
    assert Hearsay.of([*majority, ally]).agreement < 0.4


def test_how_much_good_members_do_is_no_matter_of_agreement() -> None:
    known = [opinions(0.2, [4.5] * 9) for _ in range(12)]
    assert Hearsay.of(known).agreement == 1.0


def test_one_member_alone_is_no_measure_of_what_is_usual() -> None:
    known = opinions(0.5, [-1.0, -1.0, -1.0])
    assert Hearsay.of([known]).believed(known) == -1.0


def test_a_minority_of_liars_moves_what_is_believed_but_little() -> None:
    honest = by_chance(12, 16, 3)
    lied_about = [opinions(one.own, [*one.all[1:12], *[-15.0] * 4]) for one in honest[:1]]
    found = Hearsay.of([*lied_about, *honest[1:]])
    assert found.believed(lied_about[0]) > -0.75


def test_nothing_known_is_believed_in_full() -> None:
    assert Hearsay.of([]) == Hearsay(agreement=1.0, difference=1.0, usual=0.0)
