"""`Trainer`: when simulated members train, and what that costs them in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from openfl.aggregation.member_judge import Influence
from openfl.core.contribution import Contribution, ModelView, PeerId
from openfl.group import events as ev
from openfl.learning.comparison import Fit, fit_of
from openfl.simulation.agenda import Agenda
from openfl.simulation.member import SimulatedMember
from openfl.simulation.scenario import Scenario

Finished = Callable[[SimulatedMember, Contribution, Fit, Mapping[PeerId, Influence]], None]
"""(member, what it has learned, how well its model fitted before, whom it was judged to be harmed
by): called once the time that training takes is over, if the member is still there."""


class Trainer:
    """Trains at once; the result counts later. view: the model that a member has now."""

    def __init__(
        self,
        scenario: Scenario,
        members: Sequence[SimulatedMember],
        agenda: Agenda,
        rng: np.random.Generator,
        view: Callable[[SimulatedMember], ModelView],
        finished: Finished,
    ) -> None:
        self._training = scenario.training
        self._section = scenario.members
        self._agenda = agenda
        self._rng = rng
        self._view = view
        self._finished = finished
        seed = scenario.run.seed
        self._step_rngs = [np.random.default_rng([seed, 4, m.index]) for m in members]

    def train(self, member: SimulatedMember, effect: ev.Train) -> None:
        """The member's session has asked for a round. In lockstep it is held until its moment."""
        if self._training.lockstep:
            member.held = effect
        else:
            self._train_unless_out(member, member.incarnation, effect.model, effect.case)

    def train_in_step(self, members: Iterable[SimulatedMember]) -> None:
        """The moment of those whose rounds are held."""
        for member in members:
            if member.alive and member.held is not None and self._takes_part():
                case, member.held = member.held.case, None
                self._work(member, self._view(member), case)

    def _train_unless_out(
        self,
        member: SimulatedMember,
        incarnation: int,
        view: ModelView | None,
        case: ev.Judging | None,
    ) -> None:
        if not member.lives(incarnation):
            return
        if self._takes_part():
            self._work(member, view if view is not None else self._view(member), case)
        else:  # sits this round out
            at = self._agenda.now + self._training.interval_seconds
            self._agenda.plan(at, self._train_unless_out, member, incarnation, None, case)

    def _takes_part(self) -> bool:
        active = self._section.active
        return active >= 1 or float(self._rng.random()) < active

    def _work(self, member: SimulatedMember, view: ModelView, case: ev.Judging | None) -> None:
        fit = fit_of(member.task, view)
        work = member.step(view, self._step_rngs[member.index])
        influence = {} if case is None else case.judge(member.task)
        cost = self._training.step_seconds
        if member.straggler:
            cost += self._section.straggler_rounds * self._training.interval_seconds
        self._agenda.plan(
            self._agenda.now + cost,
            self._finish,
            member,
            member.incarnation,
            work,
            fit,
            influence,
        )

    def _finish(
        self,
        member: SimulatedMember,
        incarnation: int,
        work: Contribution,
        fit: Fit,
        influence: Mapping[PeerId, Influence],
    ) -> None:
        if member.lives(incarnation):
            self._finished(member, work, fit, influence)
