"""`LazyPush`: each message comes about once, and comes, whatever links break."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Hashable, Iterable

import pytest

from openfl.network import lazy_push
from openfl.network.lazy_push import LazyPush

TOPIC = "t"
MESH = ("a", "b", "c", "d")


def fresh() -> LazyPush:
    return LazyPush("me", random.Random(1))


def hear(one: LazyPush, number: int, now: float, sender: str = "a", author: str = "x") -> list:  # type: ignore[type-arg]
    """`sender` brings message `number` of `author`; whom it is pushed to."""
    return one.forward(b"%d" % number, author, sender, TOPIC, MESH, MESH, now)


def told(one: LazyPush, now: float) -> dict[Hashable, list[bytes]]:
    return {peer: topics[TOPIC] for peer, topics in one.due(now).announce.items()}


def test_an_author_sends_to_its_mesh_and_to_other_subscribers() -> None:
    one = fresh()
    subscribers = [f"peer {n}" for n in range(40)]
    chosen = one.publish(b"1", TOPIC, subscribers[:6], subscribers, 0.0)
    assert len(chosen) == lazy_push.PUSHED_BY_AUTHOR
    assert set(subscribers[:6]) <= set(chosen)
    assert one.publish(b"2", TOPIC, subscribers[:6], subscribers, 1.0) == chosen


def test_what_others_wrote_is_announced_but_not_to_those_that_have_it() -> None:
    one = fresh()
    assert hear(one, 1, 0.0) == []
    one.announced("b", b"1", "x", True, 0.1)
    assert told(one, lazy_push.URGENT_SECONDS) == {"c": [b"1"], "d": [b"1"]}
    assert one.next_wake == float("inf")


def test_who_asks_twice_in_a_row_is_sent_the_next_at_once() -> None:
    one = fresh()
    for number in range(1, 3):
        assert hear(one, number, float(number)) == []
        assert "b" in told(one, number + 0.3)
        assert one.wanted("b", [b"%d" % number], number + 0.4) == [b"%d" % number]
    assert hear(one, 3, 3.0) == ["b"]
    assert hear(one, 1, 4.0, author="y") == []  # of another author it asked for nothing


def test_a_child_that_has_it_from_elsewhere_is_a_child_no_more() -> None:
    one = fresh()
    for number in range(1, 3):
        hear(one, number, float(number))
        one.due(number + 0.3)
        one.wanted("b", [b"%d" % number], number + 0.4)
    assert hear(one, 3, 3.0) == ["b"]
    one.announced("b", b"3", "x", True, 3.1)
    assert hear(one, 4, 4.0) == []


def test_whoever_sends_what_is_here_is_told_so() -> None:
    one = fresh()
    hear(one, 1, 0.0)
    one.arrived_again(b"1", "x", "c", 0.1)
    assert told(one, 1.0)["c"] == [b"1"]


def test_when_the_author_was_second_the_first_is_told_not_the_author() -> None:
    one = fresh()
    hear(one, 1, 0.0, sender="a", author="b")
    one.arrived_again(b"1", "b", "b", 0.1)
    due = told(one, 1.0)
    assert due["a"] == [b"1"]
    assert "b" not in due


def test_what_nobody_wants_is_announced_ever_more_rarely_but_never_not_at_all() -> None:
    one = fresh()
    counts = []
    for begin in (0, 300):
        told_of = 0
        for number in range(begin, begin + 300):
            now = 20.0 * number
            hear(one, number, now)
            told_of += "b" in told(one, now + 2)
        counts.append(told_of)
    assert 300 / lazy_push.RAREST / 2 < counts[1] < 2 * 300 / lazy_push.RAREST
    one.announced("b", b"599", "y", False, 0.0)
    assert one.wanted("b", [b"599"], 11_980.0)
    hear(one, 600, 11_981.0)
    assert "b" in told(one, 11_981.0 + lazy_push.URGENT_SECONDS)  # it loses some


def test_what_comes_before_anybody_could_have_asked_is_announced_whole() -> None:
    one = fresh()
    first = [b"%d" % number for number in range(30)]
    for number in range(30):
        hear(one, number, 0.001 * number)
    assert told(one, 0.3)["b"] == first
    for number in range(30, 60):
        hear(one, number, 0.3 + 0.001 * number)
    assert len(told(one, 0.7)["b"]) == 30


def test_one_peer_is_asked_at_a_time_and_the_next_when_it_does_not_answer() -> None:
    one = fresh()
    for peer in ("a", "b", "c", "d"):
        one.announced(peer, b"1", "x", False, 0.0)
    assert one.due(0.0).ask == {"a": [b"1"]}
    assert one.due(0.5).ask == {}
    assert one.due(1.0).ask == {"b": [b"1"]}
    assert one.due(2.0).ask == {"c": [b"1"]}
    assert one.due(3.0).ask == {}
    assert one.next_wake == float("inf")  # the repair above has it now


def test_nobody_is_asked_for_what_arrived() -> None:
    one = fresh()
    one.announced("a", b"1", "x", False, 0.0)
    one.arrived(b"1", "a", 0.0)
    assert one.due(0.0).ask == {}


def test_an_author_that_sends_itself_is_waited_for() -> None:
    one = fresh()
    hear(one, 1, 0.0, sender="x", author="x")
    one.announced("a", b"2", "x", False, 1.0)
    assert one.due(1.0).ask == {}
    assert one.due(1.0 + lazy_push.DIRECT_PATIENCE_SECONDS).ask == {"a": [b"2"]}
    one.gone("x")
    one.announced("a", b"3", "x", False, 3.0)
    assert one.due(3.0).ask == {"a": [b"3"]}


def test_a_slow_author_is_waited_for_as_long_as_it_takes() -> None:
    one = fresh()
    hear(one, 0, 0.0, sender="x", author="x")
    for number in range(1, 30):
        now = 10.0 * number
        one.announced("a", b"%d" % number, "x", False, now)
        one.arrived(b"%d" % number, "x", now + 3.0)
        hear(one, number, now + 3.0, sender="x", author="x")
    one.announced("a", b"30", "x", False, 300.0)
    assert one.due(303.0).ask == {}
    assert one.due(300.0 + lazy_push.LONGEST_WAIT_SECONDS).ask == {"a": [b"30"]}


def test_a_peer_gets_few_copies_however_often_it_asks() -> None:
    one = fresh()
    hear(one, 1, 0.0)
    answers = [one.wanted("b", [b"1"] * 100, 0.1) for _ in range(10)]
    assert answers == [[b"1"]] * lazy_push.MAX_SENT + [[]] * (10 - lazy_push.MAX_SENT)


def test_what_strangers_make_up_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_push, "MAX_PULLS", 10)
    monkeypatch.setattr(lazy_push, "MAX_AUTHORS", 10)
    monkeypatch.setattr(lazy_push, "MAX_RECENT", 10)
    one = fresh()
    for number in range(100):
        one.announced("a", b"made up %d" % number, f"author {number}", False, 0.0)
        hear(one, number, 0.0, sender=f"author {number}", author=f"author {number}")
    assert len(one._pulls) == len(one._links) == len(one._direct) == len(one._recent) == 10


class Mesh:
    """`count` peers; each knows all in `connected[peer]`, its mesh are the first six of them."""

    def __init__(self, count: int, connections: int, seed: int, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.loss = loss
        self.peers = [LazyPush(n, random.Random(n + seed)) for n in range(count)]
        self.connected: list[set[int]] = [set() for _ in range(count)]
        for n in range(count):
            others = [other for other in range(count) if other != n]
            for other in self.rng.sample(others, min(connections, count - 1)):
                self.connected[n].add(other)
                self.connected[other].add(n)
        self.mesh = [set(sorted(known)[:6]) for known in self.connected]
        for n, mesh in enumerate(self.mesh):
            for other in mesh:
                self.mesh[other] |= {n}
        self.copies = 0
        self.held: dict[bytes, dict[int, float]] = {}
        self.agenda: list[tuple[float, int, int, int, str, bytes]] = []
        self.order = itertools.count()

    def send(self, now: float, source: int, target: int, kind: str, message: bytes) -> None:
        if self.rng.random() >= self.loss:
            entry = (now + 0.05, next(self.order), source, target, kind, message)
            heapq.heappush(self.agenda, entry)

    def push(self, now: float, source: int, to: Iterable[Hashable], message: bytes) -> None:
        for target in to:
            assert isinstance(target, int)
            self.send(now, source, target, "message", message)

    def publish(self, name: int, number: int, now: float) -> None:
        message = b"%d/%d" % (name, number)
        self.held[message] = {name: now}
        push = self.peers[name].publish(message, TOPIC, self.mesh[name], self.connected[name], now)
        self.push(now, name, push, message)

    def run(self, start: float, seconds: float) -> None:
        """Everything that happens until then, in steps of 10 ms."""
        for step in range(round(seconds * 100)):
            now = start + step / 100
            while self.agenda and self.agenda[0][0] <= now:
                _, _, source, target, kind, message = heapq.heappop(self.agenda)
                self.take(now, source, target, kind, message)
            for name, peer in enumerate(self.peers):
                if step % 100 == name % 100:
                    others = sorted(self.connected[name] - self.mesh[name])
                    peer.heartbeat(TOPIC, others, now)
                due = peer.due(now)
                for other, topics in due.announce.items():
                    for message in topics[TOPIC]:
                        self.send(now, name, int(str(other)), "ihave", message)
                for other, ids in due.ask.items():
                    for message in ids:
                        self.send(now, name, int(str(other)), "iwant", message)

    def take(self, now: float, source: int, target: int, kind: str, message: bytes) -> None:
        peer, author = self.peers[target], int(message.split(b"/")[0])
        here = target in self.held[message]
        if kind == "ihave":
            peer.announced(source, message, author, here, now)
        elif kind == "iwant":
            self.push(now, target, [source] * len(peer.wanted(source, [message], now)), message)
        else:
            self.copies += 1
            if here:
                peer.arrived_again(message, author, source, now)
                return
            self.held[message][target] = now
            mesh, known = self.mesh[target], self.connected[target]
            push = peer.forward(message, author, source, TOPIC, mesh, known, now)
            self.push(now, target, push, message)


@pytest.mark.parametrize(("count", "connections"), [(8, 7), (16, 15), (40, 8)])
def test_all_hear_all_about_once(count: int, connections: int) -> None:
    mesh = Mesh(count, connections, seed=count)
    for number in range(8):
        for name in range(count):
            mesh.publish(name, number, 3.0 * number)
        if number == 4:
            mesh.copies = 0
        mesh.run(3.0 * number, 3.0)
    assert all(len(held) == count for held in mesh.held.values())
    assert mesh.copies <= 1.15 * 4 * count * (count - 1)


def test_all_hear_again_after_links_broke() -> None:
    mesh = Mesh(40, 8, seed=5)
    for number in range(4):
        for name in range(40):
            mesh.publish(name, number, 3.0 * number)
        mesh.run(3.0 * number, 3.0)
    for name in range(0, 40, 2):  # every second peer loses half of its links
        for other in sorted(mesh.connected[name])[::2]:
            for one, gone in ((name, other), (other, name)):
                mesh.connected[one].discard(gone)
                mesh.mesh[one].discard(gone)
                mesh.peers[one].gone(gone)
    for number in range(4, 9):
        for name in range(40):
            mesh.publish(name, number, 3.0 * number)
        mesh.run(3.0 * number, 3.0)
    mesh.run(27.0, 6.0)
    late = [held for message, held in mesh.held.items() if message.endswith(b"/8")]
    assert sum(len(held) for held in late) >= 0.99 * 40 * 40


def test_most_of_what_is_lost_is_found_before_any_other_repair() -> None:
    mesh = Mesh(16, 15, seed=2, loss=0.2)
    for number in range(10):
        for name in range(16):
            mesh.publish(name, number, 2.0 * number)
        mesh.run(2.0 * number, 2.0)
    mesh.run(20.0, 5.0)
    pairs = [len(held) for message, held in mesh.held.items() if not message.endswith(b"/0")]
    assert sum(pairs) >= 0.98 * 16 * 16 * 9
