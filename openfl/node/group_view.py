"""Groups and fits as people see them."""

from __future__ import annotations

import math

from openfl.core.contribution import Evaluation
from openfl.core.telemetry import GroupView
from openfl.switching.directory import KnownCard
from openfl.switching.policy import Finding


def group_view(
    known: KnownCard,
    now: float,
    *,
    mine: bool,
    problem: str | None,
    finding: Finding | None = None,
    round_now: int = 0,
) -> GroupView:
    """A known group as people see it; `problem`: why this node could not join it; `finding`: what
    came of its last look, when the node's round was `finding.round`."""
    card = known.card
    return GroupView(
        id=card.charter.group_id,
        name=card.charter.name,
        task=card.charter.task,
        members=card.members,
        fit_metric=card.fit_metric,
        fit_best=card.fit_best,
        fit_median=card.fit_median,
        age_seconds=known.age(now),
        mine=mine,
        compatible=problem is None,
        reason=problem or "",
        gain=None if finding is None else finding.comparison.gain,
        gain_error=None if finding is None else finding.comparison.standard_error,
        tried_rounds_ago=None if finding is None else max(0, round_now - finding.round),
    )


def metric_value(evaluation: Evaluation | None) -> float | None:
    """None where there was nothing to evaluate on, or nothing came out that is a number."""
    if evaluation is None or evaluation.count == 0 or not math.isfinite(evaluation.value):
        return None
    return evaluation.value
