"""`SimulatedMember`: one node of a simulated run, and what hostile ones do instead of learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from openfl.aggregation.delta import Delta
from openfl.core.contribution import Charter, Contribution, GroupCard, GroupId, ModelView, PeerId
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.learning.task import LearningTask
from openfl.network.base import Sealer
from openfl.simulation.attacks import AttackInput, AttackKind, nan_blocks
from openfl.storage.membership import SavedMembership
from openfl.switching.seed import MembershipStart
from openfl.wire import messages as wire

FIRST_EPOCH = 1_000


LyingAnswer = Callable[[str, bytes, float], bytes | None]
"""(protocol, request, now) -> what is answered in place of the truth; None: the truth."""
LyingCard = Callable[[GroupCard], GroupCard]
"""What is told of the group in place of the truth."""


@dataclass
class Hostility:
    """What a member does in place of learning. colluders: what all attackers would honestly send,
    the latest of each. answer: its answers to requests; card: its cards (default: the truth)."""

    kind: AttackKind
    strength: float
    from_round: int
    colluders: dict[int, Contribution]
    rng: np.random.Generator
    answer: LyingAnswer = lambda protocol, request, now: None
    card: LyingCard = lambda card: card


@dataclass
class SimulatedMember:
    """`incarnation` grows whenever the session ends: events for an earlier one are void."""

    index: int
    sealer: Sealer
    task: LearningTask
    straggler: bool = False
    hostility: Hostility | None = None
    session: GroupSession | None = None
    alive: bool = False
    was_there: bool = False
    begun: bool = False
    incarnation: int = 0
    side: int = 0
    wake_at: float = float("inf")
    held: ev.Train | None = None
    reachable: frozenset[PeerId] = frozenset()
    saved: SavedMembership | None = None
    """What its next session finds on the disk."""
    begins_with: MembershipStart | None = None
    """What its session begins with, when it comes from another group."""
    seat: int | None = None
    """Its place in the ledger of its group, when groups have ledgers."""
    earlier_bytes: int = 0
    """Published in earlier incarnations."""
    earlier_merged: int = 0
    epochs: int = field(default=FIRST_EPOCH)

    @property
    def peer_id(self) -> PeerId:
        """As its sealer signs."""
        return self.sealer.peer_id

    @property
    def charter(self) -> Charter:
        """Of the group that it is, or will be, a member of."""
        return self.task.charter

    @property
    def place(self) -> tuple[GroupId, int]:
        """Members of one group on one side of a partition hear each other."""
        return self.task.charter.group_id, self.side

    @property
    def honest(self) -> bool:
        """Whether it is not one of the attackers."""
        return self.hostility is None

    @property
    def attacking(self) -> bool:
        """Whether the round it does now is one of its hostile ones."""
        if self.hostility is None or self.session is None:
            return False
        return self.session.round + 1 >= self.hostility.from_round

    @property
    def sends_nan(self) -> bool:
        """Whether it sends, beside nothing, what no honest encoder makes."""
        return self.hostility is not None and self.hostility.kind.sends_nan and self.attacking

    @property
    def published_bytes(self) -> int:
        """Of signed deltas, in all its sessions so far."""
        return self.earlier_bytes + (self.session.published_bytes if self.session else 0)

    @property
    def merged(self) -> int:
        """Deltas of others, in all its sessions so far."""
        return self.earlier_merged + (self.session.deltas_merged if self.session else 0)

    @property
    def running(self) -> GroupSession:
        """Its session. RuntimeError when it has none."""
        if self.session is None:
            raise RuntimeError(f"node {self.index} has no session")
        return self.session

    def lives(self, incarnation: int) -> bool:
        """Whether what was planned for that incarnation still counts."""
        return self.alive and self.incarnation == incarnation

    def step(self, view: ModelView, rng: np.random.Generator) -> Contribution:
        """One round's training, or what an attacker makes of it."""
        honest = self.task.local_step(view, rng)
        hostility = self.hostility
        if hostility is None:
            return honest
        hostility.colluders[self.index] = honest
        if not self.attacking:
            return honest
        rows = {block.table: view.rows(block.table, block.keys) for block in honest.blocks}
        colluders = [hostility.colluders[index] for index in sorted(hostility.colluders)]
        given = AttackInput(honest, rows, colluders, hostility.strength, hostility.rng)
        return hostility.kind.apply(given)

    def nan_message(self, work: Contribution) -> bytes:
        """What an honest encoder would refuse to make of a contribution, in a gossip message."""
        session = self.running
        schemas = {table.name: table for table in self.charter.tables}
        delta = Delta(
            group_id=self.charter.group_id,
            epoch=session.epoch,
            seqno=session.round + 1,
            round=session.round + 1,
            examples=self.task.train_examples,
            fit=None,
            blocks=nan_blocks(work, schemas),
        )
        envelope = self.sealer.seal(wire.DELTA_TYPE, wire.encode_delta(delta))
        return wire.encode_gossip(wire.InlineDelta(envelope))

    def end_session(self) -> None:
        """The session is over; what it published and merged stays counted."""
        if self.session is not None:
            self.earlier_bytes += self.session.published_bytes
            self.earlier_merged += self.session.deltas_merged
        self.session = None
        self.alive = False
        self.held = None
        self.wake_at = float("inf")
        self.incarnation += 1


def pick(
    members: Sequence[SimulatedMember],
    count: int,
    wanted: Callable[[SimulatedMember], bool],
    rng: np.random.Generator,
) -> list[SimulatedMember]:
    """Up to `count` of the members that `wanted` accepts, in order of index."""
    candidates = [member for member in members if wanted(member)]
    count = min(count, len(candidates))
    chosen = sorted(rng.choice(len(candidates), count, replace=False)) if count else []
    return [candidates[n] for n in chosen]
