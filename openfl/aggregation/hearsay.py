"""`Hearsay`: what the opinions of many judges are worth to one of them.

An opinion is a z: what a member's influence on a judge's own data is, in units of its error. Where
members make no difference to anybody, opinions are chance alone, and their median over n judges
still differs from member to member by pi / (2 n) of their variance. And others' data may be of
another kind: then their opinions tell nothing of one's own. Both show in the opinions themselves,
so both are measured, and opinions are believed as far as they deserve it: shrunk to what is usual
(Efron and Morris, JASA 1975), and weighed against the judge's own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MEDIAN_OF_SQUARES = 0.455
"""Median of the square of a normal variable with variance 1."""
MEDIAN_VARIANCE = math.pi / 2
"""Of the median of n normal variables with variance 1, times n."""
INDIFFERENT = (0.0, 0.0, 0.0)
"""Members are imagined who make no difference to anybody: one or two are no measure of others."""
DOUBT = 3.0
"""Over sqrt(n): by which part the spread over n members may be beside the expected by chance."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """Of one member. own: this judge's z; chance: the standard deviation of a z by chance alone;
    all: everybody's, the own included, at least one."""

    own: float
    chance: float
    all: Sequence[float]

    @property
    def median(self) -> float:
        """What half of the judges think at least."""
        return statistics.median(self.all)


@dataclass(frozen=True, slots=True)
class Hearsay:
    """agreement: how far others' opinions tell this judge's own. difference: how far members differ
    by more than chance. Both 0..1. usual: the median of the members' medians."""

    agreement: float = 1.0
    difference: float = 1.0
    usual: float = 0.0

    @classmethod
    def of(cls, known: Sequence[Opinions]) -> Hearsay:
        """By what is thought of several members."""
        if not known:
            return cls()
        n = len(known)
        medians = [one.median for one in known]
        # How much good a member does depends on what one lacks: only harm is compared.
        apart = [
            ((min(o.own, 0.0) - min(m, 0.0)) / o.chance) ** 2
            for o, m in zip(known, medians, strict=True)
        ]
        # The median, so that a few members on whom tastes differ do not speak for all.
        spread = statistics.median(apart) / MEDIAN_OF_SQUARES
        doubt = 1 + DOUBT / math.sqrt(n)
        agreement = 1 / max(1.0, spread / doubt)
        usual = statistics.median([*medians, *INDIFFERENT])
        chance = sum(MEDIAN_VARIANCE * o.chance**2 / len(o.all) for o in known) / n
        # The mean, so that a few members that harm everybody are noticed.
        variance = sum((m - usual) ** 2 for m in medians) / n
        difference = variance / chance * doubt - 1
        return cls(agreement, min(1.0, max(0.0, difference)), usual)

    def believed(self, opinions: Opinions) -> float:
        """What to think of a member, as a z. Harm that all members do alike is not theirs."""
        return max(0.0, self.usual) + self.difference * (opinions.median - self.usual)
