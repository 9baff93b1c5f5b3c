"""Heartbeats of groups of many: few, small, and still enough to find what is missing."""

from __future__ import annotations

from collections import Counter

import numpy as np

from openfl.aggregation.quantize import quantize
from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.heartbeat import MAX_NAMED
from openfl.group.screening import AggregationSettings
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, TABLE, Member, Rig, RigSealer, contribution, peer, quick

MEAN = AggregationSettings(rule="mean")


class Group:
    """Members who learn, each at its own pace, and what of theirs was heard."""

    def __init__(self, count: int, **changes: object) -> None:
        self.rig = Rig(quick(aggregation=MEAN, **changes))
        self.heartbeats: list[wire.Heartbeat] = []
        self.heard: Counter[str] = Counter()
        self.rng = np.random.default_rng(3)
        self.loss = 0.0
        first = self.rig.add()
        for _ in range(count - 1):
            self.rig.add()
        self.rig.lost = self._lost
        for member in self.rig.members:
            self.rig.join(member)
        assert first is self.rig.members[0]

    def _lost(self, _: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        if receiver is self.rig.members[0]:
            self.heard[type(message).__name__] += 1
            if isinstance(message, wire.Heartbeat):
                self.heartbeats.append(message)
        return float(self.rng.random()) < self.loss

    def learn(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.rig.pass_time(0.05)
            for number, member in enumerate(self.rig.members):
                if member.wants_evaluation:
                    member.wants_evaluation.clear()
                    self.rig.give(member, ev.EvaluationFinished(None))
                if member.wants_training:
                    value = float(member.session.round + number / 64)
                    self.rig.train(member, contribution((number,), value))

    def forget(self) -> None:
        self.heartbeats.clear()
        self.heard.clear()


def test_in_a_small_group_everybody_speaks_as_ever() -> None:
    group = Group(4)
    group.learn(4)
    group.forget()
    group.learn(20)
    # Each once in the longest interval at least.
    assert group.heard["Heartbeat"] >= 3 * 20 / 4 / 1.5


def test_what_is_lost_is_found_though_few_speak() -> None:
    group = Group(12)
    group.learn(4)
    group.loss = 0.3
    group.learn(10)
    late = total = 0
    history: list[dict[PeerId, int]] = []
    for _ in range(100):
        group.learn(0.2)
        members = group.rig.members
        newest = {m.peer_id: m.session.replica.version_of(m.peer_id).seqno for m in members}
        history.append(newest)
        if len(history) <= 25:
            continue
        for author, seqno in history[-26].items():  # five seconds ago
            has = [m.session.replica.version_of(author).seqno for m in members]
            late, total = late + sum(one < seqno for one in has), total + len(has)
    assert late < 0.01 * total
    group.loss = 0.0
    group.learn(3)
    group.rig.pass_time(0.3)
    for member in group.rig.members:
        member.wants_training.clear()
    group.rig.pass_time(6)
    digests = {m.session.replica.digest() for m in group.rig.members}
    assert len(digests) == 1


def test_what_only_one_member_has_it_tells_though_others_speak_enough() -> None:
    group = Group(12)
    group.learn(4)
    author, holder = group.rig.members[0], group.rig.members[1]

    def only_to_holder(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        return sender is author and receiver is not holder

    group.rig.lost = only_to_holder
    for _ in range(60):
        group.learn(0.1)
        if author.session.replica.version_of(author.peer_id) == holder.session.replica.version_of(
            author.peer_id
        ):
            break
    # From here on the author is gone, and with it everybody else who could tell.
    author.online = False
    group.rig.connect()
    wanted = holder.session.replica.version_of(author.peer_id)
    group.learn(4)
    for member in group.rig.members[1:]:
        assert member.session.replica.version_of(author.peer_id) == wanted


# --- what a heartbeat names -------------------------------------------------------------------


def publish(rig: Rig, receiver: Member, number: int, seqno: int) -> PeerId:
    """The member hears a delta of somebody else."""
    sealer = RigSealer(peer(number))
    block = quantize(contribution((number,), 1.0).blocks[0], TABLE, np.random.default_rng(0))
    body = wire.encode_delta(wire.Delta(CHARTER.group_id, 1, seqno, 1, 10, None, (block,)))
    envelope = sealer.seal(wire.DELTA_TYPE, body)
    payload = wire.encode_gossip(wire.InlineDelta(envelope))
    rig.give(receiver, ev.GossipReceived(sealer.peer_id, sealer.peer_id, payload))
    return sealer.peer_id


def next_heartbeat(rig: Rig, member: Member) -> wire.Heartbeat:
    """The next one that the member publishes."""
    while True:
        rig.now = max(rig.now, member.session.next_wake)
        for effect in member.session.handle(ev.TimerFired(), rig.now):
            if isinstance(effect, ev.Publish):
                message = wire.decode_gossip(effect.payload)
                if isinstance(message, wire.Heartbeat):
                    return message


def knows(authors: int) -> tuple[Rig, Member]:
    rig = Rig(quick(auto_start=False))
    member = rig.add(number=0)
    rig.join(member)
    for number in range(1, authors + 1):
        publish(rig, member, number, 1)
    return rig, member


def test_of_few_members_a_heartbeat_names_every_one() -> None:
    rig, member = knows(MAX_NAMED)
    assert len(next_heartbeat(rig, member).versions) == MAX_NAMED


def test_of_many_members_it_names_those_whose_news_came_last_and_some_others() -> None:
    rig, member = knows(400)
    rig.now += 5
    latest = {publish(rig, member, number, 2) for number in (7, 250, 399)}
    message = next_heartbeat(rig, member)
    assert len(message.versions) == MAX_NAMED
    assert latest <= {version.author for version in message.versions}
    assert message.members == 400


def test_sooner_or_later_it_names_every_member() -> None:
    rig, member = knows(300)
    named: set[PeerId] = set()
    for _ in range(150):
        named |= {version.author for version in next_heartbeat(rig, member).versions}
    assert len(named) == 300


def test_that_somebody_left_is_said_however_many_there_are() -> None:
    rig, member = knows(300)
    gone = RigSealer(peer(5))
    envelope = gone.seal(wire.LEAVE_TYPE, wire.encode_leave(wire.Leave(CHARTER.group_id, 1)))
    payload = wire.encode_gossip(wire.LeaveNotice(envelope))
    rig.give(member, ev.GossipReceived(gone.peer_id, gone.peer_id, payload))
    counts_it = wire.Heartbeat(
        1, 1, 1, 10, None, 300, (wire.HeardVersion(gone.peer_id, 1, 1, 0),), bytes(16)
    )
    rig.give(member, ev.GossipReceived(peer(6), peer(6), wire.encode_gossip(counts_it)))
    said = {v.author: v.seqno for v in next_heartbeat(rig, member).versions}
    assert said[gone.peer_id] == wire.GONE


# --- in groups so large that members take turns at publishing -------------------------------------


def test_where_members_take_turns_they_also_speak_and_are_missed_more_rarely() -> None:
    few, many = quick(target_publishers=64), quick(target_publishers=64, assumed_members=1000)
    spoke, patience = {}, {}
    for name, settings in (("few", few), ("many", many)):
        rig = Rig(settings)
        member = rig.add()
        rig.join(member)
        end, count = rig.now + 320, 0
        while rig.now < end:
            next_heartbeat(rig, member)
            count += 1
        spoke[name] = count
        other = publish(rig, member, 9, 1)
        missed = rig.now
        while other in {m.peer_id for m in member.session.members(rig.now)}:
            rig.pass_time(1)
        patience[name] = rig.now - missed
    assert spoke["few"] > 10 * spoke["many"] > 0
    assert 10 < patience["few"] < 12
    assert 160 < patience["many"] < 162
