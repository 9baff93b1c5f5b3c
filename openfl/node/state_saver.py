"""`StateSaver`: what a node keeps on disk while it runs: its membership, its standing, its peers.

Which group the node is in, how it stands with other groups and which leaves it owes change
together, in one write. A disk that fails is told of once; the node goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio

from openfl.core.contribution import Charter, GroupId, ModelView
from openfl.core.course import Course
from openfl.core.errors import StateError
from openfl.group.labels import Heard
from openfl.network.base import PeerAddress
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.storage.base import KeptCourse, KeptLabels, NodeStorage, OwedLeave, Standing
from openfl.storage.membership import SavedMembership

MAX_OWED = 8
"""Leaves kept to be said; more is a node that crashes at every move."""


class StateSaver:
    """`standing()`: how the node stands with other groups now, less the leaves it owes, which are
    kept here; `owed`: those from an earlier run."""

    def __init__(
        self,
        storage: NodeStorage,
        current_group: CurrentGroup,
        standing: Callable[[], Standing],
        owed: tuple[OwedLeave, ...],
        log: EventLog,
    ) -> None:
        self._storage = storage
        self._current_group = current_group
        self._standing = standing
        self._owed = {leave.group_id: leave for leave in owed[-MAX_OWED:]}
        self._log = log
        self._changing = trio.Lock()
        """Held while the current group and the standing change on disk."""
        self._failed = False
        self.apart = False
        """See `Standing.apart`."""

    # --- leaves that are owed ---------------------------------------------------------------------

    @property
    def owed(self) -> tuple[OwedLeave, ...]:
        """Leaves that may not have been heard yet."""
        return tuple(self._owed.values())

    def owes(self, leave: OwedLeave) -> bool:
        """Whether this very leave is still to be said."""
        return self._owed.get(leave.group_id) == leave

    def owe(self, leave: OwedLeave) -> None:
        """Keep this leave with the standing from now on."""
        self._owed[leave.group_id] = leave

    def settle(self, group_id: GroupId) -> None:
        """Nothing is owed to this group any more."""
        self._owed.pop(group_id, None)

    # --- the current group, and the standing ------------------------------------------------------

    async def save_standing(self, charter: Charter, **changes: Any) -> None:
        """Keep that the node is in this group, and how it stands, with `changes` to that.
        StateError."""
        async with self._changing:
            await self._write_standing(charter, **changes)

    async def save_standing_if_possible(self) -> None:
        """Keep where the node is and how it stands."""
        try:
            async with self._changing:
                await self._write_standing(self._current_group.charter)
        except StateError as error:
            self._tell_failed(error)

    async def _write_standing(self, charter: Charter, **changes: Any) -> None:
        standing = replace(self._standing(), owed=self.owed, apart=self.apart)
        await self._storage.set_current(charter, replace(standing, **changes))

    # --- the membership, and peers ----------------------------------------------------------------

    async def save(self, saved: SavedMembership, model: ModelView) -> None:
        """Keep the state of a membership, and the standing when it is the present one."""
        try:
            await self._storage.save(saved, model)
            async with self._changing:
                if self._current_group.is_in(saved.charter.group_id):
                    await self._write_standing(saved.charter)
        except StateError as error:
            self._tell_failed(error)
        else:
            if self._failed:
                self._log.tell("info", "saved-again", "state is being saved again")
            self._failed = False

    async def save_labels(self, kept: KeptLabels, heard: Heard) -> None:
        """Keep what others told of what items are called."""
        try:
            await kept.save(heard)
        except StateError as error:
            self._tell_failed(error)

    async def save_course(self, kept: KeptCourse, course: Course) -> None:
        """Keep the course of the node's life."""
        try:
            await kept.save(course.to_state())
        except StateError as error:
            self._tell_failed(error)

    async def tidy(self) -> None:
        """Remove what a run that ended in the middle of a move has left. StateError."""
        await self._storage.tidy()

    async def forget(self, group_id: GroupId) -> None:
        """Remove the membership in this group. StateError."""
        await self._storage.forget(group_id)

    async def write(self, saved: SavedMembership, model: ModelView) -> None:
        """Keep the state of a membership that the node is not in yet. StateError."""
        await self._storage.save(saved, model)

    async def remember(self, peers: tuple[PeerAddress, ...]) -> None:
        """Keep peers to try at the next start."""
        try:
            await self._storage.remember(peers)
        except StateError as error:
            self._tell_failed(error)

    def _tell_failed(self, error: StateError) -> None:
        """Said once, however often it happens."""
        if not self._failed:
            self._log.tell("error", "not-saved", f"{error}; trying again")
        self._failed = True
