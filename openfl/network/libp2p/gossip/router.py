"""`HardenedGossipSub`: which peers hear what (the GossipSub 1.1 router).

Whom a message goes to is up to `LazyPush`; the mesh, its GRAFT and PRUNE are GossipSub's.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections import OrderedDict
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2

from openfl.network.lazy_push import LazyPush
from openfl.network.libp2p.transport import Faults

log = logging.getLogger(__name__)

GOSSIP_PROTOCOL = PROTOCOL_ID_V11
MAX_EQUIVOCATION_RECORDS = 8_192
MAX_MESSAGE_IDS = 256
MAX_CONTROLS = 200.0
"""IHAVE of one peer and topic, and IWANT of one peer, heeded within a second; as many frames of one
peer as are read."""
MAX_MESSAGE_ID_BYTES = 72
SEQNO_BYTES = 8

ROUTER_OPTIONS: dict[str, Any] = {
    # Lower degrees left meshes empty for the 60 s of a prune's back-off.
    "degree": 6,
    "degree_low": 4,
    "degree_high": 12,
    "heartbeat_initial_delay": 0.1,
    "heartbeat_interval": 1,  # the default is 120 s
    # Heartbeats for which a message can be asked for: an announcement may wait for one, and whoever
    # heard it for an answer of somebody else.
    "gossip_history": 8,
    # Defect gossip-spam-limit. Authors are rate-limited by whoever judges the messages.
    "spam_protection_enabled": False,
    # Both change the degrees behind our back; peers of one LAN share addresses anyway.
    "adaptive_gossip_enabled": False,
    "eclipse_protection_enabled": False,
    "max_pending_messages_per_peer": 32,
    "pending_messages_ttl": 5.0,
}
"""Of py-libp2p's GossipSub."""


class HardenedGossipSub(GossipSub):  # type: ignore[misc]
    """The router of GossipSub 1.1, with the defects named at its methods worked around."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(protocols=[GOSSIP_PROTOCOL], **ROUTER_OPTIONS)
        # Defect gossip-spam-limit: of one peer ten offers and ten wishes a second were heeded.
        self.max_ihave_messages_per_second = self.max_iwant_requests_per_second = MAX_CONTROLS
        self._faults = faults
        self._digests: OrderedDict[bytes, bytes] = OrderedDict()
        self._poke = trio.Event()
        self._asleep_until = float("inf")

    async def heartbeat(self) -> None:
        """Defect gossip-heartbeat-crash."""
        while True:
            try:
                await super().heartbeat()
            except Exception as error:
                self._faults.count("gossip-heartbeat-crashed")
                log.warning("gossip heartbeat failed: %r", error)
                await trio.sleep(self.heartbeat_interval)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        # Defect gossip-equivocation-memory. Digests say the same in 32 bytes.
        digest = hashlib.sha256(msg.data).digest()
        known = self._digests.setdefault(msg.from_id + msg.seqno, digest)
        if len(self._digests) > MAX_EQUIVOCATION_RECORDS:
            self._digests.popitem(last=False)
        return known == digest

    def attach(self, pubsub: Any) -> None:
        """Join the router to the pubsub whose messages it carries."""
        super().attach(pubsub)
        self._lazy = LazyPush(pubsub.my_id, random.Random(time.time_ns()))

    async def run(self) -> None:
        """Run until cancelled."""
        self.manager.run_daemon_task(self._tell_and_ask)
        await super().run()

    # Messages

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Send a message on: one's own, or one that was judged.

        Defect gossip-thin-mesh: `LazyPush` has authors send to subscribers outside the mesh, too.
        """
        if not self._check_equivocation(pubsub_msg):
            return
        self.mcache.put(pubsub_msg)
        (topic,) = pubsub_msg.topicIDs
        message_id = self.pubsub.get_message_id(pubsub_msg)
        author = ID(pubsub_msg.from_id)
        subscribers = self.pubsub.peer_topics.get(topic, set())
        mesh = self._neighbours(topic, subscribers)
        now = trio.current_time()
        mine = msg_forwarder == self.pubsub.my_id
        if mine:
            push = self._lazy.publish(message_id, topic, mesh, subscribers, now)
        else:
            push = self._lazy.forward(
                message_id, author, msg_forwarder, topic, mesh, subscribers, now
            )
            self._wake()
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        for peer_id in push:
            if peer_id in self.pubsub.peers:
                self.send_rpc(peer_id, rpc)
        if mine:
            self._keep_for_those_not_known_yet(rpc, subscribers)

    def _neighbours(self, topic: str, subscribers: set[ID]) -> set[ID]:
        # While a mesh is thin, subscribers outside it count as neighbours.
        mesh: set[ID] = self.mesh.get(topic, set()) & subscribers
        if len(mesh) < self.degree_low:
            others = sorted(subscribers - mesh, key=ID.to_bytes)
            mesh = mesh | set(others[: self.degree_low - len(mesh)])
        return mesh

    def _keep_for_those_not_known_yet(self, rpc: rpc_pb2.RPC, subscribers: set[ID]) -> None:
        """A peer may have subscribed without our having read it yet; see py-libp2p's `publish`."""
        for peer_id in self.pubsub.peers:
            if peer_id not in subscribers or peer_id not in self.peer_protocol:
                self._prune_pending_messages(peer_id)
                self._pending_messages[peer_id].append((time.time(), rpc))

    def arrived(self, message_id: bytes, msg_forwarder: ID) -> None:
        """A message is here, for the first time, and will be judged."""
        self._lazy.arrived(message_id, msg_forwarder, trio.current_time())

    def arrived_again(self, message_id: bytes, msg_forwarder: ID, author: ID) -> None:
        """A message came that is here already."""
        self._lazy.arrived_again(message_id, author, msg_forwarder, trio.current_time())
        self._wake()

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Offer a new subscriber what came lately: whole messages would come from everybody."""
        self._lazy.heartbeat(topic, [peer_id], trio.current_time())
        self._wake()

    def gossip_heartbeat(self) -> dict[ID, dict[str, list[bytes]]]:
        """Offer recent messages to subscribers outside the mesh; sent by `_tell_and_ask`."""
        now = trio.current_time()
        for topic in self.mesh:
            subscribers = self.pubsub.peer_topics.get(topic, set())
            mesh = self._neighbours(topic, subscribers)
            self._lazy.heartbeat(topic, sorted(subscribers - mesh, key=ID.to_bytes), now)
        self._wake()
        return {}

    def remove_peer(self, peer_id: ID) -> None:
        """Forget a peer that is not connected any more."""
        super().remove_peer(peer_id)
        self._lazy.gone(peer_id)

    def _wake(self) -> None:
        if self._lazy.next_wake < self._asleep_until:
            self._poke.set()

    async def _tell_and_ask(self) -> None:
        while True:
            self._poke = trio.Event()
            self._asleep_until = self._lazy.next_wake
            with trio.move_on_at(self._asleep_until):
                await self._poke.wait()
                continue
            due = self._lazy.due(trio.current_time())
            for peer in dict.fromkeys([*due.announce, *due.ask]):
                control = rpc_pb2.ControlMessage()
                for topic, ids in due.announce.get(peer, {}).items():
                    control.ihave.add(topicID=topic, messageIDs=ids[:MAX_MESSAGE_IDS])
                wanted = due.ask.get(peer, [])
                for start in range(0, len(wanted), MAX_MESSAGE_IDS):
                    control.iwant.add(messageIDs=wanted[start : start + MAX_MESSAGE_IDS])
                self.send_rpc(peer, rpc_pb2.RPC(control=control), priority=True)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        """Queue a frame for the peer. Most fit as they are: no need to copy and to split them."""
        queue = self.pubsub.peer_queues.get(peer_id)
        deferred = self._pending_control.get(peer_id)
        if queue is None or deferred is not None or rpc.ByteSize() > queue.max_message_size:
            super().send_rpc(peer_id, rpc, priority)
        elif not queue.push(rpc, priority):
            self._handle_dropped_rpc(peer_id, rpc, "queue_full")

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        # Defect gossip-control-for-others.
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
        """Of topics we are in, and not more than `MAX_MESSAGE_IDS` ids."""
        topic = ihave_msg.topicID
        if topic not in self.mesh or not self._check_ihave_rate_limit(sender_peer_id, topic):
            return
        now = trio.current_time()
        for message_id in ihave_msg.messageIDs[:MAX_MESSAGE_IDS]:
            if not SEQNO_BYTES < len(message_id) <= MAX_MESSAGE_ID_BYTES:
                continue
            author = ID(message_id[:-SEQNO_BYTES])
            if author != self.pubsub.my_id:
                seen = self.pubsub.seen_messages.has(message_id)
                self._lazy.announced(sender_peer_id, message_id, author, seen, now)
        self._wake()

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        """Defect gossip-repeated-iwant."""
        if not self._check_iwant_rate_limit(sender_peer_id):
            return
        ids = iwant_msg.messageIDs[:MAX_MESSAGE_IDS]
        for message_id in self._lazy.wanted(sender_peer_id, ids, trio.current_time()):
            message = self.mcache.get(message_id)
            if message is not None:
                self.send_rpc(sender_peer_id, rpc_pb2.RPC(publish=[message]))

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        """Defect gossip-endless-back-off."""
        if prune_msg.topicID in self.mesh:
            prune_msg.backoff = min(prune_msg.backoff, 600)
            await super().handle_prune(prune_msg, sender_peer_id)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Off: a pruning peer cannot make us dial; discovery decides whom we know."""
