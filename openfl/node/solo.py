"""`SoloTraining`: what a node would know without any group, to compare its group with."""

from __future__ import annotations

import numpy as np

from openfl.learning.central import SoloResult, train_alone
from openfl.learning.workload import Workload, charter_difference
from openfl.node.compute import Compute
from openfl.node.current_group import CurrentGroup
from openfl.node.membership import Membership


class SoloTraining:
    """The same task, the same data, nobody else. `max_rounds`: 0 leaves the comparison out."""

    def __init__(
        self,
        workload: Workload,
        compute: Compute,
        rng: np.random.Generator,
        current_group: CurrentGroup,
        max_rounds: int,
    ) -> None:
        self._workload = workload
        self._compute = compute
        self._rng = rng
        self._current_group = current_group
        self._max_rounds = max_rounds
        self._result: SoloResult | None = None

    @property
    def result(self) -> SoloResult | None:
        """None while it is not known for the group the node is in."""
        return self._result

    async def train(self, membership: Membership) -> None:
        """Find the result for the group of this membership, if that is another task."""
        if not self._max_rounds:
            return
        charter = membership.session.charter
        known = None if self._result is None else self._result.model.charter
        if known is not None and charter_difference(known, charter) is None:
            return  # the group's name makes no difference
        self._result = None
        task = self._workload.task(charter)
        rng = np.random.default_rng(int(self._rng.integers(1 << 63)))
        result = await self._compute.run(
            lambda: train_alone(task, rng, max_rounds=self._max_rounds)
        )
        if membership is self._current_group.membership:
            self._result = result
