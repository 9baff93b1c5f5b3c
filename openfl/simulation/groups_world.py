"""`GroupsWorld`: the driver of nodes that look at other groups, move, and found new ones.

Everything that a node does on its way is what real nodes do: it knows of groups by signed cards on
the directory topic (`openfl.switching.cards`), looks at them by snapshot requests to members of
theirs (`openfl.switching.probe`), decides by `openfl.switching.policy`, and moves by joining with a
snapshot before it leaves. Modelled is, beside the network, who finds whom: a node
that knows of a group can ask any member of it, as the DHT would tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from openfl.core.contribution import Charter, GroupCard, GroupId, ModelView, PeerId
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.learning.central import train_alone
from openfl.learning.comparison import Comparison, compare
from openfl.learning.task import LearningTask
from openfl.simulation.chooser import Chooser, LookUnderWay, whom_to_ask
from openfl.simulation.communities import purity
from openfl.simulation.engine import EVALUATION_SECONDS, START_SPREAD_SECONDS, Engine
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import RoundRecord
from openfl.simulation.scenario import Scenario
from openfl.simulation.session_settings import selection_settings
from openfl.simulation.simulated_requests import SimulatedRequest
from openfl.switching.cards import GroupCards, session_card
from openfl.switching.policy import Candidate, Finding, Selector
from openfl.switching.probe import Probes
from openfl.wire import messages as wire

PROBE_TIMEOUT_SECONDS = 5.0
JOIN_SECONDS = 20.0
"""A node that has no snapshot of the new group by then stays where it was."""
ALONE_ROUNDS = 30

TaskOf = Callable[[int, Charter], LearningTask]
"""(node, charter) -> its task in the group of that charter."""


class GroupsWorld:
    """A `SwitchDriver`. founded: the charter of a group of that name. tastes: the community of each
    node, by index; only purity is measured by it."""

    def __init__(
        self, founded: Callable[[str], Charter], task_of: TaskOf, tastes: Sequence[int]
    ) -> None:
        self.tastes = list(tastes)
        self._founded = founded
        self._task_of = task_of
        self._founders: set[int] = set()
        """Those of them that need no snapshot: there is nobody to give one."""
        self.choosers: list[Chooser] = []

    def begin(self, engine: Engine) -> None:
        """Make what each node knows of other groups, and start its cards."""
        self._engine, self._state, self._scenario = engine, engine.state, engine.scenario
        self._plan, self._note = engine.state.agenda.plan, engine.state.agenda.note
        self._names = len({member.charter.group_id for member in engine.members})
        self.choosers = [self._new_chooser(member) for member in engine.members]
        for chooser in self.choosers:
            at = float(self._state.rng.random()) * START_SPREAD_SECONDS
            self._plan(at, self._start_cards, chooser)

    def _new_chooser(self, member: SimulatedMember) -> Chooser:
        seed, index = self._scenario.run.seed, member.index
        sealer = self._state.sealer_of(member)
        return Chooser(
            index,
            Selector(selection_settings(self._scenario), np.random.default_rng([seed, 10, index])),
            Probes(sealer, reader=self._state.reader),
            GroupCards(
                sealer,
                np.random.default_rng([seed, 11, index]),
                lambda now: self._own_card(self._engine.members[index], now),
            ),
        )

    def _own_card(self, member: SimulatedMember, now: float) -> GroupCard | None:
        card = None if member.session is None else session_card(member.session, now, now)
        return card if card is None or member.hostility is None else member.hostility.card(card)

    # --- what the engine tells --------------------------------------------------------------------

    def completed(self, record: RoundRecord) -> RoundRecord:
        """The record with purity, moves, and what cards and looks have cost."""
        honest = [m for m in self._state.present() if m.honest]
        groups = [m.charter.group_id for m in honest]
        choosers = self.choosers
        return replace(
            record,
            purity=purity(groups, [self.tastes[m.index] for m in honest]),
            moves=len(self._state.moves),
            directory_bytes=float(np.mean([c.directory_heard for c in choosers])),
            probe_bytes=float(np.mean([c.probe_bytes for c in choosers])),
        )

    def ending(self, member: SimulatedMember) -> None:
        """Its look and its move are over."""
        arriving = self._state.arriving.pop(member.index, None)
        if arriving is not None and arriving is not member:
            self._engine.end(arriving)
        self._founders.discard(member.index)
        self.choosers[member.index].look = None

    # --- cards ------------------------------------------------------------------------------------

    def _start_cards(self, chooser: Chooser) -> None:
        chooser.cards.start(self._state.now)
        self._plan(chooser.cards.next_wake, self._fire_cards, chooser)

    def _fire_cards(self, chooser: Chooser) -> None:
        member = self._engine.members[chooser.index]
        if self._state.now >= chooser.cards.next_wake and member.alive:
            payload = chooser.cards.fire(self._state.now)
            if payload is not None:
                self._publish_card(member, payload)
        # A reset of the timer counts from then on; nothing is lost by looking often.
        self._plan(max(chooser.cards.next_wake, self._state.now + 0.5), self._fire_cards, chooser)

    def _publish_card(self, sender: SimulatedMember, payload: bytes) -> None:
        self._note("card", sender.index, payload)
        self.choosers[sender.index].directory_sent += len(payload)
        receivers = [m for m in self._state.present() if m is not sender and m.side == sender.side]
        arrivals = self._state.links.published(self._state.now, len(payload), len(receivers)).first
        self._state.gossip_bytes += len(payload) * int(np.isfinite(arrivals).sum())
        for receiver, at in zip(receivers, arrivals.tolist(), strict=True):
            if at != float("inf"):
                self._plan(at, self._hear_card, receiver.index, sender.peer_id, payload)

    def _hear_card(self, index: int, author: PeerId, payload: bytes) -> None:
        if self._engine.members[index].alive:
            chooser = self.choosers[index]
            chooser.directory_heard += len(payload)
            chooser.cards.heard(author, payload, self._state.now)

    # --- looking around ---------------------------------------------------------------------------

    def round_done(self, member: SimulatedMember) -> None:
        """Perhaps it is time for the node to look around."""
        chooser = self.choosers[member.index]
        busy = chooser.look is not None or member.index in self._state.arriving
        if busy or not member.honest or member is not self._engine.members[member.index]:
            return
        session = member.running
        known = chooser.candidates(self._state.now)
        look = chooser.selector.round_done(
            chooser.here(session),
            [candidate for candidate, _ in known.values()],
            session.validation,
        )
        if look is not None:
            self._note("look", member.index)
            chooser.look = LookUnderWay(look, deque(look.groups))
            self._probe_next(member, chooser.look)

    def _probe_next(self, member: SimulatedMember, look: LookUnderWay) -> None:
        """Look at the next group; decide when there is none left."""
        if not look.waiting:
            self._plan(
                self._state.now + EVALUATION_SECONDS * (1 + len(look.findings)),
                self._decide,
                member,
                member.incarnation,
                look,
            )
            return
        chooser = self.choosers[member.index]
        look.candidate = look.waiting.popleft()
        group_id = look.candidate.group_id
        known = chooser.candidates(self._state.now).get(group_id)
        if known is None:  # its cards have expired meanwhile
            look.unreached.append(group_id)
            self._probe_next(member, look)
            return
        look.probe = chooser.probes.of(known[1])
        look.probe.begin(self._state.now)
        inside = [m.peer_id for m in self._state.present() if m.charter.group_id == group_id]
        look.members = whom_to_ask(
            chooser.issuers(group_id), inside, member.peer_id, self._state.rng
        )
        self._ask_probe(member, look)

    def _ask_probe(self, member: SimulatedMember, look: LookUnderWay) -> None:
        """Ask the first of the members; the next one when there is no answer."""
        assert look.candidate is not None
        if not look.members:
            look.unreached.append(look.candidate.group_id)
            self._probe_next(member, look)
            return
        assert look.probe is not None
        payload = look.probe.request()
        self._note("probe", member.index, payload)
        self.choosers[member.index].probe_bytes += len(payload)
        self._engine.requests.send(
            SimulatedRequest(member, look.members[0], wire.SNAPSHOT_PROTOCOL, payload),
            PROBE_TIMEOUT_SECONDS,
            partial(self._probe_answered, member, member.incarnation, look),
        )

    def _probe_answered(
        self, member: SimulatedMember, incarnation: int, look: LookUnderWay, answer: bytes | None
    ) -> None:
        if not member.lives(incarnation):
            return
        assert look.probe is not None
        assert look.candidate is not None
        complete = False
        if answer is None:
            look.members.popleft()
        else:
            self.choosers[member.index].probe_bytes += len(answer)
            try:
                complete = look.probe.answer(answer, self._state.now)
            except RemoteError:
                look.members.popleft()
        if not complete:
            self._ask_probe(member, look)
            return
        found = self._judge(member, look)
        if found is None:
            look.unreached.append(look.candidate.group_id)
        else:
            look.findings.append(found)
        self._probe_next(member, look)

    def _judge(self, member: SimulatedMember, look: LookUnderWay) -> Finding | None:
        """The group just probed against the node's own, on the node's own held-out data."""
        assert look.probe is not None
        assert look.candidate is not None
        me = member.peer_id
        candidate = look.probe.view(without=(me,))
        comparison = compare(member.task, self._compared(member), candidate)
        if comparison is None:
            return None
        others = look.probe.replica.member_count - (me in look.probe.replica.version_vector())
        return Finding(look.candidate, others, comparison)

    def _compared(self, member: SimulatedMember) -> ModelView:
        return member.running.replica.view()

    # --- deciding and moving ----------------------------------------------------------------------

    def _decide(self, member: SimulatedMember, incarnation: int, look: LookUnderWay) -> None:
        chooser = self.choosers[member.index]
        if not member.lives(incarnation) or chooser.look is not look:
            return
        if look.look.alone:
            look.alone = self._alone(member)
        chooser.look = None
        here = chooser.here(member.running)
        decision = chooser.selector.decide(here, look.findings, look.alone, look.unreached)
        self._note(decision.action, member.index)
        if decision.action == "move" and decision.target is not None:
            self._set_out(member, self._charter_of(chooser, decision.target))
        elif decision.action == "found":
            self._names += 1
            charter = self._founded(group_name(self._scenario, self._names))
            self._set_out(member, charter, founder=True)

    def _charter_of(self, chooser: Chooser, target: Candidate) -> Charter | None:
        known = chooser.candidates(self._state.now).get(target.group_id)
        return None if known is None else known[1]

    def _alone(self, member: SimulatedMember) -> Comparison | None:
        """Training alone against the group."""
        rng = np.random.default_rng([self._scenario.run.seed, 12, member.index])
        alone = train_alone(member.task, rng, max_rounds=ALONE_ROUNDS)
        return compare(member.task, self._compared(member), alone.model)

    def _set_out(
        self, member: SimulatedMember, charter: Charter | None, founder: bool = False
    ) -> None:
        """Join the new group; the old one is left once that has worked."""
        if charter is None:
            return
        index = member.index
        new = SimulatedMember(
            index,
            member.sealer,
            self._task_of(index, charter),
            straggler=member.straggler,
            hostility=member.hostility,
            begun=True,
            side=member.side,
            epochs=member.epochs,
        )
        self._state.arriving[index] = new
        if founder:
            self._founders.add(index)
        self._engine.start(new)
        self._plan(self._state.now + JOIN_SECONDS, self._give_up, new, new.incarnation)

    def handled(self, member: SimulatedMember) -> None:
        """Perhaps the member has come to be in its new group."""
        if self._state.arriving.get(member.index) is member:
            session = member.session
            if session is not None and session.phase != "joining":
                if session.snapshot_from is not None or member.index in self._founders:
                    self._arrive(member)
                else:
                    self._give_up(member, member.incarnation)

    def _give_up(self, new: SimulatedMember, incarnation: int) -> None:
        """Nobody there gives a snapshot: stay in the old group."""
        if self._state.arriving.get(new.index) is not new or new.incarnation != incarnation:
            return
        self._note("gave up", new.index)
        self._state.refused["move-failed"] += 1
        del self._state.arriving[new.index]
        self._founders.discard(new.index)
        self._engine.end(new)

    def _arrive(self, new: SimulatedMember) -> None:
        """The new group is the node's one membership; the old group is told and left."""
        index = new.index
        old, chooser = self._engine.members[index], self.choosers[index]
        self._note("arrive", index)
        del self._state.arriving[index]
        self._engine.handle(old, ev.LeaveRequested())
        self._engine.end(old)
        new.earlier_bytes += old.earlier_bytes
        new.earlier_merged += old.earlier_merged
        self._state.install(new)
        if index in self._founders:
            self._founders.discard(index)
            chooser.founded += 1
        chooser.moves += 1
        chooser.selector.moved()
        chooser.probes.forget(new.charter.group_id)
        chooser.cards.forget_group(old.charter.group_id)
        chooser.cards.changed(self._state.now)
        self._engine.keep_time(new)

    def group_of(self, index: int) -> GroupId:
        """Where the node is."""
        return self._engine.members[index].charter.group_id


def group_name(scenario: Scenario, number: int) -> str:
    """The name of the group founded as the `number`th, from 1."""
    return f"{scenario.name[:56] or 'simulation'}-{number}"
