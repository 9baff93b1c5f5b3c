"""A group that was cut in two for longer than its members' time to live, and what comes after."""

from __future__ import annotations

import numpy as np

from openfl.aggregation.replica import Cursor
from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.fetcher import PAGE_SHRINKING
from openfl.network.base import Verdict
from openfl.wire import messages as wire
from tests.group_rig import Member, Rig, contribution, evaluation, quick, tight

MEMBERS = 6
TTL_SECONDS = 12.0
PROMISED_SECONDS = 15.0
HEARTBEATS_AFTER_SECONDS = 3.0


class Town(Rig):
    """Everybody publishes once a second. What comes from the other half is passed on by one's
    neighbours in turn, which do not have what came before it either."""

    def __init__(self) -> None:
        super().__init__(quick(limits=tight(member_ttl_seconds=TTL_SECONDS)))
        self._turn = 0
        self._rng = np.random.default_rng(0)

    def half(self, member: Member) -> list[Member]:
        middle = MEMBERS // 2
        return self.members[:middle] if member in self.members[:middle] else self.members[middle:]

    def gossip(self, sender: Member, payload: bytes, receiver: Member) -> ev.Judge:
        half = self.half(receiver)
        if sender in half:
            return super().gossip(sender, payload, receiver)
        self._turn += 1
        neighbours = [member for member in half if member is not receiver]
        relayed_by = neighbours[self._turn % len(neighbours)].peer_id
        effects = self.give(receiver, ev.GossipReceived(sender.peer_id, relayed_by, payload))
        assert isinstance(effects[0], ev.Judge)
        return effects[0]

    def live(self, seconds: float) -> None:
        """Time goes by and everybody learns."""
        end = self.now + seconds
        while self.now < end:
            self.pass_time(0.25)
            for member in self.members:
                while member.wants_evaluation:
                    member.wants_evaluation.pop()
                    self.give(member, ev.EvaluationFinished(evaluation(1.0)))
                if member.wants_training:
                    keys = tuple(sorted(self._rng.choice(50, 5, replace=False).tolist()))
                    self.train(member, contribution(keys, float(self._rng.random())))

    def cut(self) -> None:
        self.lost = lambda sender, receiver, _: sender not in self.half(receiver)
        for member in self.members:
            near = frozenset(m.peer_id for m in self.half(member) if m is not member)
            self.give(member, ev.MembersReachable(near))

    def heal(self) -> None:
        """First come deltas; heartbeats, which say who has what, are rarer and come later."""

        def still_lost(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
            return isinstance(message, wire.Heartbeat) and sender not in self.half(receiver)

        self.lost = still_lost
        self.connect()
        self.live(HEARTBEATS_AFTER_SECONDS)
        self.lost = lambda *_: False

    def missing(self, goal: dict[PeerId, int]) -> list[tuple[PeerId, PeerId]]:
        """(who, whose): in which member what was published until `goal` is not whole."""
        return [
            (member.peer_id, author)
            for member in self.members
            for author, seqno in goal.items()
            if member.session.replica.version_of(author).seqno < seqno
        ]


def test_what_came_too_late_is_asked_for_in_smaller_pages_and_then_in_larger_ones_again() -> None:
    """A large page takes a busy node long; if it comes too late, the work was for nothing."""
    rig = Rig()
    teacher = rig.add()
    rig.join(teacher)
    rig.train(teacher, contribution((1, 2, 3), 2.0))
    newcomer = rig.add()
    sizes = []
    nothing_whole = wire.encode_answer(
        wire.ItemsAnswer((), (), Cursor(teacher.peer_id, 1, 1), bytes(16))
    )

    def size_asked(effects: list[ev.Effect]) -> ev.Request:
        (request,) = [effect for effect in effects if isinstance(effect, ev.Request)]
        sizes.append(wire.decode_snapshot_request(request.payload).max_bytes)
        return request

    reached = ev.MembersReachable(frozenset({teacher.peer_id}))
    request = size_asked(newcomer.session.handle(reached, rig.now))
    failed = ev.RequestFailed(request.token, request.peer, "no answer")
    newcomer.session.handle(failed, rig.now)
    rig.now += 1.0
    request = size_asked(newcomer.session.handle(ev.TimerFired(), rig.now))
    page = ev.AnswerReceived(request.token, request.peer, nothing_whole)
    size_asked(newcomer.session.handle(page, rig.now))
    most = rig.settings.snapshot_page_bytes
    assert sizes == [most, most // PAGE_SHRINKING, 2 * most // PAGE_SHRINKING]


def test_after_a_partition_longer_than_their_time_to_live_members_are_whole_again_in_time() -> None:
    town = Town()
    for _ in range(MEMBERS):
        town.join(town.add())
    town.live(4.0)
    town.cut()
    town.live(2 * TTL_SECONDS)
    for member in town.members:
        assert member.session.replica.member_count == MEMBERS // 2  # the others expired
    goal = {
        member.peer_id: member.session.replica.version_of(member.peer_id).seqno
        for member in town.members
    }
    assert min(goal.values()) > TTL_SECONDS
    assert town.missing(goal)
    town.heal()
    town.live(PROMISED_SECONDS - HEARTBEATS_AFTER_SECONDS)
    assert town.missing(goal) == []
    assert all(verdict is not Verdict.REJECT for verdict, _ in town.verdicts)
