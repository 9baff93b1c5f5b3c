"""Bytes between peers: `base` is the seam, `libp2p`, `lan` and `simulated` what stands behind it.

Importing this package, or `base`, loads nothing of libp2p and changes nothing in the process.
"""
