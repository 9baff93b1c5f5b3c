"""How fast a newcomer gets the model of a large group: two processes on 127.0.0.1.

    python benchmarks/snapshot_throughput.py [--members 2] [--page-kb 512] [--repeats 3]

One process holds what `--members` members published of a model of 11.2 million numbers, and answers
as a member does. The other one fetches page by page, as a member that joins does: every envelope is
verified, decoded and merged. Prints the megabytes of envelopes a second, the median of all repeats;
and beside it what the same connection carries in answers of a page's size that nobody looks at.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import trio
from large_models import Clock, MadeUp, Member

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.answering import Answering
from openfl.group.checks import Checks, PeerRates
from openfl.group.delta_receiver import DeltaReceiver
from openfl.group.fetcher import Fetcher, SnapshotEnd
from openfl.group.identity_watch import IdentityWatch
from openfl.group.missing_deltas import MissingDeltas
from openfl.group.publisher import Publisher
from openfl.group.reader import StrictReader
from openfl.group.roster import Roster
from openfl.group.settings import SessionSettings
from openfl.network.base import PeerAddress
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings
from openfl.wire import messages as wire

RAW = "/openfl/raw-benchmark/1"
LIMITS = ReplicaLimits(max_bytes=1 << 40)


def ignore(_: Any) -> None:
    """Nothing is counted here."""


def network_of(identity: Any) -> Libp2pNetwork:
    return Libp2pNetwork(
        Libp2pSettings(
            identity=identity, start_seqno=time.time_ns(), listen=("/ip4/127.0.0.1/tcp/0",)
        )
    )


def serve(pipe: Connection, members: int, page_bytes: int) -> None:
    made = MadeUp("float16")
    rng = np.random.default_rng(0)
    replica = Replica(made.charter, LIMITS)
    clock = Clock()
    clock.next_round()
    for _ in range(members):
        Member(1.0).publish(replica, made.step(replica.view(), rng, clock), rng, clock)

    async def run() -> None:
        for member in replica.members():
            replica.heard(member.peer_id, trio.current_time())
        identity = generate_identity()
        admission = Admission(made.charter, Libp2pSealer(identity), time.time)
        rates = PeerRates(SessionSettings(messages_per_second=1e6))
        answering = Answering(replica, admission, rates, ignore)

        async def answer(peer: PeerId, payload: bytes) -> bytes:
            event = ev.RequestReceived(peer, wire.SNAPSHOT_PROTOCOL, payload)
            return answering.answer(event, trio.current_time()).payload

        async def raw(peer: PeerId, payload: bytes) -> bytes:
            return bytes(page_bytes)

        async with network_of(identity) as network:
            network.set_handler(wire.SNAPSHOT_PROTOCOL, answer, wire.LIMITS.max_request_bytes)
            network.set_handler(RAW, raw, 100)
            pipe.send((network.peer_id, network.multiaddrs, replica.digest()))
            await trio.to_thread.run_sync(pipe.recv)

    trio.run(run)


async def fetch(network: Libp2pNetwork, peer: PeerId, identity: Any, page: int) -> bytes:
    """The digest of the replica that a snapshot makes."""
    charter = MadeUp("float16").charter
    sealer = Libp2pSealer(identity)
    replica = Replica(charter, LIMITS)
    settings = SessionSettings(snapshot_page_bytes=page)
    rng = np.random.default_rng(0)
    missing = MissingDeltas(rng)
    admission = Admission(charter, sealer, time.time)
    publisher = Publisher(replica, sealer, RowSelector(), rng, 1, 0, 65_536)
    receiver = DeltaReceiver(
        replica,
        Roster(30.0, 100),
        missing,
        Checks(sealer, StrictReader(), admission),
        IdentityWatch(sealer.peer_id, publisher),
        ignore,
        ignore,
    )
    fetcher = Fetcher(replica, receiver, missing, settings, ignore, admission)
    request: ev.Request | None = fetcher.snapshot(peer, trio.current_time())
    while request is not None:
        payload = await network.request(
            peer, request.protocol, request.payload, request.max_response_bytes
        )
        effects, end = fetcher.on_answer(request.token, payload, trio.current_time())
        if end is SnapshotEnd.FAILED:
            raise SystemExit("the snapshot failed")
        request = next((e for e in effects if isinstance(e, ev.Request)), None)
    return replica.digest()


async def measure(pipe: Connection, options: argparse.Namespace) -> None:
    peer, addresses, digest = await trio.to_thread.run_sync(pipe.recv)
    identity, page = generate_identity(), options.page_kb << 10
    async with network_of(identity) as network:
        dialled = tuple(address.partition("/p2p/")[0] for address in addresses)
        await network.connect(PeerAddress(peer, dialled))
        whole = options.members * 22.9
        snapshots, raws = [], []
        for _ in range(options.repeats):
            began = time.perf_counter()
            if await fetch(network, peer, identity, page) != digest:
                raise SystemExit("another replica came out")
            snapshots.append(whole / (time.perf_counter() - began))
            began = time.perf_counter()
            for _ in range(40):
                await network.request(peer, RAW, b"", 2 * page)
            raws.append(40 * page / 1e6 / (time.perf_counter() - began))
    for name, found in (("snapshot", snapshots), ("raw answers", raws)):
        shown = ", ".join(f"{rate:.1f}" for rate in found)
        print(f"{name:<12}{statistics.median(found):6.1f} MB a second ({shown})")
    pipe.send(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--page-kb", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    arguments = (there, options.members, options.page_kb << 10)
    server = context.Process(target=serve, args=arguments, daemon=True)
    server.start()
    try:
        trio.run(measure, here, options)
    finally:
        server.join(timeout=5)
        server.terminate()


if __name__ == "__main__":
    main()
