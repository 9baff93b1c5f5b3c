"""How a message gets to everybody: ways to pass it on, over simulated meshes of any size.

N peers; each knows some others (`--connections`, or all in small groups) and has a mesh of 6 of
them, as GossipSub builds it. Each publishes one message of `--bytes` a round. A link takes 20 to
80 ms, and loses each frame with the probability `--loss`. Ways:

- mesh: GossipSub 1.1: everything is passed on to the mesh at once, ids to others each second;
- low: the same with a mesh of 3;
- announce: nothing is passed on at once but the author's own; ids are, and are asked for once;
- lazy: `openfl.network.lazy_push`.

With `--repair`, a peer that gets a later message of an author before an earlier one asks for that
on a stream, which loses nothing, as a member of a group does (of its other repair, by heartbeats,
nothing is here).

Simulated: frames take no processor here. Told are, over the rounds after the fifth: bytes received
by all / ((N - 1) x bytes published); frames received a peer and round; seconds until 50, 99 and
100 % of the pairs (message, peer) were served; the share that was not within ten seconds.

    python benchmarks/dissemination.py [--nodes 8,16,32,50,200,1000] [--loss 0] [--churn 0]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from openfl.network.lazy_push import LazyPush

MESH = 6
ID_BYTES = 46
FRAME_BYTES = 40
"""Yamux, Noise, TCP and IP headers, roughly."""
WARM_ROUNDS = 5


@dataclass
class Counts:
    """Of the rounds after the warm ones."""

    received: int = 0
    frames: int = 0
    delays: list[float] = field(default_factory=list)


class Peer:
    """One peer of the mesh. Ways differ in what they do in `passes_on` and `tick`."""

    def __init__(self, name: int, way: str, rng: random.Random) -> None:
        self.name = name
        self.way = way
        self.rng = rng
        self.connected: set[int] = set()
        self.mesh: set[int] = set()
        self.seen: dict[bytes, float] = {}
        self.asked: dict[bytes, float] = {}
        self.pending: dict[int, set[bytes]] = {}
        self.lazy = LazyPush(name, rng)


class World:
    """All peers, and the frames under way between them."""

    def __init__(self, options: argparse.Namespace, nodes: int, way: str, seed: int) -> None:
        self.options = options
        self.way = way
        self.rng = random.Random(seed)
        self.peers = [Peer(n, way, random.Random(seed * 100_003 + n)) for n in range(nodes)]
        self.agenda: list[tuple[float, int, tuple[object, ...]]] = []
        self.order = itertools.count()
        self.latency: dict[tuple[int, int], float] = {}
        self.counts = Counts()
        self.counting = False
        self.author: dict[bytes, int] = {}
        self.counted: dict[bytes, float] = {}
        degree = 3 if way == "low" else MESH
        for peer in self.peers:
            others = [p.name for p in self.peers if p is not peer]
            for other in self.rng.sample(others, min(options.connections, len(others))):
                peer.connected.add(other)
                self.peers[other].connected.add(peer.name)
        for peer in self.peers:
            self.fill_mesh(peer, degree)

    def fill_mesh(self, peer: Peer, degree: int) -> None:
        while len(peer.mesh) < degree:
            free = [
                other
                for other in peer.connected - peer.mesh
                if len(self.peers[other].mesh) < 2 * degree
            ]
            if not free:
                return
            other = self.rng.choice(sorted(free))
            peer.mesh.add(other)
            self.peers[other].mesh.add(peer.name)

    def at(self, when: float, *what: object) -> None:
        heapq.heappush(self.agenda, (when, next(self.order), what))

    def send(self, now: float, source: int, target: int, kind: str, ids: tuple[bytes, ...]) -> None:
        if kind != "answer" and self.rng.random() < self.options.loss:
            return
        link = (min(source, target), max(source, target))
        delay = self.latency.setdefault(link, self.rng.uniform(0.02, 0.08))
        self.at(now + delay, "frame", source, target, kind, ids)

    def run(self, rounds: int) -> None:
        for number in range(rounds):
            count = self.options.authors or len(self.peers)
            for peer in self.rng.sample(self.peers, min(count, len(self.peers))):
                self.at(number + self.rng.random(), "publish", peer.name, number)
        for peer in self.peers:
            self.at(self.rng.random(), "heartbeat", peer.name)
            self.at(self.rng.random() * 0.25, "tick", peer.name)
        end = rounds + 10.0
        while self.agenda and self.agenda[0][0] < end:
            now, _, what = heapq.heappop(self.agenda)
            getattr(self, f"on_{what[0]}")(now, *what[1:])

    def on_publish(self, now: float, name: int, number: int) -> None:
        peer = self.peers[name]
        if self.rng.random() < self.options.churn:
            # It restarts: connections go, and come back with another mesh.
            for other in sorted(peer.mesh):
                self.peers[other].mesh.discard(name)
            for other in peer.connected:
                self.peers[other].lazy.gone(name)
            peer.mesh.clear()
            peer.lazy = LazyPush(name, peer.rng)
            self.fill_mesh(peer, MESH)
        message = b"%08d/%08d" % (name, number)
        self.author[message] = name
        if number >= WARM_ROUNDS:
            self.counted[message] = now
        peer.seen[message] = now
        if self.way == "lazy":
            push = peer.lazy.publish(message, "t", peer.mesh, peer.connected, now)
            self.push(now, name, push, message)
        else:
            self.push(now, name, peer.mesh, message)

    def push(self, now: float, name: int, to: Iterable[object], message: bytes) -> None:
        for other in to:
            self.send(now, name, int(str(other)), "message", (message,))

    def on_frame(
        self, now: float, source: int, target: int, kind: str, ids: tuple[bytes, ...]
    ) -> None:
        peer = self.peers[target]
        counted = [m for m in ids if m in self.counted]
        if counted:
            size = ID_BYTES if kind in ("ihave", "iwant") else self.options.bytes
            self.counts.received += FRAME_BYTES + len(counted) * size
            self.counts.frames += 1
        if kind == "message":
            self.on_message(now, source, peer, ids[0])
        elif kind == "answer":
            self.take(now, peer, ids[0])
        elif kind == "ihave":
            for message in ids:
                seen = message in peer.seen
                if self.way == "lazy":
                    peer.lazy.announced(source, message, self.author[message], seen, now)
                elif not seen and now - peer.asked.get(message, -9.0) > 1.5:
                    peer.asked[message] = now
                    self.send(now, target, source, "iwant", (message,))
        else:
            wanted = peer.lazy.wanted(source, ids, now) if self.way == "lazy" else list(ids)
            for message in wanted:
                self.send(now, target, source, "message", (message,))

    def on_message(self, now: float, source: int, peer: Peer, message: bytes) -> None:
        author = self.author[message]
        if message in peer.seen:
            if self.way == "lazy":
                peer.lazy.arrived_again(message, author, source, now)
            return
        number = int(message[9:])
        before = b"%08d/%08d" % (author, number - 1)
        if self.options.repair and before in self.author and before not in peer.seen:
            pause = 0.5 * (0.5 + self.rng.random())
            self.at(now + pause, "repair", source, peer.name, before)
        self.take(now, peer, message)
        if self.way == "lazy":
            peer.lazy.arrived(message, source, now)
            push = peer.lazy.forward(message, author, source, "t", peer.mesh, peer.connected, now)
            self.push(now, peer.name, push, message)
        elif self.way == "announce":
            for other in peer.mesh - {source, author}:
                peer.pending.setdefault(other, set()).add(message)
        else:
            self.push(now, peer.name, peer.mesh - {source, author}, message)

    def take(self, now: float, peer: Peer, message: bytes) -> None:
        if message not in peer.seen and message in self.counted:
            self.counts.delays.append(now - self.counted[message])
        peer.seen[message] = now

    def on_repair(self, now: float, source: int, name: int, message: bytes) -> None:
        if message not in self.peers[name].seen and message in self.peers[source].seen:
            self.send(now + 0.1, source, name, "answer", (message,))

    def on_tick(self, now: float, name: int) -> None:
        peer = self.peers[name]
        if self.way == "lazy":
            due = peer.lazy.due(now)
            for other, topics in due.announce.items():
                ids = tuple(itertools.chain(*topics.values()))
                self.send(now, name, int(str(other)), "ihave", ids)
            for other, asked in due.ask.items():
                self.send(now, name, int(str(other)), "iwant", tuple(asked))
            self.at(min(now + 0.25, max(now + 0.01, peer.lazy.next_wake)), "tick", name)
            return
        for other, waiting in peer.pending.items():
            self.send(now, name, other, "ihave", tuple(sorted(waiting)))
        peer.pending.clear()
        self.at(now + 0.25, "tick", name)

    def on_heartbeat(self, now: float, name: int) -> None:
        peer = self.peers[name]
        self.at(now + 1.0, "heartbeat", name)
        others = sorted(peer.connected - peer.mesh)
        if self.way == "lazy":
            peer.lazy.heartbeat("t", others, now)
            return
        recent = tuple(m for m, at in peer.seen.items() if at > now - 3.0)
        for other in self.rng.sample(others, min(6, len(others))):
            if recent:
                self.send(now, name, other, "ihave", recent)


def show(options: argparse.Namespace, nodes: int, way: str) -> None:
    lines = []
    for seed in range(options.repeats):
        rounds = options.rounds
        world = World(options, nodes, way, seed)
        world.run(rounds)
        counts, pairs = world.counts, len(world.counted) * (nodes - 1)
        published = len(world.counted) * options.bytes
        delays = np.sort(counts.delays)
        settled = nodes * (rounds - WARM_ROUNDS)
        lines.append(
            (
                counts.received / ((nodes - 1) * published),
                counts.frames / settled,
                float(np.quantile(delays, 0.5)),
                float(np.quantile(delays, 0.99)),
                float(delays[-1]),
                1 - len(delays) / pairs,
            )
        )
    a, f, half, most, last, never = np.median(np.array(lines), axis=0)
    print(
        f"{nodes:5d}  {way:9s} {a:6.2f} {f:9.0f} {half:7.2f} {most:7.2f} {last:7.2f}"
        f" {100 * never:8.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="8,16,32,50,200")
    parser.add_argument("--ways", default="mesh,low,announce,lazy")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--bytes", type=int, default=14_600)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--churn", type=float, default=0.0, help="part that restarts, a round")
    parser.add_argument("--authors", type=int, default=0, help="a round, others each; 0: all")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    print(f"loss {options.loss:g}, churn {options.churn:g}, medians of {options.repeats}")
    print("nodes  way       copies    frames    50 %    99 %     all  never %")
    for nodes in options.nodes.split(","):
        for way in options.ways.split(","):
            show(options, int(nodes), way)


if __name__ == "__main__":
    main()
