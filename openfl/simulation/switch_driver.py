"""Looking at other groups and moving to one, driven by the simulator's agenda.

All that a node does on its way is what real nodes do, by the same state machines: it knows of
groups by signed cards on the directory topic (`openfl.switching.cards`), decides when to look and
what to do by `Chooser`, looks by `Look`, and moves by `Move`. Here is what these order: requests
over the simulated network, comparisons, the change of its membership.

How members are found is modelled, like the network. Nobody is connected to members of another
group, so none is ever at hand; a look-up tells all members of a group in any order, as the DHT
would, and whoever is not there does not answer the dial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, assert_never

import numpy as np

from openfl.core.contribution import Charter, GroupCard, GroupId, PeerId
from openfl.core.errors import GroupError
from openfl.group import events as session_events
from openfl.learning.alone import AloneByFolds
from openfl.learning.comparison import Comparison, compare_held_out
from openfl.learning.group_comparison import compare_groups
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.workload import charter_difference
from openfl.network.base import PeerAddress
from openfl.simulation.communities import purity
from openfl.simulation.engine import EVALUATION_SECONDS, START_SPREAD_SECONDS, Engine
from openfl.simulation.member import SimulatedMember
from openfl.simulation.population import Population
from openfl.simulation.records import RoundRecord
from openfl.simulation.sealing import OnceReader
from openfl.simulation.session_settings import selection_settings, session_settings
from openfl.simulation.simulated_requests import SimulatedRequest
from openfl.switching import events as ev
from openfl.switching.cards import GroupCards, session_card
from openfl.switching.chooser import Chooser, here_of, move_order
from openfl.switching.look import Look, LookMemory, LookSettings
from openfl.switching.move import Move
from openfl.switching.policy import Decision, LookOrder
from openfl.switching.probe import Probes, ProbeSettings
from openfl.switching.seed import MembershipStart

CARD_TIMER_SECONDS = 0.5
"""How often a node sees whether the time of its next card has been changed."""


class _Machine(Protocol):
    """A `Look`, or a `SnapshotFetch` by itself."""

    def start(self, now: float) -> Sequence[ev.LookEffect]: ...

    def handle(self, event: ev.LookEvent, now: float) -> Sequence[ev.LookEffect]: ...


@dataclass
class Spent:
    """What a node has done to choose its groups, restarts included. probe_bytes: of requests and
    answers; directory_heard: of cards."""

    probe_bytes: int = 0
    directory_heard: int = 0
    founded: int = 0


@dataclass(frozen=True)
class ChoosingNode:
    """What a node that runs knows of other groups: lost when it ends, but for its standing."""

    chooser: Chooser
    cards: GroupCards
    memory: LookMemory
    rng: np.random.Generator


@dataclass(frozen=True)
class _Running:
    """A machine that runs for a member; it is dropped when the member's session ends. ended: gets
    the machine's last effect."""

    member: SimulatedMember
    incarnation: int
    machine: _Machine
    ended: Callable[[ev.LookEffect], None]


@dataclass(frozen=True)
class _Moving:
    """A move of the node whose membership `old` is until now. decision: what it follows from."""

    move: Move[SimulatedMember]
    old: SimulatedMember
    decision: Decision


class SimulatedSwitching:
    """A `SwitchDriver` of the engine, for the nodes of a population."""

    def __init__(self, population: Population) -> None:
        self.nodes: list[ChoosingNode] = []
        """By index of the node."""
        self.spent: list[Spent] = []
        self._population = population
        self._alone_of: dict[int, AloneByFolds] = {}
        """What training alone is worth, by index of the node."""

    # --- what the engine tells --------------------------------------------------------------------

    def begin(self, engine: Engine) -> None:
        """Make what each node knows of other groups, and start its cards."""
        self._engine, self._state, self._scenario = engine, engine.state, engine.scenario
        self._plan, self._note = engine.state.agenda.plan, engine.state.agenda.note
        self._selection = selection_settings(engine.scenario)
        self._limits = session_settings(engine.scenario, len(engine.members), 1).limits
        self.spent = [Spent() for _ in engine.members]
        self.nodes = [self._new_node(member) for member in engine.members]
        for index in range(len(self.nodes)):
            at = float(self._state.rng.random()) * START_SPREAD_SECONDS
            self._plan(at, self._start_cards, index)

    def completed(self, record: RoundRecord) -> RoundRecord:
        """The record with purity, moves, and what cards and looks have cost."""
        honest = [m for m in self._state.present() if m.honest]
        groups = [m.charter.group_id for m in honest]
        return replace(
            record,
            purity=purity(groups, [self._population.community_of(m.index) for m in honest]),
            moves=len(self._state.moves),
            directory_bytes=float(np.mean([spent.directory_heard for spent in self.spent])),
            probe_bytes=float(np.mean([spent.probe_bytes for spent in self.spent])),
        )

    def ending(self, member: SimulatedMember) -> None:
        """The node is gone, with all it knew; it finds its standing when it comes back."""
        selector = self.nodes[member.index].chooser.selector
        restarted = self._new_node(member, selector.moves, selector.rounds, selector.rounds_here)
        self.nodes[member.index] = restarted
        restarted.cards.start(self._state.now)

    def round_done(self, member: SimulatedMember) -> None:
        """Perhaps it is time for the node to look around."""
        if not member.honest or member is not self._engine.members[member.index]:
            return
        node, session = self.nodes[member.index], member.running
        candidates = node.memory.candidates(member.charter.group_id, self._state.now)
        node.memory.acquaintances.judged(session.opinions())
        can_judge = session.fit is not None or isinstance(member.task, JudgesByOwn)
        order = node.chooser.round_done(here_of(session), candidates, session.fit, can_judge)
        if order is not None:
            at = node.chooser.next_look_at
            self._plan(at, self._look, member, member.incarnation, order)

    def _new_node(
        self, member: SimulatedMember, moves: int = 0, rounds: int = 0, rounds_here: int = 0
    ) -> ChoosingNode:
        index, sealer, state = member.index, self._state.sealer_of(member), self._state

        def rng(use: int) -> np.random.Generator:
            return np.random.default_rng([self._scenario.run.seed, use, index, member.incarnation])

        def own_card(now: float) -> GroupCard | None:
            return _card_of(self._engine.members[index], now)

        once = state.reader.card if isinstance(state.reader, OnceReader) else None
        cards = GroupCards(sealer, rng(11), own_card, read=once)
        settings = LookSettings()
        probe_settings = ProbeSettings(
            max_bytes=settings.bytes_per_group,
            max_kept=self._selection.max_candidates,
            limits=self._limits,
        )
        probes = Probes(sealer, probe_settings, state.reader)
        chooser = Chooser(
            self._selection, rng(10), moves=moves, rounds=rounds, rounds_here=rounds_here
        )
        problem = _once(self._population.workloads[index].problem)
        memory = LookMemory(member.peer_id, cards.directory, probes, problem, rng(15), settings)
        return ChoosingNode(chooser, cards, memory, rng(16))

    # --- cards ------------------------------------------------------------------------------------

    def _start_cards(self, index: int) -> None:
        cards = self.nodes[index].cards
        cards.start(self._state.now)
        self._plan(cards.next_wake, self._fire_cards, index)

    def _fire_cards(self, index: int) -> None:
        cards, member, now = self.nodes[index].cards, self._engine.members[index], self._state.now
        if now >= cards.next_wake and member.alive:
            payload = cards.fire(now)
            if payload is not None:
                self._publish_card(member, payload)
        # A reset of the timer counts from then on; nothing is lost by looking often.
        self._plan(max(cards.next_wake, now + CARD_TIMER_SECONDS), self._fire_cards, index)

    def _publish_card(self, sender: SimulatedMember, payload: bytes) -> None:
        self._note("card", sender.index, payload)
        receivers = [m for m in self._state.present() if m is not sender and m.side == sender.side]
        arrivals = self._state.links.published(self._state.now, len(payload), len(receivers)).first
        self._state.gossip_bytes += len(payload) * int(np.isfinite(arrivals).sum())
        for receiver, at in zip(receivers, arrivals.tolist(), strict=True):
            if at != float("inf"):
                self._plan(at, self._hear_card, receiver.index, sender.peer_id, payload)

    def _hear_card(self, index: int, author: PeerId, payload: bytes) -> None:
        if self._engine.members[index].alive:
            self.spent[index].directory_heard += len(payload)
            self.nodes[index].cards.heard(author, payload, self._state.now)

    # --- looking around ---------------------------------------------------------------------------

    def _look(self, member: SimulatedMember, incarnation: int, order: LookOrder) -> None:
        if not member.lives(incarnation):
            return
        self._note("look", member.index)
        node = self.nodes[member.index]
        look = Look(node.memory, node.chooser.standpoint(member.running, order), order)
        self._run(member, look, partial(self._decide, member, order))

    def _run(
        self, member: SimulatedMember, machine: _Machine, ended: Callable[[ev.LookEffect], None]
    ) -> None:
        running = _Running(member, member.incarnation, machine, ended)
        self._carry_out(running, machine.start(self._state.now))

    def _report(self, running: _Running, event: ev.LookEvent) -> None:
        if running.member.lives(running.incarnation):
            self._carry_out(running, running.machine.handle(event, self._state.now))

    def _carry_out(self, running: _Running, effects: Sequence[ev.LookEffect]) -> None:
        member, now = running.member, self._state.now
        for effect in effects:
            match effect:
                case ev.FindMembers():
                    self._find_members(running, effect)
                case ev.Connect():
                    self._connect(running, effect)
                case ev.RequestSnapshot():
                    self._request(running, effect)
                case ev.Penalize():
                    self._state.refused["penalized"] += 1
                case ev.Compare():
                    comparison = self._compare(member, effect)
                    event: ev.LookEvent = ev.Compared(effect.there.group_id, comparison)
                    self._plan(now + EVALUATION_SECONDS, self._report, running, event)
                case ev.CompareAlone():
                    event = ev.AloneCompared(self._compare_alone(member, effect))
                    self._plan(now + EVALUATION_SECONDS, self._report, running, event)
                case ev.CompareCircle():
                    task = member.task
                    event = ev.CircleCompared(compare_held_out(task, effect.others, effect.circle))
                    self._plan(now + EVALUATION_SECONDS, self._report, running, event)
                case _:
                    running.ended(effect)

    def _find_members(self, running: _Running, effect: ev.FindMembers) -> None:
        now, found, at = self._state.now, list[PeerAddress](), self._state.now
        if effect.source == "looked up":
            at = now + float(self._state.links.round_trips(1)[0])
            present = self._state.present()
            inside = [m.peer_id for m in present if m.charter.group_id == effect.group_id]
            order = self._state.rng.permutation(len(inside)).tolist()
            found = [PeerAddress(inside[place]) for place in order]
        if at > effect.deadline:
            at, found = effect.deadline, []
        self._plan(at, self._report, running, ev.MembersFound(effect.group_id, tuple(found)))

    def _connect(self, running: _Running, effect: ev.Connect) -> None:
        asked = self._state.member_of(effect.member.peer_id)
        at = self._state.now + float(self._state.links.round_trips(1)[0])
        there = asked.alive and asked.side == running.member.side and at <= effect.deadline
        event = ev.ConnectEnded(effect.group_id, there)
        self._plan(at if there else effect.deadline, self._report, running, event)

    def _request(self, running: _Running, effect: ev.RequestSnapshot) -> None:
        member = running.member
        self._note("probe", member.index, effect.payload)
        self.spent[member.index].probe_bytes += len(effect.payload)
        self._engine.requests.send(
            SimulatedRequest(member, effect.peer, effect.protocol, effect.payload),
            effect.deadline - self._state.now,
            partial(self._answered, running, effect),
        )

    def _answered(
        self, running: _Running, effect: ev.RequestSnapshot, answer: bytes | None
    ) -> None:
        if answer is None:
            self._report(running, ev.NotAnswered(effect.group_id, "no answer in time"))
        else:
            self.spent[running.member.index].probe_bytes += len(answer)
            self._report(running, ev.Answered(effect.group_id, answer))

    def _compare(self, member: SimulatedMember, effect: ev.Compare) -> Comparison | None:
        other = None
        if charter_difference(effect.here, effect.there) is not None:
            other = self._population.task(member.index, effect.there)
        alone = partial(self._alone, member, effect.here)
        return compare_groups(member.task, effect.others, effect.model, other, alone)

    def _compare_alone(self, member: SimulatedMember, effect: ev.CompareAlone) -> Comparison | None:
        found = self._alone(member, effect.here).gain_of(effect.others)
        return None if found is None else found.turned

    def _alone(self, member: SimulatedMember, charter: Charter) -> AloneByFolds:
        known = self._alone_of.get(member.index)
        if known is None or charter_difference(known.task.charter, charter) is not None:
            rng = np.random.default_rng([self._scenario.run.seed, 12, member.index])
            known = AloneByFolds(self._population.task(member.index, charter), rng)
            self._alone_of[member.index] = known
        return known

    # --- deciding and moving ----------------------------------------------------------------------

    def _decide(self, member: SimulatedMember, order: LookOrder, end: ev.LookEffect) -> None:
        if not isinstance(end, ev.LookResult):
            raise TypeError(f"a look ended in {type(end).__name__}")
        node, now = self.nodes[member.index], self._state.now
        decision = node.chooser.decide(here_of(member.running), order, end)
        if decision is None or decision.action == "stay":
            self._note("stay", member.index)
            node.chooser.over(now)
            return
        self._note(decision.action, member.index)
        try:
            ordered = move_order(
                decision,
                member.charter,
                node.cards.directory,
                self._population.found,
                node.rng.bytes,
                now,
            )
        except GroupError as error:
            self._not_moved(member, decision, str(error))
            return
        move = Move(ordered, member.charter.group_id, member, self._limits)
        self._perform(_Moving(move, member, decision), move.start())

    def _not_moved(self, member: SimulatedMember, decision: Decision, error: str) -> None:
        self._state.refused["move-failed"] += 1
        chooser = self.nodes[member.index].chooser
        chooser.not_done(decision, error)
        chooser.over(self._state.now)

    def _on_fetched(self, moving: _Moving, end: ev.LookEffect) -> None:
        if not isinstance(end, ev.Fetched | ev.NotFetched):
            raise TypeError(f"a fetch ended in {type(end).__name__}")
        self._perform(moving, moving.move.handle(end))

    def _perform(self, moving: _Moving, effects: Sequence[ev.MoveEffect[SimulatedMember]]) -> None:
        """There is no disk: what is written is written at once, and nothing is owed, for no node
        ends within a step."""
        index, engine, decision = moving.old.index, self._engine, moving.decision
        node = self.nodes[index]
        for effect in effects:
            match effect:
                case ev.Reached():
                    self._note(effect.point, index)
                case ev.FetchSeed():
                    fetch = node.memory.fetch(effect.charter)
                    self._run(moving.old, fetch, partial(self._on_fetched, moving))
                case ev.Open():
                    new = self._opened(moving.old, effect)
                    self._perform(moving, moving.move.handle(ev.Opened(new)))
                case ev.SaveMembership() | ev.Commit():
                    self._perform(moving, moving.move.handle(ev.Written()))
                case ev.Enter():
                    self._state.install(effect.membership, decision.action, decision.why)
                    node.chooser.arrived(effect.order)
                case ev.TakePart():
                    engine.start(effect.membership)
                case ev.Leave():
                    engine.handle(effect.membership, session_events.LeaveRequested())
                case ev.End():
                    engine.end(effect.membership)
                case ev.Forget():
                    node.cards.forget_group(effect.group_id)
                case ev.Moved():
                    self._moved(moving, effect)
                case ev.NotMoved():
                    self._not_moved(moving.old, moving.decision, str(effect.error))
                case ev.OweLeave() | ev.SettleLeave() | ev.SaveStanding():
                    pass
                case _:
                    assert_never(effect)

    def _opened(self, old: SimulatedMember, effect: ev.Open) -> SimulatedMember:
        """The membership that takes the place of `old`; its session begins with the seed."""
        return SimulatedMember(
            old.index,
            old.sealer,
            self._population.task(old.index, effect.charter),
            straggler=old.straggler,
            hostility=old.hostility,
            begun=True,
            side=old.side,
            epochs=old.epochs,
            begins_with=MembershipStart.after(old.running, effect.seed, old.epochs + 1),
        )

    def _moved(self, moving: _Moving, moved: ev.Moved[SimulatedMember]) -> None:
        new, node = moved.membership, self.nodes[moving.old.index]
        new.earlier_bytes += moving.old.earlier_bytes
        new.earlier_merged += moving.old.earlier_merged
        self.spent[new.index].founded += moved.order.action == "found"
        node.cards.changed(self._state.now)
        node.chooser.over(self._state.now)


def _once(problem: Callable[[Charter], str | None]) -> Callable[[Charter], str | None]:
    """The same, worked out once for each group: it follows from the charter and the node's data."""
    known: dict[GroupId, str | None] = {}

    def of(charter: Charter) -> str | None:
        if charter.group_id not in known:
            known[charter.group_id] = problem(charter)
        return known[charter.group_id]

    return of


def _card_of(member: SimulatedMember, now: float) -> GroupCard | None:
    """What the member tells of its group; a hostile one what it likes."""
    card = None if member.session is None else session_card(member.session, now, now)
    return card if card is None or member.hostility is None else member.hostility.card(card)
