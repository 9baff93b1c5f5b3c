"""What a node asks of whatever keeps its state, and what is kept of its choice of groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from openfl.core.contribution import Charter, GroupId, ModelView
from openfl.core.course import Course
from openfl.group.labels import Heard
from openfl.network.base import PeerAddress
from openfl.storage.membership import SavedMembership


@dataclass(frozen=True, slots=True)
class OwedLeave:
    """A group that this node has left, and its signed word of it, until that is out."""

    group_id: GroupId
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What a node keeps of its choice of groups; see `openfl.switching.policy.Selector`. apart: it
    began by itself because nobody it was to join answered, and has not met them yet."""

    moves: int = 0
    rounds: int = 0
    rounds_here: int = 0
    pinned: bool = False
    owed: tuple[OwedLeave, ...] = ()
    apart: bool = False

    def at_start(self, *, resumed: bool, pin: bool | None) -> Standing:
        """As it is when a run begins. resumed: in the group it was in; pin: None leaves that."""
        return replace(
            self,
            rounds_here=self.rounds_here if resumed else 0,
            pinned=self.pinned if pin is None else pin,
        )


class KeptLabels(Protocol):
    """Keeps what others told of what items are called."""

    async def load(self, kind: str) -> Heard:
        """The labels that were kept of items of this kind, each checked again; none when there are
        none. StateError when the file cannot be read."""
        ...

    async def save(self, heard: Heard) -> None:
        """Keep these in the place of those. StateError when that fails."""
        ...


class KeptCourse(Protocol):
    """Keeps the course of a node's life."""

    async def load(self) -> Course:
        """The course that was kept; an empty one when there is none. StateError when the file
        cannot be read."""
        ...

    async def save(self, plain: dict[str, Any]) -> None:
        """Keep what `Course.to_state` made. StateError when that fails."""
        ...


class NodeStorage(Protocol):
    """What a node keeps. StateError when that fails; what was kept before stays."""

    async def save(self, saved: SavedMembership, model: ModelView) -> None:
        """Keep the state of a membership."""

    async def set_current(self, charter: Charter, standing: Standing | None = None) -> None:
        """From now on this is the one group the node is a member of. Both are kept in one write.
        `standing` None: as it was."""

    async def tidy(self) -> None:
        """Forget groups that the node is not in: at a start, what a crash left behind."""

    async def forget(self, group_id: GroupId) -> None:
        """The node left this group."""

    async def remember(self, peers: tuple[PeerAddress, ...]) -> None:
        """Peers to try at the next start."""
