"""`Case`: members to be judged by a task's own data, each alone, and the harmful ones together.

It is made on the session's side and goes out with `Train`; it is judged where the training runs,
for influence needs the private data.

*Together.* Members that learn something else than this one hold the model in their place together:
without any one of them hardly anything changes, so each alone does little harm. So those that look
harmful are chosen by one half of the own examples, and the model without all of them is judged by
the other half, and the other way round: on the examples that chose them, anybody would look
harmful. If it is clearly and much better, all that look harmful by all examples do harm together.
Whoever is out for that reason is judged as if all of them came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.counterfactuals import JointCounterfactuals, MemberCounterfactuals
from openfl.aggregation.member_judge import Influence
from openfl.aggregation.member_stack import MemberStack
from openfl.aggregation.sums import LiveSums
from openfl.aggregation.withdrawal import partly_without
from openfl.core.contribution import PeerId
from openfl.core.model_view import DenseModel
from openfl.learning.group_comparison import TaughtTask
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.task import InfluenceJudge

MEMBERS_AT_ONCE = 32
"""Judged in one pass: more would not be faster, and take more memory."""
LOOKS_HARMFUL = -0.5
"""Below this z, by half of the examples, a member is one of those that are judged together."""
SURE = 2.5
"""The z by which the model must be better without them."""
MUCH = 0.05
"""By which part the loss must be lower without them. Among members that all learn the same, leaving
some out that look harmful lowered it by 3 % at most; for two among thirty others by 10 to 30 %."""
STILL_MUCH = 0.025
"""And higher with them, for them to stay out."""

Changes = NDArray[np.floating[Any]]
"""float[n, members]: by how much the loss of each example is higher in each member's world."""


class _Both(InfluenceJudge, JudgesByOwn, Protocol):
    """What members can be judged together by."""


@dataclass(frozen=True)
class Case:
    """The members to be judged by a task, frozen. sums, model: without the judge's own register and
    without who is left out; full: the model with that register. inside: by table, the registers of
    those members that are in the model; outside: of those that are not. out_together: who is
    outside for the harm that several do together."""

    model: DenseModel
    full: DenseModel
    sums: Mapping[str, LiveSums]
    members_inside: Sequence[PeerId]
    inside: Mapping[str, MemberStack]
    members_outside: Sequence[PeerId]
    outside: Mapping[str, MemberStack]
    out_together: frozenset[PeerId] = frozenset()

    def judge(self, task: object) -> dict[PeerId, Influence]:
        """Each member's influence on the task's own data; empty when the task is no judge."""
        if not isinstance(task, InfluenceJudge):
            return {}
        if isinstance(task, TaughtTask):
            # What the judge taught is in the others' numbers also when its register is out.
            return self._judged(task)
        return replace(self, model=partly_without(self.model, self.full))._judged(task)

    def _judged(self, task: InfluenceJudge) -> dict[PeerId, Influence]:
        found = list(task.loss_changes(self.model, self._parts()))
        if not found:
            return {}
        changes = np.concatenate(found, axis=1)
        together = self._together(task, changes)
        totals = changes.sum(0, dtype=np.float64).tolist()
        squares = np.einsum("nw,nw->w", changes, changes).tolist()
        sizes = np.abs(changes).sum(0).tolist()
        # Positive does good: less loss with the member than without.
        signs = [1] * len(self.members_inside) + [-1] * len(self.members_outside)
        members = [*self.members_inside, *self.members_outside]
        return {
            peer: Influence(sign * total, square, size, peer in together)
            for peer, sign, total, square, size in zip(
                members, signs, totals, squares, sizes, strict=True
            )
        }

    def _parts(self) -> Iterator[MemberCounterfactuals]:
        for sign, stacks, count in (
            (-1, self.inside, len(self.members_inside)),
            (+1, self.outside, len(self.members_outside)),
        ):
            for first in range(0, count, MEMBERS_AT_ONCE):
                last = min(first + MEMBERS_AT_ONCE, count)
                part = {name: stack.part(first, last) for name, stack in stacks.items()}
                yield MemberCounterfactuals(self.model.charter, self.sums, part, sign)

    # --- together ---------------------------------------------------------------------------------

    def _together(self, task: InfluenceJudge, changes: Changes) -> frozenset[PeerId]:
        """Who does harm together with others. Nobody, when the task does not tell what its losses
        are: what is much of them is then unknown."""
        if not isinstance(task, JudgesByOwn):
            return frozenset()
        both = cast("_Both", task)
        inside = self._harmful_inside(both, changes[:, : len(self.members_inside)])
        return inside | self._harmful_outside(both)

    def _harmful_inside(self, task: _Both, changes: Changes) -> frozenset[PeerId]:
        first = np.random.default_rng(len(changes)).random(len(changes)) < 0.5
        without = np.array([_look_harmful(changes[half]) for half in (first, ~first)])
        if not without.any(axis=1).all():
            return frozenset()
        joint = self._joint(task, self.inside, without, -1)
        gains = -np.where(first, joint[:, 1], joint[:, 0])
        if _z(gains) < SURE or float(gains.mean()) < MUCH * self._loss(task):
            return frozenset()
        harmful = _look_harmful(changes).tolist()
        return frozenset(p for p, looks in zip(self.members_inside, harmful, strict=True) if looks)

    def _harmful_outside(self, task: _Both) -> frozenset[PeerId]:
        coming = np.array([[peer in self.out_together for peer in self.members_outside]])
        if not coming.any():
            return frozenset()
        harm = self._joint(task, self.outside, coming, +1)[:, 0]
        # However sure: who came back by chance would spoil the model again for some rounds.
        still = float(harm.mean()) > STILL_MUCH * self._loss(task)
        return self.out_together if still else frozenset()

    def _joint(
        self,
        task: InfluenceJudge,
        stacks: Mapping[str, MemberStack],
        who: NDArray[np.bool_],
        sign: int,
    ) -> NDArray[np.float64]:
        """float64[n, worlds]. who: bool[worlds, members], who comes or goes."""
        worlds = JointCounterfactuals(self.model.charter, self.sums, stacks, who, sign)
        (changes,) = task.loss_changes(self.model, (worlds,))
        return changes.astype(np.float64)

    def _loss(self, task: JudgesByOwn) -> float:
        return float(task.own_losses(self.model).losses.mean())


def _z(gains: NDArray[np.float64]) -> float:
    return Influence(float(gains.sum()), float(gains @ gains), float(np.abs(gains).sum())).z


def _look_harmful(changes: Changes) -> NDArray[np.bool_]:
    """bool[members]: whose absence lessens the losses."""
    spread = np.sqrt(np.einsum("nw,nw->w", changes, changes))
    harmful: NDArray[np.bool_] = changes.sum(0, dtype=np.float64) < LOOKS_HARMFUL * spread
    return harmful
