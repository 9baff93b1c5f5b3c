"""Nodes that cannot be dialled: AutoNAT, relays, hole punching, a change of address."""
