"""A disk of a few megabytes, in a mount namespace of its own: it can be full, or read-only.

The namespace belongs to a process that only waits, so that the disk outlives the nodes on it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.netns.nat_rig import tool_path
from tests.process_rig import until


class SmallDisk:
    """`inside`: what to put before a command for which the disk is there; `seen(path)`: where a
    path is for everybody else."""

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder
        self._root = Path(f"/proc/{holder}/root")
        self.inside = (tool_path("nsenter"), "-m", "-t", str(holder))

    def seen(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def fill(self) -> None:
        """Nothing more can be written."""
        with self._filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(4096))

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, how: str) -> None:
        """`ro` or `rw`; waits while something on it is open for writing."""
        command = [*self.inside, tool_path("mount"), "-o", f"remount,{how}", str(self.folder)]
        until(lambda: not subprocess.run(command, capture_output=True).returncode, f"remount {how}")

    @property
    def _filler(self) -> Path:
        return self.seen(self.folder) / "filler"


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 8) -> Iterator[SmallDisk]:
    """`folder` is such a disk within the namespace, with what was in it before."""
    copy = folder.with_name(f"{folder.name}-before")
    shutil.copytree(folder, copy)
    mount = f"mount -t tmpfs -o size={megabytes}m none '{folder}' && cp -r '{copy}/.' '{folder}'"
    holder = subprocess.Popen(
        [tool_path("unshare"), "-m", "sh", "-c", f"{mount} && echo ready && exec sleep infinity"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield SmallDisk(folder, holder.pid)
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
        assert os.path.isdir(copy)
        shutil.rmtree(copy)
