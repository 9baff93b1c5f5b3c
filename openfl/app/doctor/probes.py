"""`Probes`: what checks ask of the machine, each in a place of its own so that a test can answer
for a full disk, a privileged port or a clock that jumps."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from openfl.core.files import read_named

PAUSE_SECONDS = 0.25
"""Over which the two clocks are compared."""


def bind_error(host: str, port: int) -> OSError | None:
    """Why nobody can listen there now; None when a node could. Nothing listens afterwards."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As a node does: connections of the last run that are not quite over are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def room_error(folder: Path, size: int) -> OSError | None:
    """Why a new file of `size` bytes cannot be kept in `folder`; None when it can.

    Where the system knows files without a name, such a one is made and vanishes: that takes
    permissions, quotas and full disks into account, and `folder` is as before. Elsewhere it is only
    asked.
    """
    flag = getattr(os, "O_TMPFILE", 0)
    if flag:
        try:
            handle = os.open(folder, os.O_WRONLY | os.O_CLOEXEC | flag, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                return error
        else:
            try:
                os.posix_fallocate(handle, 0, size)
                return None
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    return error
            finally:
                os.close(handle)
    try:
        told = os.statvfs(folder)
    except OSError as error:
        return error
    if told.f_flag & os.ST_RDONLY:
        return OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not os.access(folder, os.W_OK | os.X_OK):
        return OSError(errno.EACCES, os.strerror(errno.EACCES))
    if told.f_bavail * told.f_frsize < size:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def free_bytes(folder: Path) -> int | None:
    """What is free there; None when that cannot be told."""
    try:
        told = os.statvfs(folder)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


def open_files_limit() -> int | None:
    """How many files a process started from here may have open; None: any number, or unknown."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def memory_left() -> int:
    """Bytes that a new process could have, as far as the system and its container tell."""
    left = int(psutil.virtual_memory().available)
    try:  # of a container with a limit of its own (cgroup v2)
        limit = read_named(Path("/sys/fs/cgroup/memory.max")).strip()
        used = read_named(Path("/sys/fs/cgroup/memory.current")).strip()
        if limit != b"max":
            left = min(left, int(limit) - int(used))
    except (OSError, ValueError):
        pass
    return left


@dataclass(frozen=True, slots=True)
class Probes:
    """See the module's text. `unix_time`, `monotonic`: seconds; `pause(seconds)`: wait."""

    bind_error: Callable[[str, int], OSError | None] = bind_error
    room_error: Callable[[Path, int], OSError | None] = room_error
    free_bytes: Callable[[Path], int | None] = free_bytes
    open_files_limit: Callable[[], int | None] = open_files_limit
    memory_left: Callable[[], int] = memory_left
    unix_time: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
