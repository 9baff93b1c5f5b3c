"""The interval that a member keeps: longer under load, as set when it is well, and told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from openfl.group import events as ev
from openfl.group.pace import (
    LARGEST_GROWTH,
    LENGTHENED,
    MAX_PATIENCE,
    MAX_STRETCH,
    RESTORED,
    SMALLEST_LIMIT_SECONDS,
    TELL_AGAIN_SECONDS,
    WAITING_LIMIT,
    Pace,
)

SET = 2.0


class Clock:
    """Feeds a pace with one measurement a second."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.now = 100.0
        self.told: list[ev.Tell] = []

    def feel(
        self,
        seconds: int,
        behind: float,
        waiting: int = 0,
        most: float = 0.0,
        rounds: bool = True,
    ) -> None:
        """behind, most: in parts of what may be."""
        for _ in range(seconds):
            self.now += 1.0
            limit = self.pace.behind_limit_seconds
            load = ev.LoadMeasured(behind * limit, max(behind, most) * limit, waiting)
            for effect in self.pace.measured(load, self.now, rounds=rounds):
                assert isinstance(effect, ev.Tell)
                self.told.append(effect)

    @property
    def kinds(self) -> list[str]:
        return [tell.kind for tell in self.told]


def clock(set_seconds: float = SET) -> Clock:
    return Clock(Pace(set_seconds))


def test_a_member_that_is_well_keeps_the_interval_that_was_set() -> None:
    felt = clock()
    felt.feel(600, behind=0.5)
    assert (felt.pace.interval, felt.pace.stretch, felt.pace.patience) == (SET, 1.0, 1.0)
    assert not felt.told


@pytest.mark.parametrize(
    "load",
    [
        {"behind": 3.0},
        {"behind": 0.1, "waiting": 3 * WAITING_LIMIT},
    ],
    ids=["behind", "waiting"],
)
def test_whatever_is_beyond_its_limit_lengthens_it(load: dict[str, float]) -> None:
    felt = clock()
    felt.feel(30, **load)  # type: ignore[arg-type]
    assert felt.pace.interval > 2 * SET


def test_it_is_told_what_the_limit_is() -> None:
    slow, thin = clock(), clock()
    slow.feel(10, behind=3.0)
    thin.feel(10, behind=0.1, waiting=10 * WAITING_LIMIT)
    assert slow.told[0].message == "interval 2.0 -> 3.0 s: the processor is the limit"
    assert thin.told[0].message == "interval 2.0 -> 3.0 s: the network is the limit"
    assert slow.told[0].kind == LENGTHENED
    assert slow.told[0].data == {
        "interval_seconds": 3.0,
        "set_seconds": SET,
        "cause": "the processor is the limit",
    }


def test_a_decision_needs_an_interval_of_measurements() -> None:
    felt = clock(10.0)
    felt.feel(10, behind=3.0)
    assert felt.pace.interval == 10.0
    felt.feel(1, behind=3.0)
    assert felt.pace.interval == pytest.approx(10.0 * LARGEST_GROWTH)
    felt.feel(14, behind=3.0)
    assert felt.pace.interval == pytest.approx(10.0 * LARGEST_GROWTH)


def test_a_spell_of_load_that_is_over_when_an_interval_is_changes_nothing() -> None:
    felt = clock(10.0)
    for _ in range(6):
        felt.feel(9, behind=0.9)
        felt.feel(1, behind=0.0)
    assert felt.pace.interval == 10.0


def test_just_beyond_the_limit_it_grows_little() -> None:
    little, much = clock(), clock()
    little.feel(4, behind=1.1)
    much.feel(4, behind=3.0)
    assert SET < little.pace.interval < 1.2 * SET < much.pace.interval


def test_it_has_a_bound() -> None:
    felt = clock()
    felt.feel(4000, behind=100.0)
    assert felt.pace.interval == MAX_STRETCH * SET
    assert felt.pace.patience == MAX_PATIENCE


def test_an_interval_that_was_set_long_is_never_shortened_by_the_bound() -> None:
    felt = clock(4000.0)
    felt.feel(9000, behind=3.0)
    assert felt.pace.interval == 4000.0


def test_once_well_it_comes_back_to_what_was_set_and_not_below() -> None:
    felt = clock()
    felt.feel(60, behind=3.0)
    assert felt.pace.interval > 5 * SET
    felt.feel(600, behind=0.2)
    assert felt.pace.interval == SET
    assert felt.kinds[-1] == RESTORED
    assert felt.kinds.count(RESTORED) == 1


def test_between_the_two_bounds_it_rests() -> None:
    felt = clock()
    felt.feel(20, behind=3.0)
    rests = felt.pace.interval
    felt.feel(600, behind=0.7)
    assert felt.pace.interval == rests
    # It was behind, and has caught up: no reason to lengthen it again, nor to shorten it.
    felt.feel(600, behind=0.0, most=5.0)
    assert felt.pace.interval == rests


def test_short_intervals_do_not_make_much_of_moments() -> None:
    felt = clock(0.1)
    assert felt.pace.behind_limit_seconds == SMALLEST_LIMIT_SECONDS
    assert clock(10.0).pace.behind_limit_seconds == 5.0


def test_what_weighs_on_a_member_before_its_rounds_is_not_its_own() -> None:
    felt = clock()
    felt.feel(120, behind=9.0, rounds=False)
    assert felt.pace.interval == SET


def test_its_owner_is_told_again_only_when_it_has_changed_much_and_some_time_later() -> None:
    felt = clock()
    felt.feel(600, behind=3.0)
    assert set(felt.kinds) == {LENGTHENED}
    # From 2 to 60 s in steps of half as much again: 9 of them.
    assert 2 <= len(felt.told) <= 6
    told = [float(tell.data["interval_seconds"]) for tell in felt.told]
    assert all(after > 1.49 * before for before, after in itertools.pairwise(told))
    quick = clock()
    quick.feel(int(TELL_AGAIN_SECONDS) - 1, behind=3.0)
    assert len(quick.told) == 1


def test_training_that_takes_longer_than_the_interval_is_said() -> None:
    pace = Pace(SET)
    assert not [tell for at in (5.0, 10.0) for tell in pace.trained(5.0, at)], (
        "one slow time is none"
    )
    (tell,) = pace.trained(5.1, 15.0)
    assert isinstance(tell, ev.Tell)
    assert tell.message == "interval 2.0 -> 5.0 s: training takes that long"
    assert (pace.kept, pace.interval, pace.patience) == (5.0, SET, 1.0)
    (tell,) = pace.trained(0.1, 20.0)
    assert isinstance(tell, ev.Tell)
    assert tell.kind == RESTORED


class Machine:
    """Made-up: nodes that share `cores` by the moment, as processes do. Each round costs its node
    `own` seconds of a core, and every other one `each`."""

    STEP = 0.05

    def __init__(self, nodes: int, set_seconds: float, cores: float, own: float, each: float):
        self.paces = [Pace(set_seconds) for _ in range(nodes)]
        self.rng = np.random.default_rng(7)
        self.left = self.rng.random(nodes)
        self.work = np.zeros(nodes)
        self.busy_for = np.zeros(nodes)
        self.cores, self.own, self.each = cores, own, each
        self.now = 0.0
        self.told = [0] * nodes

    def run(self, seconds: float) -> None:
        nodes = len(self.paces)
        most, done = np.zeros(nodes), np.zeros(nodes)
        for step in range(1, round(seconds / self.STEP) + 1):
            self.now += self.STEP
            self.left -= self.STEP / self.intervals
            for index in np.flatnonzero(self.left <= 0):
                self.left[index] = 0.9 + 0.2 * self.rng.random()
                self.work += self.each
                self.work[index] += self.own - self.each
            runnable = int((self.work > 0).sum())
            share = self.STEP * min(1.0, self.cores / runnable) if runnable else self.STEP
            done += np.minimum(self.work, share)
            self.work = np.maximum(0.0, self.work - share)
            self.busy_for = np.where(self.work > 0, self.busy_for + self.STEP, 0.0)
            most = np.maximum(most, self.busy_for)
            if step % round(1 / self.STEP) == 0:
                # As `LoopWatch` has it: what waits, at the rate at which it was done.
                oldest = self.work / np.maximum(done, 1e-9)
                behind, most = np.minimum(oldest, self.busy_for), np.minimum(oldest, most)
                for node, pace in enumerate(self.paces):
                    load = ev.LoadMeasured(float(behind[node]), float(most[node]))
                    self.told[node] += len(pace.measured(load, self.now, rounds=True))
                most[:] = done[:] = 0

    @property
    def intervals(self) -> np.ndarray:
        return np.array([pace.interval for pace in self.paces])

    @property
    def least(self) -> float:
        """The interval at which the cores would be busy all the time."""
        return len(self.paces) * (self.own + (len(self.paces) - 1) * self.each) / self.cores

    @property
    def waited_for(self) -> float:
        """Seconds of all cores."""
        return float(self.work.sum()) / self.cores


def test_many_nodes_on_two_cores_come_to_rest_at_what_these_can_bear() -> None:
    machine = Machine(32, SET, cores=2, own=0.03, each=0.012)
    assert machine.least > 3 * SET
    machine.run(150)
    rests = machine.intervals
    assert 0.9 * machine.least < rests.mean() < 1.5 * machine.least
    assert rests.max() < 1.5 * rests.min(), "each has a fair part"
    assert machine.waited_for < machine.least
    machine.run(200)
    later = machine.intervals
    assert 0.7 < later.mean() / rests.mean() < 1.4, "and stays there"
    assert machine.waited_for < machine.least
    assert max(machine.told) <= 6


def test_nodes_that_fit_are_left_alone() -> None:
    machine = Machine(8, 1.0, cores=2, own=0.03, each=0.008)
    machine.run(120)
    assert (machine.intervals == 1.0).all()


def test_when_most_nodes_have_gone_the_others_come_back_to_what_was_set() -> None:
    machine = Machine(16, 1.0, cores=2, own=0.03, each=0.02)
    machine.run(60)
    assert machine.intervals.min() > 1.5
    machine.each = 0.001
    machine.run(120)
    assert (machine.intervals == 1.0).all()
