"""A LAN in network namespaces: machines at one switch, with multicast, and no way out.

Needs root and `ip`; everything is gone when the block ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator

from tests.netns.nat_rig import run, tool_path, why_not

__all__ = ["address", "inside", "lan", "why_not"]

_count = itertools.count()


def address(number: int) -> str:
    """Of the machine with that number, the first being 0."""
    return f"10.78.0.{number + 1}"


def inside(name: str) -> tuple[str, ...]:
    """What to put before a command to run it on that machine."""
    return (tool_path("ip"), "netns", "exec", name)


@contextlib.contextmanager
def lan(machines: int) -> Iterator[tuple[str, ...]]:
    """The names of so many namespaces."""
    mark = f"ofl{os.getpid()}l{next(_count)}"
    switch, names = f"{mark}s", tuple(f"{mark}m{n}" for n in range(machines))
    made: list[str] = []
    try:
        for name in (switch, *names):
            run("netns", "add", name)
            made.append(name)
            run("-n", name, "link", "set", "lo", "up")
        run("-n", switch, "link", "add", "br0", "type", "bridge")
        run("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names):
            peer = ("peer", "name", "eth0", "netns", name)
            run("-n", switch, "link", "add", f"p{number}", "type", "veth", *peer)
            run("-n", switch, "link", "set", f"p{number}", "master", "br0")
            run("-n", switch, "link", "set", f"p{number}", "up")
            run("-n", name, "addr", "add", f"{address(number)}/24", "dev", "eth0")
            run("-n", name, "link", "set", "eth0", "up")
            run("-n", name, "route", "add", "default", "dev", "eth0")
        yield names
    finally:
        for name in reversed(made):
            subprocess.run([tool_path("ip"), "netns", "del", name], capture_output=True)
