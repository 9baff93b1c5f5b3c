"""What a node may expect of a move, from what it measured and from what is usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_ERROR = 1e-6
"""Nothing is surer than that."""


@dataclass(frozen=True, slots=True)
class GainPrior:
    """How true gains between groups are spread. Most of them closely around what their sizes
    explain: people differ, and yet one model serves them. Some of them widely: data of another
    kind. size_gain: by how much a group e times as large is usually better.

    How many are of another kind is what a node sees where it is: the part of the members judged
    that clearly do its data harm, added to `rare_part` of `rare_count` imagined ones. Of real
    people's ratings it is 0 to 2 %, of made-up communities in one group about a half.
    """

    usual_spread: float = 0.015
    rare_spread: float = 0.3
    rare_part: float = 0.01
    rare_count: float = 10.0
    size_gain: float = 0.02

    def other_kinds(self, harmful: int, judged: int) -> float:
        """The part of other groups that is of another kind."""
        return (self.rare_part * self.rare_count + harmful) / (self.rare_count + judged)

    def expected(
        self, gain: float, error: float, members: int, own_members: int, other_kinds: float
    ) -> float:
        """The mean of the true gain, given the measured one and its standard error, taken as
        normal: the posterior of a mixture of two normal distributions.

        members: of the other group; own_members: of the own one. other_kinds: see the method of
        that name.
        """
        usual = self.size_gain * math.log(max(members, 0.5) / max(own_members, 0.5))
        noise = max(error, MIN_ERROR) ** 2
        weights, means = [], []
        for part, spread in (
            (1 - other_kinds, self.usual_spread),
            (other_kinds, self.rare_spread),
        ):
            variance = spread**2 + noise
            unlikely = (gain - usual) ** 2 / variance + math.log(variance)
            weights.append(math.log(max(part, MIN_ERROR)) - unlikely / 2)
            means.append((spread**2 * gain + noise * usual) / variance)
        most = max(weights)
        shares = [math.exp(weight - most) for weight in weights]
        return sum(s * m for s, m in zip(shares, means, strict=True)) / sum(shares)
