"""`openfl-node` whose clock jumps and whose disk is slow: python with_seams.py FILE start ...

FILE holds two doubles, and whoever runs this changes them at any time: seconds by which the wall
clock is wrong, and seconds that each flush to the disk takes. They stand in for what a machine
does to a process; the node itself knows nothing of them.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from pathlib import Path

FORM = struct.Struct("dd")


def write(file: Path, clock_off: float = 0.0, flush: float = 0.0) -> None:
    """Set both, from outside; a file that exists is changed in place."""
    mode = "r+b" if file.exists() else "wb"
    with file.open(mode) as stream:
        stream.write(FORM.pack(clock_off, flush))


def install(file: Path) -> None:
    with file.open("rb") as stream:
        page = mmap.mmap(stream.fileno(), FORM.size, access=mmap.ACCESS_READ)
    true_time, true_time_ns, true_fsync = time.time, time.time_ns, os.fsync

    def fsync(handle: int) -> None:
        time.sleep(FORM.unpack_from(page)[1])
        true_fsync(handle)

    time.time = lambda: true_time() + FORM.unpack_from(page)[0]
    time.time_ns = lambda: true_time_ns() + int(FORM.unpack_from(page)[0] * 1e9)
    os.fsync = fsync


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    from openfl_cli.main import run

    sys.exit(run(sys.argv[2:]))
