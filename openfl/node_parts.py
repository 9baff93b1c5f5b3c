"""What stands around a `Node`: its settings, what keeps its state, and small pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from openfl.contribution import Charter, Evaluation, GroupId, ModelView
from openfl.group.directory import KnownCard
from openfl.group.selection import Finding, SelectionSettings
from openfl.group.settings import SessionSettings
from openfl.membership_state import SavedMembership
from openfl.network.base import PeerAddress
from openfl.scout import ScoutSettings
from openfl.telemetry import GroupView


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node needs to know beside its parts. alone_rounds: 0 leaves the comparison out (and
    the node then never founds a group by itself). any_group: the owner named none, so a new node
    begins in the largest that fits. pin: whether the node is to stay in its group from now on;
    None leaves that as it was saved. closed: found a group for those invited only; invitations:
    envelopes of those this node has. bootstrap_seconds: the node gives up when no bootstrap node
    has answered by then; 0: it waits as long as it takes."""

    group_name: str
    home: str
    session: SessionSettings
    alone_rounds: int = 30
    closed: bool = False
    invitations: tuple[bytes, ...] = ()
    selection: SelectionSettings = field(default_factory=lambda: SelectionSettings(enabled=False))
    scout: ScoutSettings = field(default_factory=ScoutSettings)
    any_group: bool = False
    pin: bool | None = None
    bootstrap_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OwedLeave:
    """A group that this node has left, and its signed word of it, until that is out."""

    group_id: GroupId
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What a node keeps of its choice of groups; see `openfl.group.selection.Selector`. apart: it
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
