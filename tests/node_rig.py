"""Whole nodes in a simulated world on virtual time: the real `Node`, no sockets, disk or threads.

`Village` owns the world and its nodes; a test starts, crashes and stops them and waits for what it
expects, in virtual seconds. What it cannot show (sockets, processes, disk) has its own tests.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio
from trio.testing import MockClock

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter, GroupId, ModelView, PeerId
from openfl.core.errors import UserError
from openfl.core.telemetry import NodeEvent
from openfl.discovery.discovery import Discovery
from openfl.group.settings import SessionSettings
from openfl.learning.workload import Workload
from openfl.network.base import PeerAddress
from openfl.network.simulated.internet import SimulatedInternet
from openfl.network.simulated.link import LinkSettings
from openfl.network.simulated.network import SimulatedNetwork
from openfl.node import Node, assemble_node
from openfl.node.compute import InlineCompute
from openfl.node.fault_points import FaultPoints
from openfl.node.listeners import EventListeners
from openfl.node.parts import Environment, Links, SavedNode
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.settings import NodeSettings
from openfl.storage.base import KeptLabels, Standing
from openfl.storage.membership import SavedMembership
from openfl.switching.policy import SelectionSettings
from tests.group_rig import RigSealer, peer
from tests.situation import until_seen

STEP_COST_SECONDS = 0.05
UNIX_START = 1_750_000_000.0
AT_REST = SelectionSettings(enabled=False)
HURRIED = SessionSettings(interval_seconds=1.0, heartbeat_seconds=1.0)


class MemoryStorage:
    """A `NodeStorage` without a disk: what would be there after a crash right now."""

    def __init__(self) -> None:
        self.current: Charter | None = None
        self.standing = Standing()
        self.saved: dict[GroupId, SavedMembership] = {}
        self.peers: tuple[PeerAddress, ...] = ()

    async def save(self, saved: SavedMembership, model: ModelView) -> None:
        await trio.lowlevel.checkpoint()
        self.saved[saved.charter.group_id] = saved

    async def set_current(self, charter: Charter, standing: Standing | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self.current = charter
        self.standing = standing if standing is not None else self.standing

    async def tidy(self) -> None:
        await trio.lowlevel.checkpoint()

    async def forget(self, group_id: GroupId) -> None:
        await trio.lowlevel.checkpoint()
        self.saved.pop(group_id, None)
        if self.current is not None and self.current.group_id == group_id:
            self.current = None

    async def remember(self, peers: tuple[PeerAddress, ...]) -> None:
        await trio.lowlevel.checkpoint()
        self.peers = peers


@dataclass
class Villager:
    """One node and everything a test wants to know of it. `failed`: why it could not go on."""

    number: int
    peer_id: PeerId
    storage: MemoryStorage
    events: list[NodeEvent] = field(default_factory=list)
    failed: UserError | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)
    network: SimulatedNetwork = field(init=False)
    node: Node = field(init=False)

    @property
    def replica(self) -> Replica:
        return self.node._current_group.current.session.replica

    @property
    def group(self) -> tuple[GroupId, str]:
        snapshot = self.node.snapshot()
        return snapshot.group_id, snapshot.group_name

    @property
    def round(self) -> int:
        return self.node.snapshot().round

    @property
    def phase(self) -> str:
        return self.node.snapshot().phase

    def members(self) -> set[PeerId]:
        return {member.peer_id for member in self.node.snapshot().members}

    def teachers(self) -> set[PeerId]:
        """Whoever has an influence on this node's model."""
        return {state.peer_id for state in self.replica.members()}

    def times(self, kind: str) -> list[float]:
        return [event.time - UNIX_START for event in self.events if event.kind == kind]

    def topics(self) -> set[str]:
        """Groups this node is subscribed to."""
        return {topic for topic in self.network._topics if topic.endswith("/deltas")}


class Village:
    def __init__(self, world: SimulatedInternet, nursery: trio.Nursery, seed: int) -> None:
        self.world = world
        self.nodes: list[Villager] = []
        self._nursery = nursery
        self._seed = seed

    async def start(
        self,
        workload: Workload,
        *,
        bootstrap: tuple[Villager | PeerAddress, ...] | None = None,
        at: SimulatedNetwork | None = None,
        any_group: bool = False,
        bootstrap_seconds: float = 0.0,
        closed: bool = False,
        invitations: tuple[bytes, ...] = (),
        group: str = "music",
        settings: SessionSettings = HURRIED,
        number: int | None = None,
        alone_rounds: int = 0,
        resume: SavedMembership | None = None,
        remembered: tuple[PeerAddress, ...] = (),
        privacy: PrivacyBudget | None = None,
        selection: SelectionSettings = AT_REST,
        pin: bool | None = None,
        standing: Standing | None = None,
        faults: FaultPoints | None = None,
        tell_labels: bool = True,
        labels: KeptLabels | None = None,
    ) -> Villager:
        """A node that runs, or has failed to. `bootstrap`: whom it knows; default the first. `at`:
        its place in the network, from `reserve`."""
        number = len(self.nodes) if number is None else number
        known = bootstrap if bootstrap is not None else tuple(self.nodes[:1])
        villager = Villager(number, peer(number), MemoryStorage())
        self.nodes.append(villager)

        async def live(*, task_status: Any) -> None:
            running = False
            try:
                with villager.scope:
                    place = at if at is not None else self.world.network(villager.peer_id)
                    async with place as network:
                        villager.network = network
                        seed = f"{self._seed}/{len(self.nodes)}"
                        discovery = Discovery(
                            network,
                            bootstrap=[
                                other if isinstance(other, PeerAddress) else address_of(other)
                                for other in known
                            ],
                            remembered=remembered,
                            now=unix_time,
                            rng=random.Random(seed),
                        )
                        rng = np.random.default_rng(random.Random(seed).getrandbits(64))
                        villager.node = assemble_node(
                            Links(network, RigSealer(villager.peer_id), discovery),
                            workload,
                            SavedNode(villager.storage, resume, standing, labels),
                            NodeSettings(
                                group,
                                "",
                                settings,
                                alone_rounds,
                                closed=closed,
                                invitations=invitations,
                                selection=selection,
                                any_group=any_group,
                                pin=pin,
                                bootstrap_seconds=bootstrap_seconds,
                                tell_labels=tell_labels,
                            ),
                            EventListeners(villager.events.append),
                            Environment(
                                rng,
                                InlineCompute(STEP_COST_SECONDS),
                                unix_time,
                                faults if faults is not None else FaultPoints(),
                                measures_load=False,
                            ),
                            privacy,
                        )
                        async with trio.open_nursery() as nursery:
                            await nursery.start(villager.node.run)
                            running = True
                            task_status.started()
            except* UserError as mistakes:
                found: BaseException = mistakes
                while isinstance(found, BaseExceptionGroup):
                    (found,) = found.exceptions
                assert isinstance(found, UserError)
                villager.failed = found
                if not running:
                    task_status.started()
            finally:
                villager.gone.set()

        await self._nursery.start(live)
        return villager

    def reserve(self, number: int) -> tuple[SimulatedNetwork, PeerAddress]:
        """Where the node of that number will be once it is started there, and its address."""
        network = self.world.network(peer(number))
        return network, PeerAddress(network.peer_id, (network.address,))

    async def crash(self, villager: Villager) -> None:
        """Gone without a word, as by SIGKILL."""
        self.world.crash(villager.peer_id)
        villager.scope.cancel()
        await villager.gone.wait()

    async def stop(self, villager: Villager, *, leave: bool = False) -> None:
        """As when its owner asks it to."""
        villager.node.request_stop(leave=leave)
        await villager.node.finish()
        villager.scope.cancel()
        await villager.gone.wait()

    def living(self) -> list[Villager]:
        return [node for node in self.nodes if not node.gone.is_set()]

    def agree(self, *nodes: Villager) -> bool:
        """Whether these (or all living) hold the same model, to the bit."""
        return len({node.replica.digest() for node in nodes or self.living()}) == 1

    async def all_done(self, seconds: float = 120.0) -> None:
        """Every living node has done its rounds, and all hold the same model."""
        await until(lambda: all(node.phase == "done" for node in self.living()), seconds)
        await until(self.agree, seconds)
        await trio.sleep(5.0)  # the final model is evaluated
        assert self.agree()

    async def acquainted(self, seconds: float = 30.0) -> None:
        """Every living node of a group sees every other of it."""

        def so() -> bool:
            return all(
                one.members() == {n.peer_id for n in self.living() if n.group == one.group}
                for one in self.living()
            )

        await until(so, seconds)


@asynccontextmanager
async def village(seed: int = 1, links: LinkSettings | None = None) -> AsyncIterator[Village]:
    assert isinstance(trio.lowlevel.current_clock(), MockClock), "the test takes no autojump_clock"
    async with SimulatedInternet(seed, links) as world, trio.open_nursery() as nursery:
        yield Village(world, nursery, seed)
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait in virtual time; how long it took. Fails with the condition's name."""
    return await until_seen(condition, seconds=seconds, every=0.1)


def unix_time() -> float:
    return UNIX_START + trio.current_time()


def address_of(villager: Villager) -> PeerAddress:
    return PeerAddress(villager.peer_id, (villager.network.address,))
