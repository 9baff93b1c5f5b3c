"""Of the DHT and the peer store."""

from __future__ import annotations

from openfl.network.libp2p.defects.row import Defect

_ALONE = "tests/libp2p/test_defects.py::test_"
_CONNECTIONS = "tests/libp2p/test_libp2p_connection_defects.py::test_"

DHT: tuple[Defect, ...] = (
    Defect(
        "dht-protocol",
        "kad_dht/kad_dht.py:340",
        "`KadDHT(protocol_prefix=...)` is ignored: every node would join the public IPFS DHT. The"
        " protocol id is a constant that five modules import.",
        "dht:use_own_protocol",
        _CONNECTIONS + "our_dht_is_not_the_public_one",
        ("skip dht:use_own_protocol",),
    ),
    Defect(
        "dht-full-key",
        "kad_dht/provider_store.py:586",
        "A key with 20 providers refuses every newer one for two days; the number of keys, and of"
        " addresses in a record, has no bound.",
        "dht:BoundedProviderStore.add_provider",
        _ALONE + "a_key_with_twenty_providers_takes_a_newer_one",
        ("delete dht:BoundedProviderStore.add_provider",),
    ),
    Defect(
        "dht-local-answer",
        "kad_dht/provider_store.py:372",
        "A lookup is answered from one's own store when that holds any record: a member that"
        " provides a key, then looks it up, finds itself or a few stale ones.",
        "dht:BoundedProviderStore.find_providers",
        _ALONE + "a_lookup_asks_the_network_whatever_is_known_here",
        ("delete dht:BoundedProviderStore.find_providers",),
    ),
    Defect(
        "dht-few-queries",
        "kad_dht/kad_dht.py:323",
        "At most 12 queries are answered at once, further ones are reset, and a peer whose stream"
        " failed is dropped from the routing table: eight nodes that start together lose each"
        " other.",
        "dht:let_in_more_queries",
        _ALONE + "a_dht_with_twenty_silent_streams_still_answers",
        ("skip dht:let_in_more_queries",),
    ),
    Defect(
        "dht-silent-stream",
        "kad_dht/kad_dht.py:594",
        "A stream without a query keeps its place for ever; 64 of one peer close the DHT.",
        "dht:_bounded",
        _ALONE + "a_dht_stream_without_a_query_is_given_up",
        ("pass dht:_bounded",),
    ),
    Defect(
        "dht-empty-table",
        "host/basic_host.py:1241",
        "Nobody is told that a peer was identified: after being dialled the routing table stays"
        " empty, until a refresh in 10 minutes.",
        "network:Libp2pNetwork._identified",
        _CONNECTIONS + "a_peer_that_dialled_us_enters_the_routing_table",
        ("skip network:Libp2pNetwork._identified",),
    ),
    Defect(
        "peer-addresses",
        "peer/peerdata.py:100",
        "The addresses of a peer only ever grow, by 1,000 with each message of identify, and each"
        " new one is compared with all of them.",
        "dht:PlainPeerStore.add_addrs",
        _ALONE + "the_addresses_of_a_peer_do_not_grow_without_end",
        ("delete dht:PlainPeerStore.add_addrs",),
    ),
    Defect(
        "peer-store-forgets-us",
        "peer/peerstore.py:201",
        "Peers without addresses are forgotten first, and that is ourselves: once 1,000 peers were"
        " heard of, which takes one liar a few answers, a node loses its own keys.",
        "dht:PlainPeerStore._enforce_peer_limit",
        _ALONE + "a_node_that_heard_of_thousands_keeps_its_own_keys",
        ("delete dht:PlainPeerStore._enforce_peer_limit",),
    ),
    Defect(
        "dht-provides-again",
        "kad_dht/provider_store.py:237",
        "Whoever provides a key walks to the peers closest to it and tells each of them, also those"
        " it told a moment ago, with a signed record nobody needs.",
        "dht:BoundedProviderStore.provide",
        "tests/libp2p/test_libp2p_dht.py::test_a_provide_right_after_a_lookup_asks_nobody_again",
        ("delete dht:BoundedProviderStore.provide",),
    ),
)
