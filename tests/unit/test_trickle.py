"""Trickle timers: soon after a change, ever more rarely in quiet, silent when others said it."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.group.trickle import Trickle

START = 100.0


def timer(
    shortest: float = 1.0, longest: float = 8.0, redundancy: int = 2, seed: int = 0
) -> Trickle:
    return Trickle(shortest, longest, redundancy, np.random.default_rng(seed))


def started(**settings: float) -> Trickle:
    trickle = timer(**settings)  # type: ignore[arg-type]
    trickle.start(START)
    return trickle


def words_until(trickle: Trickle, end: float) -> list[float]:
    """The moments at which it spoke, woken exactly when it wants to be."""
    spoken = []
    while trickle.next_wake <= end:
        now = trickle.next_wake
        if trickle.fire(now):
            spoken.append(now)
    return spoken


@pytest.mark.parametrize("seed", range(20))
def test_it_speaks_in_the_second_half_of_its_first_interval(seed: int) -> None:
    trickle = timer(seed=seed)
    trickle.start(START)
    assert START + 0.5 <= trickle.next_wake <= START + 1.0
    assert trickle.fire(trickle.next_wake)


def test_different_nodes_speak_at_different_moments() -> None:
    moments = set()
    for seed in range(20):
        trickle = timer(seed=seed)
        trickle.start(START)
        moments.add(trickle.next_wake)
    assert len(moments) == 20


def test_it_does_not_speak_before_its_moment() -> None:
    trickle = started()
    assert not trickle.fire(trickle.next_wake - 0.001)
    assert trickle.fire(trickle.next_wake)


def test_a_timer_that_was_not_started_never_speaks() -> None:
    trickle = timer()
    trickle.reset(START)
    assert trickle.next_wake == float("inf")
    assert not trickle.fire(START + 1000)


def test_quiet_intervals_double_up_to_the_longest() -> None:
    trickle = started()
    spoken = words_until(trickle, START + 100)
    ends = START + np.cumsum([1, 2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8])
    lengths = [1, 2, 4] + 10 * [8]
    for at, end, length in zip(spoken, ends, lengths, strict=False):
        assert end - length / 2 <= at <= end
    assert len(spoken) in (13, 14)


def test_it_speaks_at_most_once_an_interval() -> None:
    trickle = started()
    moment = trickle.next_wake
    assert trickle.fire(moment)
    assert not trickle.fire(moment)
    assert trickle.next_wake == START + 1.0


def test_it_is_silent_when_enough_others_said_the_same() -> None:
    trickle = started(redundancy=2)
    for _ in range(2):
        trickle.hear_consistent()
    assert not trickle.fire(trickle.next_wake)


def test_it_speaks_when_one_fewer_said_the_same() -> None:
    trickle = started(redundancy=2)
    trickle.hear_consistent()
    assert trickle.fire(trickle.next_wake)


def test_what_was_heard_in_one_interval_does_not_count_in_the_next() -> None:
    trickle = started(redundancy=1)
    trickle.hear_consistent()
    assert not trickle.fire(trickle.next_wake)
    trickle.fire(trickle.next_wake)  # the interval ends
    assert trickle.fire(trickle.next_wake)


def test_a_change_brings_back_the_shortest_interval() -> None:
    trickle = started()
    words_until(trickle, START + 30)
    now = START + 30
    trickle.reset(now)
    assert now + 0.5 <= trickle.next_wake <= now + 1.0


def test_a_change_within_the_shortest_interval_delays_nothing() -> None:
    trickle = started()
    moment = trickle.next_wake
    trickle.reset(START + 0.4)
    assert trickle.next_wake == moment


def test_a_driver_that_wakes_late_does_not_make_it_speak_twice() -> None:
    trickle = started()
    late = START + 50.0
    assert trickle.fire(late)
    assert not trickle.fire(late)
    assert trickle.next_wake > late


@pytest.mark.parametrize(("shortest", "longest"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_intervals_that_make_no_sense_are_refused(shortest: float, longest: float) -> None:
    with pytest.raises(ValueError, match="min_seconds"):
        timer(shortest, longest)


def test_a_single_length_of_interval_is_allowed() -> None:
    trickle = started(shortest=2.0, longest=2.0)
    assert len(words_until(trickle, START + 20)) == 10


# --- beyond the RFC: members that are heard in another way ----------------------------------------


def hear(trickle: Trickle, others: int) -> bool:
    """Whether it speaks in an interval in which so many others did, saying something else."""
    for _ in range(others):
        trickle.hear_other()
    return trickle.fire(trickle.next_wake)


def test_who_is_known_to_be_here_is_silent_when_enough_others_speak() -> None:
    for others, known, speaks in ((2, True, False), (1, True, True), (2, False, True)):
        trickle = started()
        trickle.known_until(START + 10 if known else START)
        assert hear(trickle, others) is speaks


def test_it_says_whether_others_have_spoken_enough() -> None:
    for others in (1, 2):
        trickle = started()
        assert hear(trickle, others)
        assert trickle.covered is (others == 2)


def test_in_longer_intervals_more_have_to_be_heard() -> None:
    trickle = started()
    words_until(trickle, START + 1)
    assert trickle.interval == 2
    trickle.known_until(START + 100)
    assert hear(trickle, 3)
    trickle = started()
    words_until(trickle, START + 1)
    trickle.known_until(START + 100)
    assert not hear(trickle, 4)


def test_that_somebody_lacks_something_makes_it_speak_though_others_did() -> None:
    trickle = started()
    trickle.known_until(START + 100)
    for _ in range(5):
        trickle.hear_other()
    trickle.hear_lacking(START + 0.1)
    assert trickle.fire(trickle.next_wake)


def test_a_stretched_timer_is_slower_by_that_factor() -> None:
    usual, slow = started(), started()
    slow.turns = 16
    words_until(slow, START + 1)
    slow.reset(START + 1)
    assert slow.interval == 16
    words_until(slow, START + 17)
    assert slow.interval == 32
    count = len(words_until(usual, START + 1000))
    assert len(words_until(slow, START + 1000)) < count / 8
    slow.turns = 1
    words_until(slow, START + 1200)
    slow.reset(START + 1200)
    assert slow.interval == 1
