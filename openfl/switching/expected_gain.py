"""What a node may expect of a move, from what it measured and from what is usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_ERROR = 1e-6
"""Nothing is surer than that."""


@dataclass(frozen=True, slots=True)
class GainPrior:
    """How true gains between groups are spread. Most of them closely around what their sizes
    explain: people differ, and yet one model serves them. A part `rare_part` of them widely: data
    of other kinds. size_gain: by how much a group e times as large is usually better.
    """

    usual_spread: float = 0.03
    rare_spread: float = 0.3
    rare_part: float = 0.1
    size_gain: float = 0.02

    def expected(self, gain: float, error: float, members: int, others: int) -> float:
        """The mean of the true gain, given the measured one and its standard error, taken as
        normal: the posterior of a mixture of two normal distributions.

        members: of the other group; others: of the own one, this node not counted.
        """
        usual = self.size_gain * math.log(max(members, 0.5) / max(others, 0.5))
        noise = max(error, MIN_ERROR) ** 2
        weights, means = [], []
        for part, spread in (
            (1 - self.rare_part, self.usual_spread),
            (self.rare_part, self.rare_spread),
        ):
            variance = spread**2 + noise
            unlikely = (gain - usual) ** 2 / variance + math.log(variance)
            weights.append(math.log(max(part, MIN_ERROR)) - unlikely / 2)
            means.append((spread**2 * gain + noise * usual) / variance)
        most = max(weights)
        shares = [math.exp(weight - most) for weight in weights]
        return sum(s * m for s, m in zip(shares, means, strict=True)) / sum(shares)
