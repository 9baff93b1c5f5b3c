"""`RunState`: what the parts of a simulated run share - its clock, its network, who there is, and
what is counted."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

import numpy as np

from openfl.core.contribution import PeerId
from openfl.group.reader import Reader, StrictReader
from openfl.network.base import Sealer
from openfl.simulation.agenda import Agenda
from openfl.simulation.courses import NodeMove
from openfl.simulation.links import Links
from openfl.simulation.member import SimulatedMember
from openfl.simulation.scenario import Scenario
from openfl.simulation.sealing import OnceReader, OnceSealer


class RunState:
    """Of one run of `scenario`. Everything random in it follows from the scenario's seed."""

    def __init__(self, scenario: Scenario, members: Sequence[SimulatedMember]) -> None:
        seed = scenario.run.seed
        self.scenario = scenario
        self.members = list(members)
        """The membership that each node has now, by index of the node."""
        self.moves: list[NodeMove] = []
        """Each change of group."""
        self.agenda = Agenda()
        self.rng = np.random.default_rng([seed, 3])
        self.links = Links(
            scenario.network, scenario.training.interval_seconds, np.random.default_rng([seed, 5])
        )
        self.began: float | None = None
        """When the clock of the records started; None: some first members have not begun."""
        self.deliveries = 0
        """Messages handed to a member: what a simulation's cost is measured by."""
        self.gossip_bytes = 0
        """Published payloads, one copy a receiver."""
        self.gossip_by_kind: Counter[str] = Counter()
        """The same by what they are: deltas, heartbeats, ...; cards are not among them."""
        self.published_by_kind: Counter[str] = Counter()
        """How many messages were published, by what they are."""
        self.refused: Counter[str] = Counter()
        """By name, without those of sessions that are still running."""
        self._reads_once = scenario.network.wire == "once"
        self.reader: Reader = OnceReader() if self._reads_once else StrictReader()
        self._opened: OrderedDict[bytes, tuple[bytes, PeerId, bytes]] = OrderedDict()
        self._by_peer = {member.peer_id: member for member in self.members}

    @property
    def now(self) -> float:
        """Virtual seconds since the first member started."""
        return self.agenda.now

    @property
    def time(self) -> float:
        """Virtual seconds since all first members had begun; 0 before."""
        return 0.0 if self.began is None else self.now - self.began

    @property
    def interval_number(self) -> int:
        """How many round intervals are over since all first members had begun."""
        return int(self.time / self.scenario.training.interval_seconds)

    def present(self) -> list[SimulatedMember]:
        """The nodes that are there, each by the membership it has."""
        return [member for member in self.members if member.alive]

    def member_of(self, peer: PeerId) -> SimulatedMember:
        """The membership that the node of that identity has now."""
        return self._by_peer[peer]

    def install(self, member: SimulatedMember, action: str, why: str) -> None:
        """From now on `member` is its node's one membership: the node has changed its group."""
        left, entered = self.members[member.index].charter.name, member.charter.name
        made = NodeMove(self.interval_number, member.index, left, entered, action, why)
        self.moves.append(made)
        self.members[member.index] = member
        self._by_peer[member.peer_id] = member

    def sealer_of(self, member: SimulatedMember) -> Sealer:
        """What the member signs with and opens envelopes with."""
        return OnceSealer(member.sealer, self._opened) if self._reads_once else member.sealer

    def refused_by_name(self) -> dict[str, int]:
        """What was refused or has failed so far, over all nodes."""
        total = Counter(self.refused)
        for member in self.members:
            if member.session is not None:
                total.update(member.session.faults)
        return dict(sorted(total.items()))
