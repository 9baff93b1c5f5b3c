"""`Rounds`: when a member trains, on which model, and what comes of it, at its own pace.

A round is: take the model as it is now, train on private data, publish what changed. At most one
`Train` or `Evaluate` is under way. After the last round the model is still evaluated, at the same
pace, whenever the others have changed it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Contribution, Evaluation
from openfl.group import events as ev
from openfl.group.lottery import Lottery
from openfl.group.pace import Pace
from openfl.group.publisher import Publisher
from openfl.group.screening import Screening
from openfl.group.settings import SessionSettings, SessionStart
from openfl.wire import messages as wire

MAX_HISTORY = 240
FEW_HELD_OUT = 10
"""Fewer held-out examples than that are said to be few."""
ROUND_JITTER = 0.1
"""Part of the interval by which a round may come earlier or later: members that train at different
moments are to go on doing so."""


class Rounds:
    """See the module's text. `pace`: how long the interval is now. `start`: where the counting
    begins or goes on."""

    def __init__(
        self,
        screening: Screening,
        publisher: Publisher,
        pace: Pace,
        settings: SessionSettings,
        rng: np.random.Generator,
        start: SessionStart,
        lottery: Lottery,
    ) -> None:
        """No round is scheduled yet: see `schedule_first`."""
        self.round = start.round
        """Of the latest training; 0 before the first."""
        last_round = start.last_round
        if last_round is None:
            last_round = start.round + settings.rounds if settings.rounds else 0
        self.last_round = last_round
        """The round after which all are done; 0: they go on until the session is stopped."""
        self.validation: Evaluation | None = None
        self.losses: NDArray[np.float64] | None = None
        """Of the examples that `validation` is of."""
        self.history = [value for value in start.history[-MAX_HISTORY:] if math.isfinite(value)]
        self.done = False
        self.busy = False
        """A `Train` or `Evaluate` is under way."""
        self._screening = screening
        self._publisher = publisher
        self._pace = pace
        self._settings = settings
        self._rng = rng
        self._due_in = float("inf")
        """Intervals from `_as_of` to the next round. Kept as a part of the interval: when that
        grows, members that waited for different moments go on to do so, spread over the new one."""
        self._as_of = 0.0
        self._began_at = 0.0
        self._part = 1.0
        """Of the interval, after which the next round follows the one that begins."""
        self._lottery = lottery
        self._met_strangers = False
        """Whether new members were judged since the last round."""
        self._evaluated: object | None = None
        self._judged = False
        """Whether there was an evaluation at all."""
        self._is_finite = True
        """Whether the last metric was a number to go by."""

    @property
    def next_wake(self) -> float:
        """When the next round is due; never while one is under way or none has been scheduled."""
        return float("inf") if self.busy else self._due_at

    @property
    def _due_at(self) -> float:
        return self._as_of + self._due_in * self._pace.interval

    @property
    def told_fit(self) -> Evaluation | None:
        """What others may know of how well the model fits this member's data."""
        return self.validation if self._settings.tells_fit else None

    def schedule_first(self, now: float, members: int, *, at_once: bool = False) -> None:
        """Rounds begin; `members` are present, this one included. at_once: the first does, for the
        model is as good as it gets; the second then comes after part of the interval."""
        # Members that train at different moments build on each other's latest work; in lockstep
        # all would build on the same old model and need about twice the rounds.
        part = 0.0 if members < 2 else float(self._rng.random())
        self._as_of = now
        self._due_in = 0.0 if at_once else part
        if at_once:
            self._part = part or 1.0

    def interval_changes(self, now: float) -> None:
        """To be called before the interval of `pace` changes."""
        self._due_in -= (now - self._as_of) / self._pace.interval
        self._as_of = now

    def advance(self, now: float) -> list[ev.Effect]:
        """Begin the next round if it is due."""
        if self.busy or now < self._due_at:
            return []
        if not self.done and not self._met_strangers:
            # Whoever has not been judged yet is, before anything is learned from it: what one bad
            # first round teaches takes a group many rounds to forget.
            self._met_strangers = True
            if self._screening.has_strangers():
                return self.evaluate()
        self._met_strangers = False
        jitter = 1 + ROUND_JITTER * (2 * float(self._rng.random()) - 1)
        self._due_in = jitter * self._part
        self._part = 1.0
        self._as_of = now
        if self.done:
            return [] if self._screening.model() is self._evaluated else self.evaluate()
        self.busy = True
        self._began_at = now
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Train(self.round + 1, model, case), *self._screening.news()]

    def evaluate(self) -> list[ev.Effect]:
        """Evaluate the model as it is now, outside of a round."""
        self.busy = True
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Evaluate(model, case), *self._screening.news()]

    def evaluated(self, event: ev.EvaluationFinished) -> list[ev.Effect]:
        """What came of an `Evaluate`."""
        self.busy = False
        self._screening.judged(event.influence)
        return self._note(event.validation, event.losses)

    def trained(self, event: ev.TrainingFinished, members: int, now: float) -> list[ev.Effect]:
        """What came of a `Train`: the round is done, and told to the group when it is this
        member's turn. `members`: present ones, this one included."""
        self.busy = False
        self.round += 1
        effects = self._pace.trained(now - self._began_at, now)
        effects += self._note(event.validation, event.losses)
        self._screening.judged(event.influence)
        if self._lottery.draws(members) or self.round == self.last_round:
            effects += self._publish(event.contribution, self._lottery.published(), now)
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

    def _publish(self, contribution: Contribution, rounds: int, now: float) -> list[ev.Effect]:
        messages, problem = self._publisher.publish(
            contribution, self.round, self.told_fit, now, rounds
        )
        effects: list[ev.Effect] = [ev.Publish(wire.encode_gossip(message)) for message in messages]
        if problem is not None:
            effects.append(ev.Tell("warning", "not-published", f"not published: {problem}"))
        return effects

    def _note(
        self, evaluation: Evaluation | None, losses: NDArray[np.float64] | None
    ) -> list[ev.Effect]:
        """Keep an evaluation if there is one. Nothing that is not finite gets past here: it
        could be neither sent nor shown."""
        effects: list[ev.Effect] = []
        if evaluation is None:
            return effects
        if not self._judged:
            self._judged = True
            effects += _too_little(evaluation, self._publisher.examples)
        if evaluation.count == 0:
            return effects
        was_finite, self._is_finite = self._is_finite, math.isfinite(evaluation.value)
        if not self._is_finite:
            self.validation = self.losses = None
            if was_finite:
                text = (
                    f"the held-out {evaluation.metric} is {evaluation.value}: the model does not"
                    " fit this data at all, or the task has a bug; it is not told to the group"
                )
                effects.append(ev.Tell("warning", "not-measured", text))
            return effects
        if not (math.isfinite(evaluation.standard_error) and evaluation.standard_error >= 0):
            # A task of the owner's own, which says that it does not know.
            evaluation = replace(evaluation, standard_error=abs(evaluation.value))
        self.validation, self.losses = evaluation, losses
        self.history.append(evaluation.value)
        del self.history[:-MAX_HISTORY]
        return effects

    def _fit_text(self) -> str:
        if self.validation is None:
            return "no held-out data" if self._is_finite else "the held-out metric is not finite"
        return f"{self.validation.metric} {self.validation.value:.4f}"


def _too_little(evaluation: Evaluation, examples: int) -> list[ev.Effect]:
    """What the owner of very little data is to know of it."""
    count = evaluation.count
    if count >= FEW_HELD_OUT:
        return []
    data = {"training_examples": examples, "held_out": count}
    if not count:
        text = (
            f"no held-out data ({_number(examples, 'training example')}): the error stays unknown"
        )
        return [ev.Tell("warning", "little-data", text, data)]
    text = f"{_number(count, 'held-out example')}: the error says little"
    return [ev.Tell("info", "little-data", text, data)]


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
