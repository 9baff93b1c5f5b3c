"""`NodeTasks`: what runs in the node's nursery, and who may start more there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from openfl.discovery.discovery import Discovery
from openfl.node.membership import Membership
from openfl.node.solo import SoloTraining

Task = Callable[[], Awaitable[None]]


class NodeTasks:
    """Runs memberships, the comparison with training alone, and the node's lasting tasks. Those
    are filled in by who puts the node together: `from_start`; `once_dialled`, when the peers that
    are known were tried; `as_member`, from the first membership on."""

    def __init__(self, discovery: Discovery, solo: SoloTraining) -> None:
        self.from_start: Sequence[Task] = ()
        self.once_dialled: Sequence[Task] = ()
        self.as_member: Sequence[Task] = ()
        self._discovery = discovery
        self._solo = solo
        self._nursery: trio.Nursery | None = None

    def open(self, nursery: trio.Nursery) -> None:
        """From now on tasks are started in this nursery."""
        self._nursery = nursery

    def start(self, tasks: Sequence[Task]) -> None:
        """Start all of these."""
        for task in tasks:
            self._running.start_soon(task)

    async def take_part(self, membership: Membership) -> None:
        """Run a membership; return once it is subscribed."""
        await self._running.start(membership.run, self._discovery.run)

    def compare(self, membership: Membership) -> None:
        """Train alone on the task of this membership, beside everything else."""
        self._running.start_soon(self._solo.train, membership)

    @property
    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("the node does not run yet")
        return self._nursery
