"""`HardenedPubsub`: gossip streams, from their first byte to the verdict on each message."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io.exceptions import IncompleteReadError, MessageTooLarge
from libp2p.peer.id import ID
from libp2p.pubsub import gossipsub, pubsub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.utils.varint import encode_varint_prefixed

from openfl.network.base import Verdict
from openfl.network.libp2p.gossip.queues import MAX_RPC_BYTES, BoundedRpcQueue, Pace
from openfl.network.libp2p.gossip.router import HardenedGossipSub
from openfl.network.libp2p.gossip.seen import SeenMessages
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import Faults, shielded, take

log = logging.getLogger(__name__)

MAX_GOSSIP_STREAMS_PER_PEER = 2
"""Read at once, one a connection: each may hold a frame that is never completed."""
MAX_TOPICS_PER_PEER = 64
MAX_TOPIC_CHARACTERS = 256
MESSAGES_PER_SECOND = 200.0
"""What is read of one peer in the long run, whoever wrote it: beyond, reading waits, and so does
the sender. A group of a hundred members says about half of that."""
MESSAGES_BURST = 400.0
RETRY_MIN_SECONDS = 0.2
RETRY_MAX_SECONDS = 5.0

Judge = Callable[[str, ID, ID, bytes], Verdict]
"""(topic, author, forwarder, payload) -> verdict; called once for each distinct foreign message."""


class HardenedPubsub(Pubsub):  # type: ignore[misc]
    """Pubsub with StrictSign whose messages are judged by one function, with the defects named at
    its methods worked around. `start_seqno`: exceeds that of every earlier run of this identity."""

    def __init__(
        self,
        host: HardenedHost,
        router: HardenedGossipSub,
        judge: Judge,
        start_seqno: int,
        faults: Faults,
    ) -> None:
        send_no_peer_records()
        super().__init__(
            host,
            router,
            strict_signing=True,
            max_subscriptions_per_peer=MAX_TOPICS_PER_PEER,
            max_inbound_rpc_size=MAX_RPC_BYTES,
        )
        self._number_from(start_seqno)
        self._use_own_cache()
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

    def _number_from(self, start_seqno: int) -> None:
        self.counter = start_seqno  # Defect gossip-sequence-numbers

    def _use_own_cache(self) -> None:
        # Defect gossip-thread.
        inherited: Any = self.seen_messages
        inherited.stop()
        self.seen_messages: Any = SeenMessages()

    # Receiving

    async def stream_handler(self, stream: INetStream) -> None:
        """Defect gossip-undecodable-frame. Here such a frame costs its sender this stream."""
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
            # Defect gossip-stale-record. Nobody needs it: identify brings it.
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

        Defect gossip-undecodable-key. The subscription channel (32 messages, then silent loss) is
        not used.
        """
        if msg_forwarder == self.my_id:
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
            return
        if len(msg.topicIDs) != 1 or len(msg.seqno) != 8 or not 0 < len(msg.from_id) <= 64:
            self._faults.against(msg_forwarder, "gossip-malformed")
            return
        topic = msg.topicIDs[0]
        author = ID(msg.from_id)
        if topic not in self.topic_ids or author == self.my_id:
            return
        message_id = self.get_message_id(msg)
        if self._is_msg_seen(msg):
            self.router.arrived_again(message_id, msg_forwarder, author)
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
        self.router.arrived(message_id, msg_forwarder)
        self.received += 1
        if self.judge(topic, author, msg_forwarder, msg.data) is Verdict.ACCEPT:
            await self.router.publish(msg_forwarder, msg)

    # Sending

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        """Defect gossip-interleaved-writes."""
        return await self._write(stream, [rpc_msg])

    async def _write(self, stream: INetStream, rpcs: Sequence[rpc_pb2.RPC]) -> bool:
        """All of them at once; False, and the stream is dropped, when they could not be sent."""
        lock = self._write_locks.setdefault(stream, trio.Lock())
        await take(lock)
        try:
            await stream.write(b"".join(map(_framed, rpcs)))
            self.sent += sum(len(rpc.publish) for rpc in rpcs)
            return True
        except Exception as error:
            log.debug("gossip to %s: %r", stream.muxed_conn.peer_id, error)
        finally:
            lock.release()
        # Part of a message may be out: nothing written after it could be read.
        await self._drop_stream(stream)
        return False

    async def _drop_stream(self, stream: INetStream) -> None:
        with shielded(1), contextlib.suppress(Exception):
            await stream.reset()
        peer_id = stream.muxed_conn.peer_id
        if self.peers.get(peer_id) is stream:
            self._handle_dead_peer(peer_id)

    async def handle_sending_messages(
        self, peer_id: ID, stream: INetStream, queue: BoundedRpcQueue
    ) -> None:
        """Write what is queued for a peer, until the queue or the stream ends."""
        while rpcs := await queue.pop_several():
            if not await self._write(stream, rpcs):
                return
        with trio.move_on_after(1), contextlib.suppress(Exception):
            await stream.close()

    @property
    def waiting(self) -> int:
        """Frames that wait for the median peer: one slow peer says nothing of this node."""
        depths = sorted(len(queue._queue) for queue in self.peer_queues.values())
        return depths[len(depths) // 2] if depths else 0

    # Peers that come, go and come back

    async def _handle_new_peer(self, peer_id: ID) -> None:
        # Defect gossip-stale-stream. We move to a stream on the newest connection, with what waits
        # in the queue, and keep known subscriptions.
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
            await stream.write(_framed(self.get_hello_packet()))
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
        # Defect gossip-final-failure.
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
        # Defect gossip-forgotten-subscriptions.
        if not self._peer_is_connected(peer_id):
            super()._handle_dead_peer(peer_id)
            return
        self.peers.pop(peer_id, None)
        self._schedule_peer_stream_retry(peer_id)

    async def handle_dead_peer_queue(self) -> None:
        """A peer that stayed connected gets a new stream; others are forgotten."""
        async with self.dead_peer_receive_channel:
            self.event_handle_dead_peer_queue_started.set()
            async for peer_id in self.dead_peer_receive_channel:
                if self._peer_is_connected(peer_id):
                    self._schedule_peer_stream_retry(peer_id)  # our stream may have gone with it
                else:
                    self._handle_dead_peer(peer_id)


def send_no_peer_records() -> None:
    """Defect gossip-peer-record. For the whole process; again it changes nothing.

    Identify tells the addresses, and whoever is dialled proves its identity.
    """
    for module in (gossipsub, pubsub):
        module.env_to_send_in_RPC = lambda host: (b"", False)


def _framed(rpc: rpc_pb2.RPC) -> bytes:
    rpc.ClearField("senderRecord")  # an empty one is none, but would be sent
    framed: bytes = encode_varint_prefixed(rpc.SerializeToString())
    return framed


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
