"""The gossip half of the libp2p adapter: pubsub that strangers cannot crash and that loses nothing.

Works around defects of py-libp2p 0.8.1. Each override names the defect; the regression tests in
`tests/libp2p` fail without it, so that a fixed release lets us delete it. Line numbers are those of
0.8.1. The workarounds of the other layers are in
`transport`, `swarm` and `dht`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io.exceptions import IncompleteReadError, MessageTooLarge
from libp2p.network.connection import swarm_connection
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.validators import signature_validator
from libp2p.utils.varint import encode_varint_prefixed

from openfl.network.base import Verdict
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import HardenedHost, HardenedSwarm, open_stream_on
from openfl.network.libp2p.transport import Faults, shielded

log = logging.getLogger(__name__)

GOSSIP_PROTOCOL = PROTOCOL_ID_V11
MAX_RPC_BYTES = 1024 * 1024
"""Largest pubsub frame taken or sent: above it js-libp2p and go-libp2p drop the connection."""
MAX_QUEUED_RPCS = 256
MAX_QUEUED_BYTES = 8 * 1024 * 1024
"""Bounds of the outbound queue of one peer; what does not fit is dropped, and IHAVE repairs it."""
SEEN_SECONDS = 120.0
MAX_SEEN = 65_536
MAX_GOSSIP_STREAMS_PER_PEER = 2
"""Read at once, one a connection: each may hold a frame that is never completed."""
MAX_TOPICS_PER_PEER = 64
MAX_TOPIC_CHARACTERS = 256
MAX_EQUIVOCATION_RECORDS = 8_192
MAX_MESSAGE_IDS = 256
MESSAGES_PER_SECOND = 200.0
"""What is read of one peer in the long run, whoever wrote it: beyond, reading waits, and so does
the sender. A group of a hundred members says about half of that."""
MESSAGES_BURST = 400.0
RETRY_MIN_SECONDS = 0.2
RETRY_MAX_SECONDS = 5.0

Judge = Callable[[str, ID, ID, bytes], Verdict]
"""(topic, author, forwarder, payload) -> verdict; called once for each distinct foreign message."""


def quieten_logging() -> None:
    """Send py-libp2p's log to ours, one level down, without its false alarms.

    Defects: its root logger has no handler, so warnings go to stderr, through the live view;
    `swarm_connection.py` logs to the root logger, which installs a handler there; and the normal
    end of a DHT stream is a WARNING with an empty reason.
    """
    root = logging.getLogger("libp2p")
    root.propagate = False
    if not any(isinstance(handler, _Demote) for handler in root.handlers):
        root.addHandler(_Demote())
    swarm_connection.logging = logging.getLogger("libp2p.network.swarm_connection")


class _Demote(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.rstrip().endswith("Failed to read DHT message from stream:"):
            return
        level = logging.INFO if record.levelno >= logging.CRITICAL else logging.DEBUG
        log.log(level, "%s: %s", record.name, message)


class SeenMessages:
    """Ids of recent messages; replaces a cache that runs a thread of its own for each pubsub."""

    def __init__(self) -> None:
        self._seen_at: OrderedDict[bytes, float] = OrderedDict()

    def has(self, message_id: bytes) -> bool:
        self._expire()
        return message_id in self._seen_at

    def add(self, message_id: bytes) -> bool:
        """True when it was new."""
        self._expire()
        new = message_id not in self._seen_at
        self._seen_at.setdefault(message_id, trio.current_time())
        if len(self._seen_at) > MAX_SEEN:
            self._seen_at.popitem(last=False)
        return new

    def stop(self) -> None:
        self._seen_at.clear()

    def _expire(self) -> None:
        horizon = trio.current_time() - SEEN_SECONDS
        while self._seen_at:
            oldest = next(iter(self._seen_at))
            if self._seen_at[oldest] > horizon:
                return
            del self._seen_at[oldest]


class BoundedRpcQueue(RpcQueue):  # type: ignore[misc]
    """Defect: queues are built bare (`pubsub.py:948`): 32 messages, which a burst overruns."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(max_size=MAX_QUEUED_RPCS, max_message_size=MAX_RPC_BYTES)
        self._faults = faults
        self._bytes = 0

    def push(self, rpc: rpc_pb2.RPC, priority: bool = False) -> bool:
        size = rpc.ByteSize()
        if self._bytes + size > MAX_QUEUED_BYTES or not super().push(rpc, priority):
            if not self.closed:
                self._faults.count("gossip-queue-full")
            return False
        self._bytes += size
        return True

    async def pop(self) -> rpc_pb2.RPC | None:
        rpc: rpc_pb2.RPC | None = await super().pop()
        if rpc is not None:
            self._bytes -= rpc.ByteSize()
        return rpc

    def drain(self) -> list[tuple[rpc_pb2.RPC, bool]]:
        """Take out everything that waits: (rpc, whether it has priority), in order."""
        waiting = [(rpc, True) for rpc in self._queue._priority]
        waiting += [(rpc, False) for rpc in self._queue._non_priority]
        self._queue._priority.clear()
        self._queue._non_priority.clear()
        self._bytes = 0
        return waiting


class Pace:
    """A token bucket that says how long to wait. `now` in seconds."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._at = now

    def spend(self, cost: float, now: float) -> float:
        """Take `cost`, even when it is not there; seconds until the debt is paid."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second) - cost
        self._at = now
        return max(0.0, -self._tokens / self._per_second)


class HardenedGossipSub(GossipSub):  # type: ignore[misc]
    def __init__(self, faults: Faults) -> None:
        super().__init__(
            protocols=[GOSSIP_PROTOCOL],
            # Lower degrees left meshes empty for the 60 s of a prune's back-off.
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=1,  # the default is 120 s
            # Defect: `spam_protection` allows 10 messages a second of each *forwarder*, our own
            # included (gossipsub.py:2894), and drops the rest silently. Authors are rate-limited
            # by whoever judges the messages.
            spam_protection_enabled=False,
            # Both change the degrees behind our back; peers of one LAN share addresses anyway.
            adaptive_gossip_enabled=False,
            eclipse_protection_enabled=False,
            max_pending_messages_per_peer=32,
            pending_messages_ttl=5.0,
        )
        self._faults = faults
        self._digests: OrderedDict[bytes, bytes] = OrderedDict()

    async def heartbeat(self) -> None:
        # Defect: any exception in one heartbeat ends the service, hence the node.
        while True:
            try:
                await super().heartbeat()
            except Exception as error:
                self._faults.count("gossip-heartbeat-crashed")
                log.warning("gossip heartbeat failed: %r", error)
                await trio.sleep(self.heartbeat_interval)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        # Defect: keeps up to 1,000 whole messages (gossipsub.py:3541): 60 of 900 KB are 58 MiB.
        # Digests say the same in 32 bytes.
        digest = hashlib.sha256(msg.data).digest()
        known = self._digests.setdefault(msg.from_id + msg.seqno, digest)
        if len(self._digests) > MAX_EQUIVOCATION_RECORDS:
            self._digests.popitem(last=False)
        return known == digest

    def _get_peers_to_send(
        self,
        topic_ids: Iterable[str],
        msg_forwarder: ID,
        origin: ID,
        msg_id: bytes | None = None,
    ) -> Iterable[ID]:
        # Defect: a mesh is all there is to publish to. Two members of which one restarts refuse
        # each other's GRAFT for the back-off of a prune, a minute or more: nothing arrives. While a
        # mesh is thin, subscribers outside it are sent to as well (gossipsub 1.1 floods its own
        # messages to all of them).
        topics = list(topic_ids)
        chosen = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        for topic in topics:
            mesh = self.mesh.get(topic)
            if mesh is None or len(mesh) >= self.degree_low:
                continue
            others = self.pubsub.peer_topics.get(topic, set()) - mesh - {msg_forwarder, origin}
            chosen.update(sorted(others, key=ID.to_bytes)[: self.degree_low - len(mesh)])
        return chosen

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        # Every RPC carries our signed peer record, which every receiver verifies: identify and the
        # first message of a stream have told it already.
        rpc.ClearField("senderRecord")
        super().send_rpc(peer_id, rpc, priority)

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        # Defect: the lists of the original are not reset between peers (gossipsub.py:1249), so a
        # peer is also grafted to topics, and offered messages, that were meant for another.
        for peer in dict.fromkeys([*peers_to_graft, *peers_to_prune, *peers_to_gossip]):
            control = self.pack_control_msgs(
                [
                    rpc_pb2.ControlIHave(topicID=topic, messageIDs=ids[:MAX_MESSAGE_IDS])
                    for topic, ids in peers_to_gossip.get(peer, {}).items()
                ],
                [rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, ())],
                [rpc_pb2.ControlPrune(topicID=topic) for topic in peers_to_prune.get(peer, ())],
            )
            await self.emit_control_message(control, peer)

    async def handle_ihave(self, ihave_msg: rpc_pb2.ControlIHave, sender_peer_id: ID) -> None:
        if ihave_msg.topicID not in self.mesh:
            return
        del ihave_msg.messageIDs[MAX_MESSAGE_IDS:]
        await super().handle_ihave(ihave_msg, sender_peer_id)

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        # Defect: one id repeated 20,000 times in an IWANT is answered 20,000 times.
        wanted = list(dict.fromkeys(iwant_msg.messageIDs))[:MAX_MESSAGE_IDS]
        await super().handle_iwant(rpc_pb2.ControlIWant(messageIDs=wanted), sender_peer_id)

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        # Defect: a back-off is kept for ever for every topic name that anybody makes up.
        if prune_msg.topicID in self.mesh:
            prune_msg.backoff = min(prune_msg.backoff, 600)
            await super().handle_prune(prune_msg, sender_peer_id)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Off: a pruning peer cannot make us dial; discovery decides whom we know."""


class HardenedPubsub(Pubsub):  # type: ignore[misc]
    def __init__(
        self,
        host: HardenedHost,
        router: HardenedGossipSub,
        judge: Judge,
        start_seqno: int,
        faults: Faults,
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            max_subscriptions_per_peer=MAX_TOPICS_PER_PEER,
            max_inbound_rpc_size=MAX_RPC_BYTES,
        )
        # Defect: sequence numbers start at whole seconds (pubsub.py:478); after a quick restart
        # with the same key peers take new messages for old ones. The caller gives nanoseconds.
        self.counter = start_seqno
        inherited: Any = self.seen_messages
        inherited.stop()
        self.seen_messages: Any = SeenMessages()
        self.validation_cache.put = lambda msg_id, result: None  # never read: see push_msg
        self.judge = judge
        self.received = 0
        self.sent = 0
        self._faults = faults
        self._write_locks: WeakKeyDictionary[Any, trio.Lock] = WeakKeyDictionary()
        # As long as any of its streams is read: a new stream brings no new burst.
        self._paces: WeakValueDictionary[ID, Pace] = WeakValueDictionary()
        self._opening: WeakKeyDictionary[Any, trio.Lock] = WeakKeyDictionary()
        self._readers: dict[ID, list[trio.CancelScope]] = {}

    # Receiving

    async def stream_handler(self, stream: INetStream) -> None:
        # Defect 2: a frame that is no protobuf raises through every layer (pubsub.py:562) and ends
        # the process. Here it costs the sender this stream.
        peer_id = stream.muxed_conn.peer_id
        try:
            with self._reading(peer_id):
                await self._read_rpcs(peer_id, StreamReader(stream))
        except (ProtobufError, ParseError, MessageTooLarge, UnicodeError) as error:
            self._faults.against(peer_id, "gossip-malformed")
            log.debug("gossip stream of %s: %r", peer_id, error)
        except IncompleteReadError as error:
            self._faults.count("gossip-cut-off")
            log.debug("gossip stream of %s: %r", peer_id, error)
        except BaseLibp2pError as error:
            log.debug("gossip stream of %s ended: %r", peer_id, error)
        except Exception as error:
            self._faults.count("gossip-reader-crashed")
            log.warning("gossip stream of %s: %r", peer_id, error)
        finally:
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()

    @contextlib.contextmanager
    def _reading(self, peer_id: ID) -> Iterator[None]:
        """The block ends early when the peer has opened `MAX_GOSSIP_STREAMS_PER_PEER` since."""
        readers = self._readers.setdefault(peer_id, [])
        with trio.CancelScope() as scope:
            readers.append(scope)
            if len(readers) > MAX_GOSSIP_STREAMS_PER_PEER:
                self._faults.count("gossip-streams")
                readers.pop(0).cancel()
            try:
                yield
            finally:
                if scope in readers:
                    readers.remove(scope)
                if not readers and self._readers.get(peer_id) is readers:
                    del self._readers[peer_id]

    async def _read_rpcs(self, peer_id: ID, reader: StreamReader) -> None:
        first = True
        pace = self._paces.setdefault(
            peer_id, Pace(MESSAGES_PER_SECOND, MESSAGES_BURST, trio.current_time())
        )
        while self.manager.is_running:
            frame = await reader.read_varint_frame(MAX_RPC_BYTES)
            if frame is None:
                return
            rpc = rpc_pb2.RPC()
            rpc.ParseFromString(frame)
            _refuse_strange_topics(rpc)
            # Not needed (identify brings it), and refusing RPCs for it loses messages when a
            # peer's clock stepped back between two starts.
            rpc.ClearField("senderRecord")
            self._take_subscriptions(peer_id, rpc, first)
            first = False
            for message in rpc.publish:
                # In this task, not in one for each message: keeps their order, and a flood waits
                # on the sender's side instead of in a thousand tasks.
                await self.push_msg(peer_id, message)
            if rpc.HasField("control"):
                await self.router.handle_rpc(rpc, peer_id)
            wait = pace.spend(1 + len(rpc.publish), trio.current_time())
            if wait > 0:
                self._faults.count("gossip-throttled")
                await trio.sleep(wait)

    def _take_subscriptions(self, peer_id: ID, rpc: rpc_pb2.RPC, first: bool) -> None:
        if len(rpc.subscriptions) > 2 * MAX_TOPICS_PER_PEER:
            self._faults.against(peer_id, "gossip-too-many-subscriptions")
            return
        if first:
            # The first message of a stream lists every subscription: forget those of a former life.
            listed = {s.topicid for s in rpc.subscriptions if s.subscribe}
            for topic in [t for t, peers in self.peer_topics.items() if peer_id in peers]:
                if topic not in listed:
                    self._forget_subscription(peer_id, topic)
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer_id, subscription)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge one message and relay it when it is accepted; our own are only sent.

        Defect 3: an undecodable key raises out of `validators.py:63`, as does any validator, and
        ends the process. The subscription channel (32 messages, then silent loss) is not used.
        """
        if msg_forwarder == self.my_id:
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
            return
        if len(msg.topicIDs) != 1 or len(msg.seqno) != 8 or not 0 < len(msg.from_id) <= 64:
            self._faults.against(msg_forwarder, "gossip-malformed")
            return
        topic = msg.topicIDs[0]
        if topic not in self.topic_ids or self._is_msg_seen(msg):
            return
        author = ID(msg.from_id)
        if author == self.my_id:
            return
        try:
            signed = signature_validator(msg)
        except Exception as error:
            log.debug("undecodable key in a message from %s: %r", msg_forwarder, error)
            signed = False
        if not signed:
            # Whoever relays has verified it first, so the forwarder is to blame.
            self._faults.against(msg_forwarder, "gossip-bad-signature")
            return
        self._mark_msg_seen(msg)
        self.received += 1
        if self.judge(topic, author, msg_forwarder, msg.data) is Verdict.ACCEPT:
            await self.router.publish(msg_forwarder, msg)

    # Sending

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        # Defect 1: the queue's task, the flush of pending messages and the replay of recent ones
        # (gossipsub.py:704, :788) write to one stream at once, and yamux locks a frame of 64 KB,
        # not a message: larger messages interleave and the receiver reads garbage.
        lock = self._write_locks.setdefault(stream, trio.Lock())
        async with lock:
            try:
                await stream.write(encode_varint_prefixed(rpc_msg.SerializeToString()))
                self.sent += len(rpc_msg.publish)
                return True
            except Exception as error:
                log.debug("gossip to %s: %r", stream.muxed_conn.peer_id, error)
        # Part of the message may be out: nothing written after it could be read.
        await self._drop_stream(stream)
        return False

    async def _drop_stream(self, stream: INetStream) -> None:
        with shielded(1), contextlib.suppress(Exception):
            await stream.reset()
        peer_id = stream.muxed_conn.peer_id
        if self.peers.get(peer_id) is stream:
            self._handle_dead_peer(peer_id)

    async def handle_sending_messages(
        self, peer_id: ID, stream: INetStream, queue: RpcQueue
    ) -> None:
        while (rpc := await queue.pop()) is not None:
            if not await self.write_msg(stream, rpc):
                return
        with trio.move_on_after(1), contextlib.suppress(Exception):
            await stream.close()

    # Peers that come, go and come back

    async def _handle_new_peer(self, peer_id: ID) -> None:
        # Defect 5: the stream of a closed connection is kept for ever (pubsub.py:892), so that a
        # peer that dropped or restarted gets nothing after it came back. We move to a stream on
        # the newest connection, with what waits in the queue, and keep known subscriptions.
        swarm: HardenedSwarm = self.host.get_network()
        connection = swarm.newest_connection(peer_id)
        if connection is None:
            return
        async with self._opening.setdefault(connection, trio.Lock()):
            current = self.peers.get(peer_id)
            if current is not None and current.swarm_conn is connection and _is_open(current):
                return
            stream = await open_stream_on(connection, self.host, self.protocols)
            told = set(self.topic_ids)
            hello = self.get_hello_packet().SerializeToString()
            await stream.write(encode_varint_prefixed(hello))
            self._adopt(peer_id, stream, told)
        await self.router.flush_pending_messages(peer_id)
        await self._send_recent_messages_to_new_peer(peer_id)

    def _adopt(self, peer_id: ID, stream: Any, told: set[str]) -> None:
        queue = BoundedRpcQueue(self._faults)
        former = self.peer_queues.pop(peer_id, None)
        if former is not None:
            for rpc, priority in former.drain():
                queue.push(rpc, priority)
            former.close()
        self.router.add_peer(peer_id, stream.get_protocol())
        self._replayed_recent_topics.pop(peer_id, None)
        self.peers[peer_id] = stream
        self.peer_queues[peer_id] = queue
        self.manager.run_task(self.handle_sending_messages, peer_id, stream, queue)
        if peer_id in self._peer_added_events:
            self._peer_added_events.pop(peer_id).set()
        # Topics joined or left while the hello was on its way would never be announced.
        for topic in told.symmetric_difference(self.topic_ids):
            packet, _ = self._build_announce_rpc(topic, topic in self.topic_ids)
            queue.push(packet)

    async def _handle_new_peer_with_retry(
        self,
        peer_id: ID,
        timeout: float | None = None,  # noqa: ASYNC109 (libp2p's signature)
    ) -> None:
        # Defect: only two kinds of failure are retried; a failed negotiation is final.
        delay = RETRY_MIN_SECONDS
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            while self._peer_is_connected(peer_id):
                try:
                    await self._handle_new_peer(peer_id)
                    return
                except Exception as error:
                    log.debug("gossip stream to %s failed: %r", peer_id, error)
                await trio.sleep(delay)
                delay = min(2 * delay, RETRY_MAX_SECONDS)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        # Defect 5, second half: subscriptions are forgotten with the stream (pubsub.py:1133)
        # although a peer that stayed connected never sends them again.
        if not self._peer_is_connected(peer_id):
            super()._handle_dead_peer(peer_id)
            return
        self.peers.pop(peer_id, None)
        self._schedule_peer_stream_retry(peer_id)

    async def handle_dead_peer_queue(self) -> None:
        async with self.dead_peer_receive_channel:
            self.event_handle_dead_peer_queue_started.set()
            async for peer_id in self.dead_peer_receive_channel:
                if self._peer_is_connected(peer_id):
                    self._schedule_peer_stream_retry(peer_id)  # our stream may have gone with it
                else:
                    self._handle_dead_peer(peer_id)


def _refuse_strange_topics(rpc: rpc_pb2.RPC) -> None:
    """Protobuf hands out a topic that is no UTF-8 as bytes, which nothing above expects."""
    control = rpc.control
    topics = [s.topicid for s in rpc.subscriptions]
    for entries in (control.graft, control.prune, control.ihave):
        topics.extend(entry.topicID for entry in entries)
    for message in rpc.publish:
        topics.extend(message.topicIDs)
    if not all(isinstance(topic, str) and len(topic) <= MAX_TOPIC_CHARACTERS for topic in topics):
        raise ParseError("a topic is too long, or no text")


def _is_open(stream: Any) -> bool:
    return stream._state.name in ("OPEN", "CLOSE_READ") and not stream.swarm_conn.is_closed
