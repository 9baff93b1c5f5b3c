"""`openfl-node` that counts what it does on the wire, for frames.py.

SIGUSR2 writes the counts since start to counts.json in the current folder. With BENCH_PROFILE in
the environment the first SIGRTMIN begins a profile (processor time of the main thread) and the
second writes it to profile.txt there; with BENCH_CRASHES the tracebacks of stream handlers go to
stderr. Counted are calls of the system for TCP, frames of Yamux by kind, and signatures made, in
libraries: so any version of this project can be counted.
"""

from __future__ import annotations

import cProfile
import io
import json
import logging
import os
import pstats
import signal
import socket
import struct
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import trio
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.host.basic_host import BasicHost
from libp2p.security.secure_session import SecureSession

COUNTS: Counter[str] = Counter()
KINDS = ("data", "window-update", "ping", "go-away")
_HEADER = struct.Struct("!BBHII")


def _count_calls(name: str, method: str) -> None:
    kind: Any = trio._socket._SocketType
    inner = getattr(kind, method)

    async def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.type == socket.SOCK_STREAM and self.family in (socket.AF_INET, socket.AF_INET6):
            COUNTS[name] += 1
        return await inner(self, *arguments, **keywords)

    setattr(kind, method, counted)


def _count_frames(data: bytes) -> None:
    """Negotiation, which comes before Yamux, begins with a length that is no version."""
    place = 0
    while place + _HEADER.size <= len(data) and data[place] == 0:
        _, kind, flags, _, length = _HEADER.unpack_from(data, place)
        if kind >= len(KINDS):
            return
        COUNTS[f"frames-{KINDS[kind]}" + ("-flags" if flags and kind < 2 else "")] += 1
        place += _HEADER.size + (length if kind == 0 else 0)


class _Crashes(logging.Handler):
    """Tracebacks of what ended a stream, to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.exc_info()[0] is not None:
            sys.stderr.write(f"crash: {record.getMessage()}\n{traceback.format_exc()}\n")


def _install() -> None:
    _count_calls("tcp-send", "send")
    _count_calls("tcp-recv", "recv")
    write = SecureSession.write

    async def counted_write(self: Any, data: bytes) -> None:
        COUNTS["writes"] += 1
        _count_frames(data)
        await write(self, data)

    SecureSession.write = counted_write
    sign = Ed25519PrivateKey.sign

    def counted_sign(self: Any, data: bytes) -> bytes:
        COUNTS["signatures"] += 1
        signature: bytes = sign(self, data)
        return signature

    Ed25519PrivateKey.sign = counted_sign
    opened = BasicHost.new_stream

    async def counted_stream(self: Any, peer_id: Any, protocols: Any, *more: Any) -> Any:
        COUNTS[f"stream-{protocols[0]}"] += 1
        return await opened(self, peer_id, protocols, *more)

    BasicHost.new_stream = counted_stream
    profile: list[cProfile.Profile] = []

    def dump(number: int, frame: Any) -> None:
        path = Path("counts.json.new")
        path.write_text(json.dumps(COUNTS))
        path.replace("counts.json")

    def toggle(number: int, frame: Any) -> None:
        if not profile:
            profile.append(cProfile.Profile(time.thread_time))
            profile[0].enable()
            return
        profile[0].disable()
        text = io.StringIO()
        statistics = pstats.Stats(profile[0], stream=text)
        statistics.sort_stats("tottime").print_stats(70)
        statistics.sort_stats("cumulative").print_stats(120)
        Path("profile.txt.new").write_text(text.getvalue())
        Path("profile.txt.new").replace("profile.txt")

    signal.signal(signal.SIGUSR2, dump)
    if os.environ.get("BENCH_CRASHES"):
        for module in ("swarm", "request_response"):
            log = logging.getLogger(f"openfl.network.libp2p.{module}")
            log.setLevel(logging.DEBUG)
            log.addHandler(_Crashes())
    if os.environ.get("BENCH_PROFILE"):
        signal.signal(signal.SIGRTMIN, toggle)


if __name__ == "__main__":
    _install()
    from openfl_cli.main import main

    main()
