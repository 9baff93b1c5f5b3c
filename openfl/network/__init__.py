"""The network adapters: libp2p, and a simulated one. See `base` for what they have in common."""

from openfl.network.libp2p.lazy_imports import postpone_what_no_node_uses

postpone_what_no_node_uses()  # before any of the adapters imports libp2p
