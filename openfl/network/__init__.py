"""The network adapters: libp2p, and a simulated one. See `base` for what they have in common."""

from openfl.network._unused_later import postpone_what_no_node_uses

postpone_what_no_node_uses()  # before any of the adapters imports libp2p
