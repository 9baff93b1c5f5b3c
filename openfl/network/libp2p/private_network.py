"""Private networks: a key that all nodes share, without which none of them answers.

The key file is the usual one of libp2p (`swarm.key`):

    /key/swarm/psk/1.0.0/
    /base16/
    <64 hexadecimal digits>

and the cipher that of the specification (libp2p specs, pnet/Private-Networks-PSK-V1.md): each side
sends a nonce of 24 bytes, then every byte goes through XSalsa20 (defect private-network-cipher).
This keeps strangers out; it is not what keeps traffic secret: Noise or TLS runs inside.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import struct
from pathlib import Path
from shlex import quote

from openfl.core.errors import StateError
from openfl.core.files import open_named

KEY_BYTES = 32
NONCE_BYTES = 24
_MAX_FILE_BYTES = 1024
_HEADER = ("/key/swarm/psk/1.0.0/", "/base16/")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_WORDS = struct.Struct("<4I")
_BLOCK = struct.Struct("<8I")
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
_MASK = 0xFFFFFFFF


def generate_network_key() -> str:
    """The text of a new key file."""
    return "\n".join((*_HEADER, secrets.token_hex(KEY_BYTES))) + "\n"


def load_network_key(path: Path) -> bytes:
    """The 32 bytes of a key file.

    StateError when it cannot be read, can be read by others than its owner, or holds no key.
    """
    try:
        with open_named(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise StateError(
                    f"network key {path} can be read by others (mode {mode:04o});"
                    f" run: chmod 600 {quote(str(path))}"
                )
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StateError(
            f"network key {path}: {error.strerror or error}"
            " (make one with: openfl-node network-key FILE)"
        ) from error
    lines = data.decode("ascii", errors="replace").split()
    if len(lines) != 3 or tuple(lines[:2]) != _HEADER or not _HEX.fullmatch(lines[2]):
        raise StateError(
            f"network key {path} is not a key file (the lines {_HEADER[0]}, {_HEADER[1]} and 64"
            " hexadecimal digits); make one with: openfl-node network-key FILE"
        )
    return bytes.fromhex(lines[2])


class XSalsa20:
    """The key stream of one direction of a connection, from its first byte on."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        """`key`: 32 bytes; `nonce`: 24 bytes, never used twice with one key."""
        if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
            raise ValueError("a key has 32 bytes and a nonce 24")
        # Here: nodes without a network key need not load it.
        from Crypto.Cipher import Salsa20

        # XSalsa20 (Bernstein 2011, "Extending the Salsa20 nonce"): the first 16 bytes of the nonce
        # make a key of its own, with which Salsa20 runs on the last 8.
        self._cipher = Salsa20.new(key=_hsalsa20(key, nonce[:16]), nonce=nonce[16:])

    def apply(self, data: bytes) -> bytes:
        """`data` encrypted, or decrypted: it is the same."""
        done: bytes = self._cipher.encrypt(data)
        return done


def _hsalsa20(key: bytes, block: bytes) -> bytes:
    k, n = _BLOCK.unpack(key), _WORDS.unpack(block)
    c = _CONSTANTS
    x = [c[0], *k[:4], c[1], *n, c[2], *k[4:], c[3]]
    for _ in range(10):
        for start in range(4):  # columns, then rows
            _quarter(x, *((start * 5 + 4 * step) % 16 for step in range(4)))
        for start in range(4):
            _quarter(x, *(start * 4 + (start + step) % 4 for step in range(4)))
    return _BLOCK.pack(x[0], x[5], x[10], x[15], *x[6:10])


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for target, one, other, bits in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
        total = (x[one] + x[other]) & _MASK
        x[target] ^= ((total << bits) | (total >> (32 - bits))) & _MASK
