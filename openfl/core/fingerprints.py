"""A peer id in a form that two people can compare: read out over the telephone, or side by side."""

from __future__ import annotations

import base64
import hashlib

GROUPS, LETTERS = 4, 4
"""16 letters of 5 bits: whoever wants a key with the fingerprint of another tries 2^80 of them."""


def fingerprint(peer_id: str) -> str:
    """`k3mf-9q2x-7hht-2b4c`: 80 bits of SHA-256 of the peer id, without l, o, 0 and 1."""
    digest = hashlib.sha256(b"openfl peer id\n" + peer_id.encode()).digest()
    text = base64.b32encode(digest[: GROUPS * LETTERS * 5 // 8]).decode().lower()
    # The alphabet of base 32 is a-z and 2-7; l and o are read as 1 and 0.
    text = text.translate(str.maketrans("lo", "89"))
    return "-".join(text[n : n + LETTERS] for n in range(0, len(text), LETTERS))
