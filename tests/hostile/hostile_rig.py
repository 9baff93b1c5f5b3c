"""Real nodes, and what attackers need: any identity, any bytes, any behaviour.

The attacked nodes are `openfl-node` processes on loopback, so that their memory, open files and CPU
can be measured; the attackers live in the test. An attacker is our own network client with the
restraint taken off, or a bare socket.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed

from openfl.app.control_socket import call
from openfl.core.contribution import Charter, GroupCard, PeerId
from openfl.core.errors import RequestFailed
from openfl.network.base import GossipMessage, PeerAddress, Verdict
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity, key_pair_of
from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings, parse_peer_multiaddr
from openfl.wire import cbor
from openfl.wire import messages as wire
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes
from tests.situation import until, until_seen, within

GOSSIP = "/meshsub/1.1.0"
PLACES = 24
"""Of the attacked node: 18 for visitors, 12 for those of one address."""
MOST_ROWS = 20_000
"""That the attacked node keeps, of all members."""
MOST_MIB = 110.0
"""More than before an attack, while it goes on: 96 MiB of what was received and is not yet read."""
MOST_FILES = 60
"""The same: 18 visitors, 32 in their handshake, and a few for what the node does meanwhile."""
_numbers = itertools.count(time.time_ns())


@dataclass
class Victim:
    """A running node under attack."""

    node: RunningNode
    charters: list[Charter] = field(default_factory=list)
    counted: Mapping[str, int] = field(default_factory=dict)
    """Faults from before this attack."""

    @cached_property
    def address(self) -> PeerAddress:
        return parse_peer_multiaddr(self.node.address)

    @cached_property
    def port(self) -> int:
        return int(self.node.address.split("/")[4])

    @cached_property
    def id(self) -> ID:
        return ID.from_base58(self.address.peer_id)

    @cached_property
    def process(self) -> Any:
        return psutil.Process(self.node.process.pid)

    @property
    def topic(self) -> str:
        return wire.deltas_topic(self.charters[0].group_id)

    def status(self) -> dict[str, Any]:
        """What `openfl-node status` shows, faster."""
        found: dict[str, Any] = call(self.node.home, "snapshot", PATIENCE_SECONDS)
        return found

    def faults(self, name: str) -> int:
        """How often that was counted since this attack began. A name that ends in "-" stands for
        all that begin so."""
        found = self.status()["faults"]
        names = [n for n in found if n == name or (name.endswith("-") and n.startswith(name))]
        return sum(int(found[n]) - self.counted.get(n, 0) for n in names)

    def rss_mib(self) -> float:
        return float(self.process.memory_info().rss) / 2**20

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def is_asleep(self) -> bool:
        """Whether its main thread has nothing to do just now."""
        pid = self.node.process.pid
        stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"

    def comes_to_rest(self) -> None:
        """No attack has left it busy: it sleeps, time and again. How much of a processor it takes
        is measured by `benchmarks/attacks.py`."""
        for _ in range(20):
            until(self.is_asleep, "a moment of rest")
            time.sleep(0.02)

    def files(self) -> int:
        return int(self.process.num_fds())

    @contextlib.contextmanager
    def stays_bounded(self) -> Iterator[None]:
        """Memory and open files do not grow beyond the bounds, at any time within the block."""
        self.counted = self.status()["faults"]
        rss, files = self.rss_mib(), self.files()
        most_rss, most_files = rss, files
        ended = threading.Event()

        def watch() -> None:
            nonlocal most_rss, most_files
            while not ended.wait(0.1):
                with contextlib.suppress(psutil.Error):  # it has ended: said elsewhere
                    most_rss = max(most_rss, self.rss_mib())
                    most_files = max(most_files, self.files())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
        assert most_rss - rss < MOST_MIB
        assert most_files - files < MOST_FILES

    def connected(self) -> set[str]:
        return {peer["peer_id"] for peer in self.status()["peers"]}

    def still_hears_the_honest_member(self) -> None:
        before = self.status()
        until(lambda: self.status()["deltas_merged"] > before["deltas_merged"], "an honest delta")
        until(lambda: self.status()["round"] > before["round"], "a round of its own")


@contextlib.contextmanager
def two_honest_nodes(folder: Path) -> Iterator[Victim]:
    homes = deal_homes(folder, "ab")
    (homes[0] / "config.toml").write_text(
        f"[network]\nmax_peers = {PLACES}\n[gossip]\nmax_rows = {MOST_ROWS}\n"
    )
    with contextlib.ExitStack() as stack:
        first = RunningNode(homes[0], interval="0.5")
        stack.callback(first.end)
        second = RunningNode(homes[1], "--bootstrap", first.address, interval="0.5")
        stack.callback(second.end)
        victim = Victim(first)
        until(lambda: len(victim.status()["members"]) == 2, "two members")
        victim.charters.append(trio.run(_ask_charter, victim))
        yield victim


async def _ask_charter(victim: Victim) -> Charter:
    async with attacker(victim) as network:
        answer = wire.decode_cards_answer(
            await network.request(
                victim.address.peer_id, wire.GROUPS_PROTOCOL, wire.encode_groups_request()
            )
        )
        assert isinstance(answer, wire.CardsAnswer)
        issuer, body = Libp2pSealer(generate_identity()).open(wire.CARD_TYPE, answer.cards[0][0])
        return wire.decode_card(body, issuer).charter


async def seen(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """As `until`, while the attackers of this process go on."""
    await until_seen(condition, what, seconds, every=0.05, blocking=True)


# --- attackers ------------------------------------------------------------------------------------


def make_network(identity: bytes | None = None, **settings: Any) -> Libp2pNetwork:
    values: dict[str, Any] = {
        "identity": identity or generate_identity(),
        "start_seqno": time.time_ns(),
        "listen": ("/ip4/127.0.0.1/tcp/0",),
        **settings,
    }
    return Libp2pNetwork(Libp2pSettings(**values))


@contextlib.asynccontextmanager
async def attacker(victim: Victim, identity: bytes | None = None) -> AsyncIterator[Libp2pNetwork]:
    """A stranger that is connected to the victim."""
    async with make_network(identity) as network:
        await seen_connected(network, victim)
        yield network


async def seen_connected(network: Libp2pNetwork, victim: Victim) -> None:
    """Dial until somebody answers: on a busy machine the first handshake may take too long."""
    with within():
        while True:
            with contextlib.suppress(RequestFailed):
                await network.connect(victim.address)
                return
            await trio.sleep(0.1)


async def offend(
    network: Libp2pNetwork, victim: Victim, offence: Callable[[], Awaitable[object]]
) -> None:
    """Offend until thrown out, however long the victim takes to read it; a refusal in the middle
    of an offence stops nobody."""
    with within():
        for number in itertools.count():
            if not any(p.peer_id == victim.address.peer_id for p in network.peers()):
                break
            with contextlib.suppress(Exception):
                await offence()
            # Ten are enough when none is lost or forgiven meanwhile: let them be read.
            await trio.sleep(0 if number < 10 else 0.2)
    await thrown_out(network, victim)


async def thrown_out(network: Libp2pNetwork, victim: Victim) -> None:
    """The victim has closed the connection, and does not take a new one."""
    with within(what="being thrown out"):
        while any(p.peer_id == victim.address.peer_id for p in network.peers()):  # noqa: ASYNC110
            await trio.sleep(0.02)
        with contextlib.suppress(RequestFailed):  # refused in the handshake, or just after
            await network.connect(victim.address)
        while any(p.peer_id == victim.address.peer_id for p in network.peers()):  # noqa: ASYNC110
            await trio.sleep(0.02)


def signed(identity: bytes, topic: str, payload: bytes, seqno: int = 0) -> rpc_pb2.Message:
    """A pubsub message that `identity` signed."""
    keys = key_pair_of(identity)
    message = rpc_pb2.Message(
        from_id=ID.from_pubkey(keys.public_key).to_bytes(),
        seqno=(seqno or next(_numbers)).to_bytes(8, "big"),
        data=payload,
        topicIDs=[topic],
    )
    message.signature = keys.private_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
    return message


class Mouth:
    """A gossip stream on which anything can be said."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def say(self, *messages: rpc_pb2.Message) -> None:
        await self.frame(rpc_pb2.RPC(publish=messages).SerializeToString())

    async def frame(self, data: bytes) -> None:
        await self.stream.write(encode_varint_prefixed(data))


async def mouth(network: Libp2pNetwork, victim: Victim) -> Mouth:
    return Mouth(await network._host.open_stream(victim.id, [GOSSIP]))


class Liar:
    """A member that keeps to the protocol where it likes."""

    def __init__(self, victim: Victim) -> None:
        self.identity = generate_identity()
        self.sealer = Libp2pSealer(self.identity)
        self.charter = victim.charters[0]
        self.topic = victim.topic

    @property
    def peer_id(self) -> PeerId:
        return self.sealer.peer_id

    def message(self, payload: bytes) -> rpc_pb2.Message:
        return signed(self.identity, self.topic, payload)

    def delta_message(self, body: bytes) -> rpc_pb2.Message:
        envelope = self.sealer.seal(wire.DELTA_TYPE, body)
        return self.message(wire.encode_gossip(wire.InlineDelta(envelope)))


@contextlib.asynccontextmanager
async def lying_member(
    victim: Victim, answer: Callable[[Liar, bytes], Awaitable[bytes]]
) -> AsyncIterator[tuple[Liar, Libp2pNetwork]]:
    """A peer that says it is in the group, and answers as it likes."""
    liar = Liar(victim)
    card = GroupCard(liar.charter, 9, 100, None, None, None, liar.peer_id, 2e9)
    sealed = liar.sealer.seal(wire.CARD_TYPE, wire.encode_card(card))
    async with make_network(liar.identity) as network:

        async def cards(peer: PeerId, request: bytes) -> bytes:
            return wire.encode_answer(wire.CardsAnswer(((sealed, 0),)))

        async def answered(peer: PeerId, request: bytes) -> bytes:
            return await answer(liar, request)

        async def peers(peer: PeerId, request: bytes) -> bytes:
            return laughs(60)

        network.set_handler(wire.GROUPS_PROTOCOL, cards)
        network.set_handler("/openfl/peers/1", peers)
        for protocol in (wire.SNAPSHOT_PROTOCOL, wire.PULL_PROTOCOL):
            network.set_handler(protocol, answered, 1 << 20)
        await network.subscribe(liar.topic, silent)
        yield liar, network


def silent(message: GossipMessage) -> Verdict:
    return Verdict.IGNORE


def laughs(levels: int) -> bytes:
    """CBOR lists that hold the list before them twice, by reference: 2 ** levels items."""
    lists = [b"\xd8\x1c\x82\x00\x00"]
    for number in range(levels):
        reference = b"\xd8\x1d" + cbor.encode(number)
        lists.append(b"\xd8\x1c\x82" + reference + reference)
    return b"\x98" + bytes([len(lists)]) + b"".join(lists)


async def reset_or_ended(stream: Any, seconds: float = PATIENCE_SECONDS) -> None:
    """The other side gave this stream up."""
    with within(seconds, "the end of the stream"):
        try:
            while await stream.read(65536):
                pass
        except Exception:
            return
