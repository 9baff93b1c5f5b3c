"""`compare_groups`: another group's model against the own group's, by all that is known of both.

Where members train from a common model (`classification`, PyTorch modules), what a node taught is
in the others' numbers also when its own are withdrawn. So its own group is judged fairly by what is
held out alone, and that is little: five of fifty examples hardly tell a model of another kind of
data from one of the own kind. But all own examples can speak, too, from one side each:

- They flatter the own group. A model that is better by them all the same is better indeed.
- They are fair to the other group's model, and to training alone (`AloneByFolds`). A model that is
  clearly worse than training alone is none to move to for what a few held-out examples say of it.

Of 24 nodes with 50 images in four turns, five images held out: where those said that a group was
better, all own images that it was worse, and worse than training alone, it was worse in truth in 46
of 76 comparisons. Where all own images said that it was better it was worse in 1 of 206.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from openfl.core.contribution import ModelView
from openfl.learning.alone import AloneByFolds
from openfl.learning.comparison import Comparison, compare, fit_of, paired_gain
from openfl.learning.own_losses import JudgesByOwn, OwnLosses
from openfl.learning.task import LearningTask

ENOUGH_HELD_OUT = 200
"""So many held-out examples need no help."""
MAX_TAUGHT = 2_000
"""Most own examples that help: more do not change a verdict."""
CLEARLY = 2.0
"""How much worse than training alone is clearly worse, in standard errors."""


@runtime_checkable
class TaughtTask(JudgesByOwn, Protocol):
    """What a task may offer whose `own_losses` are of the validation examples alone."""

    def taught_losses(self, model: ModelView, most: int) -> OwnLosses:
        """The loss of own examples but the test's under `model`, also of those that are trained on;
        of at most `most` (1 or more) of them, spread evenly, in the same order for every model."""
        ...


def compare_groups(
    task: LearningTask,
    current: ModelView | None,
    candidate: ModelView,
    candidate_task: LearningTask | None,
    alone: Callable[[], AloneByFolds],
) -> Comparison | None:
    """`candidate` against `current`, from both of which the node's own part was withdrawn; None
    when there is nothing to compare on.

    current: of the own group; None: there is nobody else in it, and training alone takes its place.
    candidate_task: see `compare`. alone: asked only where it is needed, for training takes long.
    """
    if current is None:
        return alone().gain_of(candidate, candidate_task)
    found = compare(task, current, candidate, candidate_task)
    if found is not None and found.count >= ENOUGH_HELD_OUT:
        return found
    by_all = _by_all(task, current, candidate, candidate_task)
    if by_all is not None and (found is None or by_all.gain > 0):
        return by_all
    if by_all is None or found is None or found.z < -CLEARLY:
        return found
    against_alone = alone().gain_of(candidate, candidate_task)
    is_worse = against_alone is not None and against_alone.z < -CLEARLY
    return by_all if is_worse else found


def _by_all(
    task: LearningTask,
    current: ModelView,
    candidate: ModelView,
    candidate_task: LearningTask | None,
) -> Comparison | None:
    """By all own examples, which flatter `current`; None of a task that has judged by all of them
    already."""
    other = candidate_task if candidate_task is not None else task
    if not (isinstance(task, TaughtTask) and isinstance(other, TaughtTask)):
        return None
    before = task.taught_losses(current, MAX_TAUGHT)
    after = other.taught_losses(candidate, MAX_TAUGHT)
    found = paired_gain(before.losses, after.losses, before.people, task.metric_power)
    if found is None:
        return None
    left = fit_of(task, current)
    return Comparison(left.evaluation, other.evaluate(candidate), *found, len(before.losses), left)
