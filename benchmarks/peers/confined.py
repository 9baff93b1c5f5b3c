"""Running a measurement so that it meets nobody else and leaves nothing behind.

On Linux, where an ordinary user may: in a network namespace of its own, so that the bytes on its
loopback interface are those of the nodes alone and nothing can leave the machine, and in a process
namespace of its own, so that the kernel ends all that was started in it when its first process
ends, however that happens. Elsewhere: in a session of its own, whose processes are ended one by
one, and on the loopback interface that everybody uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import psutil

UNSHARE = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
INSIDE = "PEERS_CONFINED"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


@cache
def can_confine() -> bool:
    """Whether this user may make such namespaces here."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def run_confined(
    command: Sequence[str], environment: dict[str, str], log: Path, timeout: float
) -> int | None:
    """Run `command`, its output in `log`; its exit code, or None when it took longer than `timeout`
    seconds. Whatever it started is gone afterwards, also after an interrupt."""
    confine = can_confine()
    marked = environment | ({INSIDE: "1"} if confine else {})
    argv = [*UNSHARE, *command] if confine else list(command)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            argv, env=marked, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            return process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if confine:  # takes the namespace, and all in it, with it
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            else:
                end_tree(process.pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # those whose parents are gone
            process.wait(timeout=30)


def end_tree(pid: int) -> None:
    """SIGKILL to a process and all its descendants."""
    try:
        root = psutil.Process(pid)
        doomed = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(doomed, timeout=10)


def loopback_up() -> None:
    """In a network namespace that was just made, loopback is down."""
    if INSIDE not in os.environ:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", answer, 16)
        request = struct.pack("16sH14x", b"lo", flags | _IFF_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def loopback_bytes(text: str | None = None) -> int | None:
    """Bytes sent over loopback so far, headers included; `text`: of /proc/net/dev. None where the
    system does not say."""
    if text is None:
        try:
            text = Path("/proc/net/dev").read_text()
        except OSError:
            return None
    for line in text.splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() == "lo":
            return int(numbers.split()[8])
    return None


def processor_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and all their descendants that live."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
    return total


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
