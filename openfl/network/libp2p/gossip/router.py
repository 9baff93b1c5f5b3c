"""`HardenedGossipSub`: which peers hear what (the GossipSub 1.1 router)."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2

from openfl.network.libp2p.transport import Faults

log = logging.getLogger(__name__)

GOSSIP_PROTOCOL = PROTOCOL_ID_V11
MAX_EQUIVOCATION_RECORDS = 8_192
MAX_MESSAGE_IDS = 256

ROUTER_OPTIONS: dict[str, Any] = {
    # Lower degrees left meshes empty for the 60 s of a prune's back-off.
    "degree": 6,
    "degree_low": 4,
    "degree_high": 12,
    "heartbeat_initial_delay": 0.1,
    "heartbeat_interval": 1,  # the default is 120 s
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
        self._faults = faults
        self._digests: OrderedDict[bytes, bytes] = OrderedDict()

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

    def _get_peers_to_send(
        self,
        topic_ids: Iterable[str],
        msg_forwarder: ID,
        origin: ID,
        msg_id: bytes | None = None,
    ) -> Iterable[ID]:
        # Defect gossip-thin-mesh. While a mesh is thin, subscribers outside it are sent to as well
        # (GossipSub 1.1 floods its own messages to all of them).
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
        if ihave_msg.topicID not in self.mesh:
            return
        del ihave_msg.messageIDs[MAX_MESSAGE_IDS:]
        await super().handle_ihave(ihave_msg, sender_peer_id)

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        """Defect gossip-repeated-iwant."""
        wanted = list(dict.fromkeys(iwant_msg.messageIDs))[:MAX_MESSAGE_IDS]
        await super().handle_iwant(rpc_pb2.ControlIWant(messageIDs=wanted), sender_peer_id)

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        """Defect gossip-endless-back-off."""
        if prune_msg.topicID in self.mesh:
            prune_msg.backoff = min(prune_msg.backoff, 600)
            await super().handle_prune(prune_msg, sender_peer_id)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Off: a pruning peer cannot make us dial; discovery decides whom we know."""
