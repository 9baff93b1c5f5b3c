"""Of what concerns the whole process: the clock, the log, imports."""

from __future__ import annotations

from openfl.network.libp2p.defects.row import Defect

_ALONE = "tests/libp2p/test_defects.py::test_"

PROCESS: tuple[Defect, ...] = (
    Defect(
        "wall-clock",
        "time.time() in pubsub/gossipsub.py and six more",
        "What takes or lasts is measured by the wall clock: when that is set back by a day, a pause"
        " of ten seconds before a peer may come into the mesh again lasts a day, and the connection"
        " that died takes the place of the one that was made since.",
        "clock:use_steady_time",
        "tests/libp2p/test_libp2p_clock.py"
        "::test_after_the_clock_is_set_back_a_pause_before_the_mesh_is_no_longer_than_it_was",
        ("skip network:use_steady_time",),
    ),
    Defect(
        "log-on-stderr",
        "utils/logging.py:122",
        "py-libp2p's logger has no handler: warnings go to stderr, through the live view.",
        "logs:take_its_log",
        _ALONE + "a_warning_of_libp2p_does_not_reach_the_terminal",
        ("skip logs:take_its_log",),
    ),
    Defect(
        "log-at-the-root",
        "network/connection/swarm_connection.py:85",
        "Warnings go to the root logger, which installs a handler there.",
        "logs:name_its_nameless_logger",
        _ALONE + "nothing_is_logged_at_the_root",
        ("skip logs:name_its_nameless_logger",),
    ),
    Defect(
        "log-false-alarm",
        "kad_dht/kad_dht.py:661",
        "The normal end of a DHT stream is a warning with an empty reason.",
        "logs:is_false_alarm",
        _ALONE + "the_normal_end_of_a_dht_stream_is_no_warning",
        ("skip logs:is_false_alarm", "pass dht:_bounded"),
    ),
    Defect(
        "imports-unused",
        "__init__.py, host/basic_host.py (their imports)",
        "QUIC, WebSocket, RSA, name resolution, Prometheus, AutoTLS and mDNS are imported with the"
        " host, whatever is switched on: 36 MB and 0.3 s of processor time for every node.",
        "lazy_imports:postpone_what_no_node_uses",
        "tests/libp2p/test_libp2p_unused_later.py"
        "::test_the_libp2p_adapter_does_not_load_what_no_node_uses",
        ("skip lazy_imports:postpone_what_no_node_uses",),
    ),
    Defect(
        "mdns-thread",
        "discovery/mdns/",
        "What multicast DNS hears is written into the peer store from zeroconf's thread.",
        "openfl.network.lan.mdns:LanDiscovery",
        "tests/libp2p/test_libp2p_mdns.py::test_no_bytes_do_harm",
        unjudged="our own stands beside py-libp2p's, which is never started",
    ),
)
