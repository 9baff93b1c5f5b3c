"""`Trainer`: training and evaluating for one membership, where it holds up nothing else, and under
the privacy budget when there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from openfl.aggregation.member_judge import Influence
from openfl.core.contribution import Contribution, Evaluation, PeerId
from openfl.core.errors import StateError
from openfl.core.telemetry import PrivacyView
from openfl.group import events as ev
from openfl.learning.comparison import Fit, fit_of
from openfl.learning.task import LearningTask
from openfl.node.compute import Compute
from openfl.node.privacy_budget import PrivacyBudget
from openfl.storage.membership import PrivateState


@dataclass(frozen=True, slots=True)
class _Trained:
    contribution: Contribution
    fit: Fit
    test: Evaluation | None
    private: PrivateState
    influence: Mapping[PeerId, Influence]


class Trainer:
    """`tell` is told what the owner should know; `privacy`: the budget to teach under, if any."""

    def __init__(
        self,
        task: LearningTask,
        compute: Compute,
        rng: np.random.Generator,
        tell: Callable[[ev.Tell], None],
        privacy: PrivacyBudget | None = None,
    ) -> None:
        self.task = task
        self.test: Evaluation | None = None
        """Of the last model that was evaluated, on the test data."""
        self.private: PrivateState = task.private_state()
        """As it was after the last training, to be saved."""
        self._compute = compute
        self._rng = rng
        self._tell = tell
        self._privacy = privacy

    def restore(self, state: PrivateState) -> bool:
        """Take back a saved private state; False when it does not fit today's data."""
        try:
            self.task.restore(state)
        except ValueError:
            return False
        self.private = state
        return True

    async def train(self, effect: ev.Train) -> ev.TrainingFinished:
        """One round: evaluate the model of the effect, train from it, judge the members' influence
        on own data where a case for that is given."""
        task, rng, model, case = self.task, self._rng, effect.model, effect.case
        budget = self._privacy
        before = None if budget is None else budget.view
        not_written: list[StateError] = []

        def paid_for(budget: PrivacyBudget) -> Contribution:
            try:
                return budget.step(task, model)
            except StateError as error:
                not_written.append(error)
                return Contribution(())

        def work() -> _Trained:
            fit = fit_of(task, model)
            test = task.evaluate(model, "test")
            contribution = task.local_step(model, rng) if budget is None else paid_for(budget)
            private = task.private_state()
            influence = {} if case is None else case.judge(task)
            return _Trained(contribution, fit, test, private, influence)

        trained = await self._compute.run(work)
        self.private = trained.private
        self.test = trained.test
        for error in not_written:
            self._tell(ev.Tell("warning", "not-published", f"not published: {error}"))
        if budget is not None and budget.view is not before:
            self._tell_spent(budget.view)
        fit = trained.fit
        return ev.TrainingFinished(
            trained.contribution, fit.evaluation, trained.influence, fit.losses
        )

    async def evaluate(self, effect: ev.Evaluate) -> ev.EvaluationFinished:
        """The model of the effect on held-out data; members' influence as for `train`."""
        task, model, case = self.task, effect.model, effect.case
        fit, self.test, influence = await self._compute.run(
            lambda: (
                fit_of(task, model),
                task.evaluate(model, "test"),
                {} if case is None else case.judge(task),
            )
        )
        return ev.EvaluationFinished(fit.evaluation, influence, fit.losses)

    def _tell_spent(self, view: PrivacyView) -> None:
        spent = f"epsilon {view.epsilon_spent:.3g} of {view.epsilon:g} (delta {view.delta:g})"
        self._tell(
            ev.Tell("info", "privacy", f"spent {spent} of the privacy budget", asdict(view))
            if view.releases_left
            else ev.Tell(
                "warning",
                "privacy-spent",
                f"the privacy budget is spent: {spent}; nothing more is published, and what was"
                " stays in the group's model",
                asdict(view),
            )
        )
