"""Of sockets, encryption, Yamux, the swarm and its stream handlers."""

from __future__ import annotations

from openfl.network.libp2p.defects.row import Defect

_ALONE = "tests/libp2p/test_defects.py::test_"
_FRAMES = "tests/libp2p/test_libp2p_frames.py::test_"
_CONNECTIONS = "tests/libp2p/test_libp2p_connection_defects.py::test_"
_GUARD = "pass swarm:HardenedSwarm.guard"
_DIAL = (
    "swap swarm:HardenedSwarm.dial_addresses for tests.upstream:dial_addresses",
    "delete swarm:HardenedSwarm.dial_peer",
)

CONNECTIONS: tuple[Defect, ...] = (
    Defect(
        "announced-length",
        "io/trio.py:54",
        "The number of bytes to read is what a stranger announced (2^60 in its first bytes will"
        " do), and the system's buffer is made in that size: MemoryError.",
        "transport:CountingStream.read",
        "tests/libp2p/test_libp2p_access.py"
        "::test_a_length_that_a_stranger_announces_is_not_what_memory_is_made_for",
        ("delete transport:CountingStream.read",),
    ),
    Defect(
        "negotiation-length",
        "utils/varint.py (read_delim)",
        "A message of protocol negotiation, from anybody before any handshake, may announce any"
        " length, and is collected until it is complete or the time is up: 200 MB in two seconds.",
        "transport:bound_negotiation",
        _ALONE + "a_negotiation_message_of_any_length_is_not_collected",
        ("skip transport:bound_negotiation",),
    ),
    Defect(
        "sockets-left-open",
        "network/connection/swarm_connection.py:85",
        "A connection whose own clean-up was cancelled counts as closed while its socket is open.",
        "transport:Traffic.close_sockets",
        _ALONE + "a_network_that_is_closed_in_no_time_leaves_no_socket_open",
        ("skip transport:Traffic.close_sockets",),
    ),
    Defect(
        "shared-port",
        "transport/tcp/tcp.py:59",
        "Listening sockets have SO_REUSEPORT: a second node on the same port starts without an"
        " error, and the two share the connections at random.",
        "transport:BoundListener",
        _CONNECTIONS + "a_port_in_use_is_named",
        unjudged="ports are taken by `listening.bind` before the host starts, so that without"
        " BoundListener nothing listens at all",
    ),
    Defect(
        "names-without-resolver",
        "transport/tcp/tcp.py:370",
        "Name servers are asked directly: names of /etc/hosts and of the local network are not"
        " found.",
        "transport:TcpTransport.dial",
        "tests/libp2p/test_libp2p_names.py::test_a_name_that_the_system_knows_is_dialled",
        ("delete transport:TcpTransport.dial",),
    ),
    Defect(
        "connection-type",
        "io/abc.py:94",
        "What kind of connection a TLS connection runs over cannot be asked: AttributeError, for"
        " TLSReadWriter has no `conn`. Noise hands it on.",
        "muxer:HardenedYamux.get_connection_type",
        _ALONE + "a_tls_connection_says_what_it_runs_over",
        ("delete muxer:HardenedYamux.get_connection_type",),
    ),
    Defect(
        "muxer-crash",
        "stream_muxer/yamux/yamux.py:744",
        "An exception in a task of the muxer ends the swarm's service, hence the node.",
        "muxer:HardenedYamux.start",
        _ALONE + "an_exception_in_the_muxer_ends_that_connection_only",
        ("delete muxer:HardenedYamux.start",),
    ),
    Defect(
        "muxer-class",
        "stream_muxer/muxer_multistream.py:143",
        "`Yamux` itself is built whatever class is given.",
        "upgrading:YamuxUpgrader.upgrade_connection",
        _CONNECTIONS + "a_peer_that_ignores_flow_control_loses_its_connection",
        unjudged="our connections take more arguments than a class that is given could be told",
    ),
    Defect(
        "cancelled-write",
        "stream_muxer/yamux/yamux.py:851",
        "A cancelled write leaves half an encrypted frame on the wire, which ends the whole"
        " connection for everybody else.",
        "muxer:HardenedYamux._write_frame",
        _CONNECTIONS + "a_cancelled_write_leaves_no_half_frame",
        ("delete muxer:HardenedYamux._write_frame",),
    ),
    Defect(
        "window-ignored",
        "stream_muxer/yamux/yamux.py:1177",
        "A peer that ignores the receive window is only logged, and its bytes are kept.",
        "muxer:HardenedYamux._bound_what_is_buffered",
        _ALONE + "what_a_peer_sends_beyond_every_window_is_not_kept",
        ("skip muxer:HardenedYamux._bound_what_is_buffered",),
    ),
    Defect(
        "silent-peer",
        "stream_muxer/yamux/yamux.py:703",
        "Nobody closes a connection whose peer no longer answers (a pulled cable): it stays in the"
        " mesh and in the routing table until TCP gives up after a quarter of an hour.",
        "muxer:HardenedYamux._measure_rtt_loop",
        _ALONE + "a_connection_whose_peer_answers_no_ping_is_closed",
        ("delete muxer:HardenedYamux._measure_rtt_loop",),
    ),
    Defect(
        "certificate-extensions",
        "security/tls/certificate.py:190",
        "Two extensions come before libp2p's own in our certificate, and js-libp2p looks at the"
        " first one only: it refuses every TLS handshake with us.",
        "upgrading:bare_certificate",
        _ALONE + "libp2ps_extension_is_the_first_of_our_certificate",
        ("skip upgrading:bare_certificate",),
    ),
    Defect(
        "private-network-cipher",
        "security/pnet/psk_conn.py:28",
        "Private networks use Salsa20 with a nonce of 8 bytes, which no other implementation"
        " understands, and fail when the nonce arrives in two pieces.",
        "private_network:XSalsa20",
        _ALONE + "a_private_network_begins_with_what_the_specification_says",
        ("swap swarm:protect for tests.upstream:protect",),
    ),
    Defect(
        "inbound-places",
        "network/swarm.py:2060",
        "The handler of an inbound connection waits until the whole swarm ends: after"
        " `max_connections` visitors, however short, a node accepts nobody any more.",
        "swarm:HardenedSwarm._do_handle_inbound_connection",
        _CONNECTIONS + "places_of_peers_that_left_are_given_to_others",
        ("delete swarm:HardenedSwarm._do_handle_inbound_connection",),
    ),
    Defect(
        "trim-spares-new",
        "network/swarm.py:2867",
        "Of the connections of one peer, only those older than 20 s are trimmed: one identity can"
        " take all places of a node at once.",
        "swarm:HardenedSwarm._trim_connections",
        _CONNECTIONS + "one_identity_cannot_take_all_places",
        ("delete swarm:HardenedSwarm._trim_connections",),
    ),
    Defect(
        "trim-counts-closed",
        "network/swarm.py:2857",
        "Connections that are closed and still listed count: a js peer, which opens a circuit for"
        " each request and aborts it in favour of its first one, lost that one.",
        "swarm:HardenedSwarm._trim_connections",
        _CONNECTIONS + "a_connection_outlives_those_beside_it_that_are_closed_and_still_listed",
        ("delete swarm:HardenedSwarm._trim_connections",),
    ),
    Defect(
        "dial-one-address",
        "network/swarm.py:868",
        "Of several TCP addresses one is tried, and any other is preferred to loopback.",
        "swarm:HardenedSwarm.dial_addresses",
        _ALONE + "every_address_of_a_peer_is_tried",
        _DIAL,
    ),
    Defect(
        "dial-blocked-after-failure",
        "network/swarm.py:752",
        "A peer that could not be reached is not dialled again for a minute, whatever new address"
        " is known.",
        "swarm:HardenedSwarm.dial_addresses",
        _ALONE + "a_peer_that_could_not_be_reached_is_dialled_at_its_new_address",
        _DIAL,
    ),
    Defect(
        "auto-connector",
        "network/auto_connector.py:262",
        "Whomever the peer store has heard of is dialled, up to half of `max_connections`, whatever"
        " the watermarks are.",
        "swarm:dial_nobody_unasked",
        _CONNECTIONS + "nobody_is_dialled_unasked",
        ("skip swarm:dial_nobody_unasked",),
    ),
    Defect(
        "handler-crash",
        "network/connection/swarm_connection.py:309",
        "An exception in any stream handler (identify, DHT, pubsub or ours) ends the swarm's"
        " service, hence the node.",
        "swarm:HardenedSwarm.guard",
        _ALONE + "an_exception_in_a_stream_handler_does_not_end_the_node",
        (_GUARD,),
        issue="https://github.com/libp2p/py-libp2p/issues/417",
    ),
    Defect(
        "stream-kept",
        "stream_muxer/yamux/yamux.py (YamuxStream.close)",
        "A stream is kept until the peer closes it, too, or for as long as there is the connection:"
        " a peer that asks and never closes makes a node keep any number of them.",
        "swarm:_see_off",
        _CONNECTIONS + "streams_that_a_peer_never_closes_are_given_up",
        ("skip swarm:_see_off",),
    ),
    Defect(
        "identify-length",
        "identity/identify_push/identify_push.py:71",
        "A pushed identify message may have 1 MiB, and what is wrong in it is logged as an error of"
        " ours.",
        "identify:push_handler",
        _ALONE + "an_identify_message_of_half_a_megabyte_is_not_taken",
        ("swap swarm:push_handler for tests.upstream:push_handler",),
    ),
    Defect(
        "autonat-known-connection",
        "host/autonat/autonat.py",
        "A dial-back is content with the connection the request came over: everybody is called"
        " reachable.",
        "nat.reachability:Reachability",
        "tests/libp2p/test_libp2p_relay.py"
        "::test_to_be_reached_at_an_address_that_nobody_is_told_is_not_enough",
        unjudged="our own AutoNAT stands beside py-libp2p's, which is never started",
    ),
    Defect(
        "small-reads",
        "utils/varint.py",
        "Length prefixes are read byte by byte.",
        "streams:StreamReader",
        "tests/libp2p/test_libp2p_gossip_defects.py::test_a_burst_of_messages_arrives_complete",
        unjudged="what is read is right; it only takes longer",
    ),
    Defect(
        "window-updates",
        "stream_muxer/yamux/yamux.py:405",
        "Every read is answered with a frame that opens the peer's window, by twice what was read:"
        " a node sent as many of these as frames with data.",
        "muxed_stream:HardenedYamuxStream.read",
        _FRAMES + "reads_are_not_answered_with_a_frame_each",
        ("delete muxed_stream:HardenedYamuxStream.read",),
    ),
    Defect(
        "full-frames",
        "stream_muxer/yamux/yamux.py:247",
        "A full frame is 17 bytes longer than a Noise message: two messages, and two calls of the"
        " system, for each. Whoever waits for room in the window asks for it a hundred times a"
        " second.",
        "muxed_stream:HardenedYamuxStream.write",
        _FRAMES + "a_full_frame_fits_one_encrypted_message",
        ("delete muxed_stream:HardenedYamuxStream.write",),
    ),
    Defect(
        "frame-calls",
        "io/msgio.py:23",
        "The length of an encrypted message and the message are read from the socket by"
        " themselves: twice as many calls of the system as there are messages, or more.",
        "transport:CountingStream.read",
        _FRAMES + "a_frame_is_read_with_one_call_of_the_system",
        ("delete transport:CountingStream.read",),
    ),
    Defect(
        "flags-beside-ack",
        "stream_muxer/yamux/yamux.py:1387",
        "The end of a stream, or that it is broken off, is not seen in a frame that also"
        " acknowledges it: such a stream stays open.",
        "muxer:HardenedYamux.handle_incoming",
        _FRAMES + "a_stream_that_its_peer_breaks_off_in_its_first_frame_is_over",
        ("delete muxer:HardenedYamux.handle_incoming",),
    ),
    Defect(
        "reset-lost",
        "stream_muxer/yamux/yamux.py (YamuxStream.reset)",
        "A stream that is reset by somebody who is given up, or has no time to wait for its turn"
        " to write, is not reset at the peer: there it counts as slow, and is held against us.",
        "muxed_stream:HardenedYamuxStream.reset",
        _FRAMES + "a_stream_that_is_reset_while_others_write_is_reset_at_the_peer",
        ("delete muxed_stream:HardenedYamuxStream.reset",),
    ),
    Defect(
        "negotiation-waits",
        "protocol_muxer/multiselect_client.py:101",
        "Whoever opens a connection or a stream waits for the other's greeting before it proposes a"
        " protocol: a round trip more, and a frame.",
        "negotiation:EagerClient",
        "tests/libp2p/test_libp2p_dht.py::test_the_first_protocol_is_proposed_with_the_greeting",
        ("delete negotiation:EagerClient.select_one_of",),
    ),
    Defect(
        "frame-overhead",
        "stream_muxer/yamux/yamux.py (handle_incoming)",
        "For each frame several lines of a log are written out that nobody reads, and locks that"
        " are free are taken by way of trio's scheduler: half of the processor time of a gossip"
        " message.",
        "muxer:HardenedYamux.handle_incoming",
        _FRAMES + "frames_come_in_any_pieces",
        unjudged="what is read is right; it only takes longer",
    ),
)
