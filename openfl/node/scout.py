"""`Scout`: fetches other groups' models over the network and judges them on this node's own data.

Nothing is joined and nothing is published. A look is bounded in every direction: groups at once,
sources tried, seconds, bytes of one group, and bytes a minute over all, so that a node that looks
around is no nuisance to those it looks at. Comparisons run where they hold up no round of training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trio

from openfl.core.contribution import Charter, GroupId, ModelView, PeerId
from openfl.core.errors import (
    DecodeError,
    InvalidContribution,
    InvalidSignature,
    RemoteError,
    RequestFailed,
)
from openfl.discovery.discovery import Discovery
from openfl.learning.comparison import Comparison, compare
from openfl.learning.task import LearningTask
from openfl.learning.workload import Workload, charter_difference
from openfl.network.base import Network, PeerAddress
from openfl.node.compute import Compute
from openfl.switching.directory import Directory
from openfl.switching.policy import Candidate, Finding
from openfl.switching.probe import Probe, Probes
from openfl.wire import messages as wire

log = logging.getLogger(__name__)

LOOK_SECONDS = 8.0
"""For one group: whoever is slower is looked at next time."""
CONNECT_SECONDS = 3.0
LOOK_UP_SECONDS = 4.0
MAX_AT_ONCE = 3
RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 160.0
"""A group of which nobody answered is not looked at again for so long, doubling each time."""
FIRST_LOOK_SECONDS = 10.0
"""Until a new node begins somewhere, whoever has not answered."""
FIRST_LOOK_MORE_SECONDS = 2.0
"""How long others are waited for once one group's contributions have come."""
FIRST_LOOK_GROUPS = 8
MAX_SOURCES = 4
"""Members asked for one group's snapshot before it is given up."""


@dataclass(frozen=True, slots=True)
class ScoutSettings:
    """bytes_per_group: by one look. bytes_per_minute: what all looks together may fetch, and what
    is saved up at most."""

    bytes_per_group: int = 8 << 20
    bytes_per_minute: float = 16 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a member serves of its group now; or `probe` None and why there is nothing."""

    probe: Probe | None
    peer: PeerId | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A group of which a snapshot was fetched. members: whose signed contributions were in it, this
    node not counted; 0 when nobody there has learned anything yet."""

    charter: Charter
    members: int


class Scout:
    """See the module's text. `problem(charter)`: why this node cannot join such a group."""

    def __init__(
        self,
        network: Network,
        discovery: Discovery,
        directory: Directory,
        workload: Workload,
        compute: Compute,
        probes: Probes,
        problem: Callable[[Charter], str | None],
        rng: np.random.Generator,
        settings: ScoutSettings,
    ) -> None:
        self._network = network
        self._discovery = discovery
        self._directory = directory
        self._workload = workload
        self._compute = compute
        self._probes = probes
        self._problem = problem
        self._rng = rng
        self._settings = settings
        self._at_once = trio.CapacityLimiter(MAX_AT_ONCE)
        self._one_each: dict[GroupId, trio.Lock] = {}
        self._bytes_left = settings.bytes_per_minute
        self._bytes_counted_at = -float("inf")
        self._task: LearningTask | None = None
        self._unreached: dict[GroupId, tuple[int, float]] = {}
        """Group -> (failures in a row, when to try again)."""
        self.gave_nothing: dict[GroupId, str] = {}
        """Of the last look: group -> why there was nothing to judge."""

    def candidates(self, here: GroupId) -> tuple[Candidate, ...]:
        """Groups that this node could join, as their cards tell."""
        now = trio.current_time()
        known = [k.card for k in self._directory.listed(now)]
        ids = {card.charter.group_id for card in known}
        self._unreached = {g: failed for g, failed in self._unreached.items() if g in ids}
        return tuple(
            Candidate(
                card.charter.group_id,
                card.charter.name,
                card.members,
                self._directory.standing(card.charter.group_id),
            )
            for card in known
            if card.charter.group_id != here
            and now >= self._unreached.get(card.charter.group_id, (0, now))[1]
            and self._problem(card.charter) is None
        )

    async def look(
        self, here: Charter, model: ModelView, groups: Sequence[Candidate]
    ) -> list[Finding]:
        """What `groups` are worth to this node, against `model` of the group it is in. Groups that
        give nothing to judge are left out."""
        findings: list[Finding] = []

        async def look_at(candidate: Candidate, charter: Charter) -> None:
            async with self._at_once:
                finding = await self._look_at(here, model, candidate, charter)
            if finding is not None:
                findings.append(finding)

        self.gave_nothing = {}
        charters = {k.card.charter.group_id: k.card.charter for k in self._directory.all_cards()}
        async with trio.open_nursery() as nursery:
            for candidate in groups:
                charter = charters.get(candidate.group_id)
                if charter is None:
                    self.gave_nothing[candidate.group_id] = "it is not known any more"
                elif not self._may_fetch():
                    self.gave_nothing[candidate.group_id] = "enough was fetched for this minute"
                else:
                    nursery.start_soon(look_at, candidate, charter)
        # In the order of the candidates, whoever answered first.
        order = {candidate.group_id: place for place, candidate in enumerate(groups)}
        return sorted(findings, key=lambda f: order[f.candidate.group_id])

    async def serving(self, groups: Sequence[Candidate]) -> list[Served]:
        """What those of `groups` that answer serve, the one of most contributions first: for a node
        that is in no group yet. What cards claim decides at most whom to ask; half of those asked
        are drawn from all."""
        served: list[Served] = []
        charters = {k.card.charter.group_id: k.card.charter for k in self._directory.all_cards()}
        with trio.move_on_after(FIRST_LOOK_SECONDS) as patience:

            async def ask(charter: Charter) -> None:
                fetched = await self.fetch(charter)
                if fetched.probe is None:
                    return
                served.append(Served(charter, self._contributors(fetched.probe)))
                if served[-1].members:
                    soon = trio.current_time() + FIRST_LOOK_MORE_SECONDS
                    patience.deadline = min(patience.deadline, soon)

            async with trio.open_nursery() as nursery:
                for candidate in self._to_ask_first(groups):
                    nursery.start_soon(ask, charters[candidate.group_id])
        for one in served:
            self._probes.forget(one.charter.group_id)  # the membership fetches what is new itself
        return sorted(served, key=lambda s: (-s.members, s.charter.group_id))

    async def compare(
        self, here: Charter, current: ModelView, there: Charter, candidate: ModelView
    ) -> Comparison | None:
        """`candidate` against `current` on this node's held-out data; None when it has none."""
        task = self._task_of(here)
        other = task if charter_difference(here, there) is None else self._workload.task(there)
        return await self._compute.run(lambda: compare(task, current, candidate, other))

    async def fetch(self, charter: Charter) -> Fetched:
        """The group's snapshot from one of its members, with what earlier looks have brought."""
        group_id = charter.group_id
        lock = self._one_each.setdefault(group_id, trio.Lock())
        try:
            async with lock:
                fetched = Fetched(None, reason="no answer in time")
                with trio.move_on_after(LOOK_SECONDS):
                    fetched = await self._fetch(charter)
                return fetched
        finally:
            if not lock.locked():
                self._one_each.pop(group_id, None)

    def joined(self, group_id: GroupId) -> None:
        """What was fetched of this group is in use as its replica: a probe must not touch it."""
        self._probes.forget(group_id)

    # --- inside -----------------------------------------------------------------------------------

    async def _look_at(
        self, here: Charter, model: ModelView, candidate: Candidate, charter: Charter
    ) -> Finding | None:
        fetched = await self.fetch(charter)
        if fetched.probe is None:
            failures = self._unreached.get(charter.group_id, (0, 0.0))[0] + 1
            pause = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0 ** (failures - 1))
            self._unreached[charter.group_id] = (failures, trio.current_time() + pause)
            log.debug("no look at group %s: %s", charter.name, fetched.reason)
            self.gave_nothing[charter.group_id] = fetched.reason
            return None
        self._unreached.pop(charter.group_id, None)
        me = self._network.peer_id
        members = self._contributors(fetched.probe)
        if not members:
            self.gave_nothing[charter.group_id] = "nobody else has taught it anything"
            return None
        comparison = await self.compare(here, model, charter, fetched.probe.view(without=(me,)))
        if comparison is None:
            self.gave_nothing[charter.group_id] = "this node holds nothing back to compare by"
            return None
        return Finding(candidate, members, comparison)

    def _contributors(self, probe: Probe) -> int:
        me = self._network.peer_id
        return sum(state.peer_id != me for state in probe.replica.members())

    def _to_ask_first(self, groups: Sequence[Candidate]) -> list[Candidate]:
        order = sorted(groups, key=lambda c: (-c.standing, -c.members, c.group_id))
        best, rest = order[: FIRST_LOOK_GROUPS // 2], order[FIRST_LOOK_GROUPS // 2 :]
        drawn = self._rng.permutation(len(rest))[: FIRST_LOOK_GROUPS - len(best)]
        return [*best, *(rest[place] for place in drawn.tolist())]

    async def _fetch(self, charter: Charter) -> Fetched:
        reason, tried = "no member is known", 0
        probe = self._probes.of(charter)
        seen = {self._network.peer_id}
        for sources in (self._members_at_hand, self._looked_up, self._issuers):
            for address in await sources(charter.group_id):
                if address.peer_id in seen or tried >= MAX_SOURCES:
                    continue
                if not await self._connected(address):
                    # Perhaps only its address was unknown: the next source may tell it.
                    reason = "no member can be reached"
                    continue
                seen.add(address.peer_id)
                tried += 1
                problem = await self._fetch_from(address.peer_id, probe)
                if problem is None:
                    authors = [state.peer_id for state in probe.replica.members()]
                    self._directory.fetched(charter.group_id, authors)
                    return Fetched(probe, address.peer_id)
                reason = problem
        return Fetched(None, reason=reason)

    async def _fetch_from(self, peer: PeerId, probe: Probe) -> str | None:
        """Why it failed; None when the probe has all that `peer` serves."""
        probe.begin(trio.current_time())
        try:
            done = False
            while not done:
                with trio.fail_after(self._probes.settings.request_timeout_seconds):
                    payload = await self._network.request(
                        peer, wire.SNAPSHOT_PROTOCOL, probe.request(), wire.LIMITS.max_answer_bytes
                    )
                done = probe.answer(payload, trio.current_time())
        except trio.TooSlowError:
            return "no answer in time"
        except (DecodeError, InvalidContribution, InvalidSignature) as error:
            self._network.penalize(peer, str(error))
            return str(error)
        except RemoteError as error:
            return str(error)
        finally:
            self._bytes_left -= probe.fetched_bytes
        return None

    async def _members_at_hand(self, group_id: GroupId) -> list[PeerAddress]:
        """Connected peers that subscribe to the group's topic or signed its cards, in any order."""
        await trio.lowlevel.checkpoint()
        issuers = {a.peer_id for a in await self._issuers(group_id)}
        connected = self._discovery.members(None)
        members = sorted(self._discovery.members(group_id) | (issuers & connected))
        return [PeerAddress(members[place]) for place in self._rng.permutation(len(members))]

    async def _issuers(self, group_id: GroupId) -> list[PeerAddress]:
        """Who signed the group's cards, latest first. Last of all, for where they are may not be
        known, and finding that out takes long."""
        await trio.lowlevel.checkpoint()
        cards = [k for k in self._directory.all_cards() if k.card.charter.group_id == group_id]
        return [PeerAddress(k.card.issuer) for k in sorted(cards, key=lambda k: -k.issued)]

    async def _looked_up(self, group_id: GroupId) -> list[PeerAddress]:
        """Whom the DHT and connected peers name."""
        with trio.move_on_after(LOOK_UP_SECONDS):
            return list(await self._discovery.find_members(group_id))
        return []

    async def _connected(self, address: PeerAddress) -> bool:
        with trio.move_on_after(CONNECT_SECONDS):
            try:
                await self._network.connect(address)
            except RequestFailed:
                return False
            return True
        return False

    def _may_fetch(self) -> bool:
        now, most = trio.current_time(), self._settings.bytes_per_minute
        if np.isfinite(self._bytes_counted_at):
            earned = (now - self._bytes_counted_at) * most / 60
            self._bytes_left = min(most, self._bytes_left + earned)
        self._bytes_counted_at = now
        return self._bytes_left > 0

    def _task_of(self, here: Charter) -> LearningTask:
        """One of this scout's own: that of the membership is busy with training."""
        if self._task is None or charter_difference(self._task.charter, here) is not None:
            self._task = self._workload.task(here)
        return self._task
