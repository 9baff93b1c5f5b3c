"""How much has come and has not been handled yet: what an overloaded node is behind by."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    fcntl = termios = None  # type: ignore[assignment]


def unread_of_socket(socket: Any) -> int:
    """Bytes that the system holds for us; 0 where it cannot be asked, or the socket is closed."""
    if fcntl is None:
        return 0
    try:
        answer = fcntl.ioctl(socket.fileno(), termios.FIONREAD, b"\0\0\0\0")
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])


def upper(amounts: Iterable[int]) -> int:
    """What a quarter of them are above, at most: one that floods this node, or a few, say nothing
    of how it keeps up with the others. 0 when there are none."""
    ordered = sorted(amounts)
    return ordered[(3 * len(ordered) - 1) // 4] if ordered else 0
