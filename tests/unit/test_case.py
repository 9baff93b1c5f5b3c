"""Members that are judged together: a circle that learns something else than the judge does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from openfl.aggregation.replica import Replica
from openfl.core.contribution import (
    Charter,
    Contribution,
    ModelView,
    PeerId,
    RowBlock,
    TableSchema,
)
from openfl.group.case import Case
from openfl.learning.own_losses import OwnLosses
from openfl.learning.task import Counterfactuals
from tests.influence_rig import merge

ROWS = 40
TABLE = TableSchema("t", 1, (0.1,), (0.0,), (0.0,), "float32")
CHARTER = Charter("w", "mean", (TABLE,))
KEYS = np.arange(1, ROWS + 1, dtype=np.uint64)
ME = PeerId("me")
CIRCLE = [PeerId(f"c{n}") for n in range(9)]
KIN = [PeerId(f"k{n}") for n in range(3)]


class Judge:
    """Five examples a row, which say that rows are 1, give or take."""

    def __init__(self, spread: float = 1.0) -> None:
        self.truth = 1 + spread * np.random.default_rng(7).normal(size=(5 * ROWS, 1))

    def _losses(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """rows: float64[ROWS, n]."""
        return np.asarray((np.repeat(rows, 5, axis=0) - self.truth) ** 2)

    def _rows(self, model: ModelView) -> NDArray[np.float64]:
        known = model.evidence("t", KEYS)[:, None] > 0
        return np.where(known, model.rows("t", KEYS).astype(np.float64), 0.0)

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float64]]:
        rows = self._rows(model)
        for part in parts:
            found = part.changed("t", KEYS)
            worlds = np.repeat(rows, part.count, axis=1)
            worlds[found.row, found.counterfactual] += found.change[:, 0]
            yield self._losses(worlds) - self._losses(rows)


class OwnJudge(Judge):
    """One that tells its losses."""

    metric_power = 0.5

    def own_losses(self, model: ModelView) -> OwnLosses:
        losses = self._losses(self._rows(model))[:, 0]
        return OwnLosses(losses, np.arange(len(losses)))


def contribution(value: float, rng: np.random.Generator) -> Contribution:
    """Rows at `value`, give or take a little; each member of a circle by itself says less than all
    of them."""
    values = (value + rng.normal(size=(ROWS, 1))).astype(np.float32)
    ones = np.ones(ROWS, dtype=np.float32)
    return Contribution((RowBlock("t", KEYS, values, ones, np.ones(1, dtype=np.float32)),))


def replica_of(circle: float, kin: float = 1.0) -> Replica:
    replica, rng = Replica(CHARTER), np.random.default_rng(1)
    for value, peers in ((circle, CIRCLE), (kin, [ME, *KIN])):
        for peer in peers:
            merge(replica, peer, contribution(value, rng))
    return replica


def case_of(replica: Replica, outside: list[PeerId], out_together: Iterable[PeerId] = ()) -> Case:
    inside = [peer for peer in (*CIRCLE, *KIN) if peer not in outside]
    sums = replica.sums_without((ME, *outside))
    return Case(
        replica.model_of(sums),
        replica.view_without(outside),
        sums,
        inside,
        {"t": replica.member_stack(inside, "t")},
        outside,
        {"t": replica.member_stack(outside, "t")},
        frozenset(out_together),
    )


def together(case: Case, task: object) -> set[PeerId]:
    return {peer for peer, influence in case.judge(task).items() if influence.together}


def test_a_circle_that_learns_something_else_is_found_together() -> None:
    found = together(case_of(replica_of(circle=-1.0), []), OwnJudge())
    assert found == set(CIRCLE)


@pytest.mark.parametrize("seed", range(5))
def test_members_that_learn_the_same_are_not(seed: int) -> None:
    replica, rng = Replica(CHARTER), np.random.default_rng([seed, 3])
    for peer in (*CIRCLE, ME, *KIN):
        merge(replica, peer, contribution(1.0, rng))
    assert together(case_of(replica, []), OwnJudge()) == set()


def test_they_stay_out_while_all_of_them_would_do_harm() -> None:
    case = case_of(replica_of(circle=-1.0), CIRCLE, CIRCLE)
    assert together(case, OwnJudge()) == set(CIRCLE)


def test_they_come_back_when_they_learn_the_same_again() -> None:
    case = case_of(replica_of(circle=1.0), CIRCLE, CIRCLE)
    assert together(case, OwnJudge()) == set()


def test_who_is_out_for_another_reason_is_judged_alone() -> None:
    case = case_of(replica_of(circle=-4.0), CIRCLE)
    found = case.judge(OwnJudge())
    assert not any(influence.together for influence in found.values())
    assert all(found[peer].total < 0 for peer in CIRCLE)


def test_what_is_much_is_not_known_of_a_task_that_does_not_tell_its_losses() -> None:
    assert together(case_of(replica_of(circle=-1.0), []), Judge()) == set()


def test_a_little_better_is_not_enough() -> None:
    # Most of the loss is noise of the examples, which no model can explain.
    assert together(case_of(replica_of(circle=-1.0), []), OwnJudge(spread=12.0)) == set()


def test_the_verdict_does_not_depend_on_when_it_is_asked_for() -> None:
    case = case_of(replica_of(circle=-1.0), [])
    assert case.judge(OwnJudge()) == case.judge(OwnJudge())


def test_a_judge_without_others_has_nobody_to_judge() -> None:
    replica = Replica(CHARTER)
    merge(replica, ME, contribution(1.0, np.random.default_rng(0)))
    sums = replica.sums_without((ME,))
    empty = {"t": replica.member_stack([], "t")}
    assert (
        Case(replica.model_of(sums), replica.view(), sums, [], empty, [], empty).judge(OwnJudge())
        == {}
    )


class Seen(Judge):
    """One that notes at which model it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float64]]:
        self.at.append(float(model.rows("t", KEYS)[0, 0]))
        return super().loss_changes(model, parts)


class Taught(Seen, OwnJudge):
    """One whose members train from a common model."""

    def taught_losses(self, model: ModelView, most: int) -> OwnLosses:
        return self.own_losses(model)


def test_the_judges_register_is_out_as_far_as_others_hold_a_row_or_the_whole_of_it() -> None:
    """Thirteen members of like evidence; by `openfl.learning.group_comparison` what a `TaughtTask`
    taught stays in others' numbers anyhow."""
    replica = replica_of(3.0)
    case = case_of(replica, [])
    without = float(replica.view_without((ME,)).rows("t", KEYS)[0, 0])
    full = float(replica.view().rows("t", KEYS)[0, 0])
    solved, taught = Seen(), Taught()
    case.judge(solved)
    case.judge(taught)
    assert solved.at == [pytest.approx(full + (without - full) * 12 / 13)]
    assert taught.at[0] == without != solved.at[0]
