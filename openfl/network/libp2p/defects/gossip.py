"""Of pubsub and GossipSub."""

from __future__ import annotations

from openfl.network.libp2p.defects.row import Defect

_ALONE = "tests/libp2p/test_defects.py::test_"
_GOSSIP = "tests/libp2p/test_libp2p_gossip_defects.py::test_"
_FRAMES = "tests/libp2p/test_libp2p_frames.py::test_"
_GUARD = "pass swarm:HardenedSwarm.guard"
_READER = "delete gossip.pubsub:HardenedPubsub.stream_handler"

GOSSIP: tuple[Defect, ...] = (
    Defect(
        "gossip-interleaved-writes",
        "pubsub/gossipsub.py:704, 788",
        "The queue's task, the flush of pending messages and the replay of recent ones write to one"
        " stream at once, and Yamux locks a frame of 64 KB, not a message: larger messages"
        " interleave, and the receiver reads garbage.",
        "gossip.pubsub:HardenedPubsub.write_msg",
        _GOSSIP + "large_messages_written_by_several_tasks_do_not_interleave",
        ("delete gossip.pubsub:HardenedPubsub.write_msg",),
        issue="https://github.com/libp2p/py-libp2p/issues/793",
    ),
    Defect(
        "gossip-undecodable-frame",
        "pubsub/pubsub.py:562",
        "A frame that is no protobuf raises through every layer and ends the process: six bytes of"
        " a stranger.",
        "gossip.pubsub:HardenedPubsub.stream_handler",
        _ALONE + "junk_on_a_gossip_stream_does_not_end_the_node",
        (_READER, _GUARD),
    ),
    Defect(
        "gossip-undecodable-key",
        "pubsub/validators.py:63",
        "A message whose author's key cannot be decoded raises out of the validator, as does any"
        " validator of our own, and ends the process.",
        "gossip.pubsub:HardenedPubsub.push_msg",
        _ALONE + "a_message_with_an_undecodable_key_does_not_end_the_node",
        ("delete gossip.pubsub:HardenedPubsub.push_msg", _READER, _GUARD),
    ),
    Defect(
        "gossip-stale-record",
        "pubsub/pubsub.py:565",
        "Every frame carries the sender's signed record, and the whole frame is dropped when that"
        " is older than the one before: after a clock stepped back between two starts, messages are"
        " lost.",
        "gossip.pubsub:HardenedPubsub._read_rpcs",
        _ALONE + "a_frame_with_a_record_older_than_the_last_is_read",
        (_READER,),
    ),
    Defect(
        "gossip-stale-stream",
        "pubsub/pubsub.py:892",
        "The stream of a closed connection is kept for ever: a peer that dropped or restarted hears"
        " nothing after it came back.",
        "gossip.pubsub:HardenedPubsub._handle_new_peer",
        _GOSSIP + "a_peer_that_restarts_before_we_noticed_hears_us_again",
        ("delete gossip.pubsub:HardenedPubsub._handle_new_peer",),
    ),
    Defect(
        "gossip-forgotten-subscriptions",
        "pubsub/pubsub.py:1133",
        "A peer's subscriptions are forgotten with its stream, although a peer that stayed"
        " connected never tells them again.",
        "gossip.pubsub:HardenedPubsub._handle_dead_peer",
        _GOSSIP + "subscriptions_survive_the_loss_of_a_gossip_stream",
        (
            "delete gossip.pubsub:HardenedPubsub._handle_dead_peer",
            "delete gossip.pubsub:HardenedPubsub.handle_dead_peer_queue",
        ),
    ),
    Defect(
        "gossip-final-failure",
        "pubsub/pubsub.py:1065",
        "Only two kinds of failure to open a gossip stream are tried again; a negotiation that"
        " failed is final.",
        "gossip.pubsub:HardenedPubsub._handle_new_peer_with_retry",
        _ALONE + "a_gossip_stream_that_could_not_be_opened_is_tried_again",
        ("delete gossip.pubsub:HardenedPubsub._handle_new_peer_with_retry",),
    ),
    Defect(
        "gossip-small-queue",
        "pubsub/pubsub.py:948",
        "The queue of a peer takes 32 messages, and cannot be made larger: a burst is lost.",
        "gossip.queues:QUEUE_OPTIONS",
        _GOSSIP + "a_burst_of_messages_arrives_complete",
        ("drop gossip.queues:QUEUE_OPTIONS.max_size",),
    ),
    Defect(
        "gossip-write-each",
        "pubsub/pubsub.py:1266",
        "What waits for a peer is written message by message: a frame, an encryption and a call of"
        " the system for each.",
        "gossip.queues:BoundedRpcQueue.pop_several",
        _FRAMES + "what_waits_for_a_peer_is_written_at_once",
        ("swap gossip.queues:BoundedRpcQueue.pop_several for tests.upstream:pop_one",),
    ),
    Defect(
        "gossip-peer-record",
        "pubsub/gossipsub.py:1007",
        "For every message sent, our addresses are found out and compared with those in a signed"
        " record, which is made anew when they differ and sent along; every receiver verifies it.",
        "gossip.pubsub:send_no_peer_records",
        _FRAMES + "no_record_of_our_addresses_is_made_for_a_message",
        ("skip gossip.pubsub:send_no_peer_records",),
    ),
    Defect(
        "gossip-spam-limit",
        "pubsub/gossipsub.py:2894",
        "At most 10 messages a second are taken of each forwarder, whoever wrote them, our own"
        " included; the rest is dropped silently.",
        "gossip.router:ROUTER_OPTIONS",
        _GOSSIP + "a_forwarder_may_relay_more_than_ten_messages_a_second",
        ("drop gossip.router:ROUTER_OPTIONS.spam_protection_enabled",),
    ),
    Defect(
        "gossip-heartbeat-crash",
        "pubsub/gossipsub.py:1312",
        "Any exception in one heartbeat ends the service, hence the node.",
        "gossip.router:HardenedGossipSub.heartbeat",
        _ALONE + "an_exception_in_one_heartbeat_does_not_end_the_node",
        ("delete gossip.router:HardenedGossipSub.heartbeat",),
    ),
    Defect(
        "gossip-equivocation-memory",
        "pubsub/gossipsub.py:2928, 3541",
        "Up to 1,000 whole messages are kept to notice that an author contradicts itself: 60 of 900"
        " KB are 58 MiB.",
        "gossip.router:HardenedGossipSub._check_equivocation",
        _ALONE + "whole_messages_are_not_kept_to_notice_equivocation",
        ("delete gossip.router:HardenedGossipSub._check_equivocation",),
    ),
    Defect(
        "gossip-control-for-others",
        "pubsub/gossipsub.py:1249",
        "Lists of control messages are not emptied between peers: a peer is also grafted to topics,"
        " and offered messages, that were meant for another.",
        "gossip.router:HardenedGossipSub._emit_control_msgs",
        _GOSSIP + "control_messages_go_to_the_peer_they_are_meant_for",
        ("delete gossip.router:HardenedGossipSub._emit_control_msgs",),
    ),
    Defect(
        "gossip-repeated-iwant",
        "pubsub/gossipsub.py:1778",
        "One id repeated 20,000 times in an IWANT is answered 20,000 times.",
        "gossip.router:HardenedGossipSub.handle_iwant",
        _GOSSIP + "an_iwant_that_repeats_itself_is_answered_once",
        ("delete gossip.router:HardenedGossipSub.handle_iwant",),
    ),
    Defect(
        "gossip-endless-back-off",
        "pubsub/gossipsub.py:1894",
        "A back-off is kept for ever for every topic name that anybody makes up.",
        "gossip.router:HardenedGossipSub.handle_prune",
        _GOSSIP + "made_up_topics_in_a_prune_are_not_remembered",
        ("delete gossip.router:HardenedGossipSub.handle_prune",),
    ),
    Defect(
        "gossip-thin-mesh",
        "pubsub/gossipsub.py:1091",
        "One's own messages go to the mesh only. Two members of which one restarts refuse each"
        " other's GRAFT for the back-off of a prune, a minute or more: nothing arrives.",
        "gossip.router:HardenedGossipSub.publish",
        "tests/libp2p/test_libp2p_thin_mesh.py"
        "::test_members_that_may_not_mesh_yet_hear_each_other_at_once",
        ("delete gossip.router:HardenedGossipSub.publish",),
    ),
    Defect(
        "gossip-sequence-numbers",
        "pubsub/pubsub.py:478",
        "Sequence numbers start at whole seconds: after a quick restart with the same key, peers"
        " take new messages for old ones.",
        "gossip.pubsub:HardenedPubsub._number_from",
        _ALONE + "an_author_that_restarts_at_once_is_heard",
        ("skip gossip.pubsub:HardenedPubsub._number_from",),
    ),
    Defect(
        "gossip-thread",
        "tools/timed_cache/base_timed_cache.py:25",
        "The cache of messages that were seen runs a thread for each pubsub, and nobody ends it.",
        "gossip.pubsub:HardenedPubsub._use_own_cache",
        _ALONE + "gossip_runs_no_thread_of_its_own",
        ("skip gossip.pubsub:HardenedPubsub._use_own_cache",),
    ),
)
