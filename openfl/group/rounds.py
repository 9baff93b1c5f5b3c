"""`Rounds`: a member's own pace. When to train, on which model, and what comes of it.

A round is: take the model as it is now, train on private data, publish what changed. At most one
`Train` or `Evaluate` is under way. After the last round the model is still evaluated, at the same
pace, whenever the others have changed it.
"""

from __future__ import annotations

import numpy as np

from openfl.contribution import Contribution, Evaluation
from openfl.group import events as ev
from openfl.group.publisher import Publisher
from openfl.group.screening import Screening
from openfl.group.settings import SessionSettings
from openfl.wire import messages as wire

MAX_HISTORY = 240
ROUND_JITTER = 0.1
"""Part of the interval by which a round may come earlier or later."""


class Rounds:
    """See the module's text. round_number, last_round, history: as for `GroupSession`."""

    def __init__(
        self,
        screening: Screening,
        publisher: Publisher,
        settings: SessionSettings,
        rng: np.random.Generator,
        round_number: int,
        last_round: int | None,
        history: tuple[float, ...],
    ) -> None:
        self.round = round_number
        """Of the latest training; 0 before the first."""
        if last_round is None:
            last_round = round_number + settings.rounds if settings.rounds else 0
        self.last_round = last_round
        """The round after which all are done; 0: they go on until the session is stopped."""
        self.validation: Evaluation | None = None
        self.history: list[float] = list(history[-MAX_HISTORY:])
        self.done = False
        self.busy = False
        """A `Train` or `Evaluate` is under way."""
        self._screening = screening
        self._publisher = publisher
        self._settings = settings
        self._rng = rng
        self._next_at = float("inf")
        self._met_strangers = False
        """Whether new members were judged since the last round."""
        self._evaluated: object | None = None

    @property
    def next_wake(self) -> float:
        """When the next round is due; never while one is under way or none has been scheduled."""
        return float("inf") if self.busy else self._next_at

    @property
    def told_fit(self) -> Evaluation | None:
        """What others may know of how well the model fits this member's data."""
        return self.validation if self._settings.tells_fit else None

    def schedule_first(self, now: float, members: int) -> None:
        """Rounds begin; `members` are present, this one included."""
        # Members that train at different moments build on each other's latest work; in lockstep
        # all would build on the same old model and need about twice the rounds.
        alone = members < 2
        wait = 0.0 if alone else float(self._rng.random()) * self._settings.interval_seconds
        self._next_at = now + wait

    def advance(self, now: float) -> list[ev.Effect]:
        """Begin the next round if it is due."""
        if self.busy or now < self._next_at:
            return []
        if not self.done and not self._met_strangers:
            # Whoever has not been judged yet is, before anything is learned from it: what one bad
            # first round teaches takes a group many rounds to forget.
            self._met_strangers = True
            if self._screening.has_strangers():
                return self.evaluate()
        self._met_strangers = False
        jitter = 1 + ROUND_JITTER * (2 * float(self._rng.random()) - 1)
        self._next_at = now + self._settings.interval_seconds * jitter
        if self.done:
            return [] if self._screening.model() is self._evaluated else self.evaluate()
        self.busy = True
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Train(self.round + 1, model, case), *self._screening.news()]

    def evaluate(self) -> list[ev.Effect]:
        """Judge the model as it is now, beside the rounds."""
        self.busy = True
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Evaluate(model, case), *self._screening.news()]

    def evaluated(self, event: ev.EvaluationFinished) -> None:
        """What came of an `Evaluate`."""
        self.busy = False
        self._note(event.validation)
        self._screening.judged(event.influence)

    def trained(self, event: ev.TrainingFinished, members: int, now: float) -> list[ev.Effect]:
        """What came of a `Train`: the round is done, and told to the group."""
        self.busy = False
        self.round += 1
        self._note(event.validation)
        self._screening.judged(event.influence)
        effects = self._publish(event.contribution, now)
        effects.append(
            ev.Tell(
                "info",
                "round",
                f"round {self.round}: {self._fit_text()}",
                {
                    "round": self.round,
                    "validation": None if self.validation is None else self.validation.value,
                    "members": members,
                },
            )
        )
        effects.append(ev.Save())
        if self.last_round and self.round >= self.last_round:
            self.done = True
            text = f"all {self._settings.rounds} rounds are done"
            effects.append(ev.Tell("info", "rounds-done", text))
        return effects

    def _publish(self, contribution: Contribution, now: float) -> list[ev.Effect]:
        messages, problem = self._publisher.publish(contribution, self.round, self.told_fit, now)
        effects: list[ev.Effect] = [ev.Publish(wire.encode_gossip(message)) for message in messages]
        if problem is not None:
            effects.append(ev.Tell("warning", "not-published", f"not published: {problem}"))
        return effects

    def _note(self, evaluation: Evaluation | None) -> None:
        if evaluation is None or evaluation.count == 0:
            return
        self.validation = evaluation
        self.history.append(evaluation.value)
        del self.history[:-MAX_HISTORY]

    def _fit_text(self) -> str:
        if self.validation is None:
            return "no held-out data"
        return f"{self.validation.metric} {self.validation.value:.4f}"
