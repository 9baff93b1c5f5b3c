"""A small internet in network namespaces: a public machine, and homes behind routers.

    public 203.0.113.1 --- router 203.0.113.11 | 10.1.0.1 --- home 10.1.0.2
                      `--- router 203.0.113.12 | 10.2.0.1 --- home 10.2.0.2

The routers forward what their home begins, and what somebody has them forward (`igd`), and drop
what anybody else begins. Needs root, `ip` and
`nft`; everything is gone when the block ends.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
WIDE = "203.0.113"
PUBLIC_ADDRESS = f"{WIDE}.1"
_count = itertools.count()

RULES = """
table inet home {
  chain after { type nat hook postrouting priority 100; oifname "wan" masquerade RANDOM; }
  chain through {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
    ct status dnat accept
  }
  chain to { type filter hook input priority 0; policy accept; iifname "wan" ct state new drop; }
}
"""


@functools.cache
def why_not() -> str | None:
    """Why namespaces cannot be made here; None when they can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "nft"):
        if shutil.which(tool, path=SEARCH) is None:
            return f"needs the program {tool}"
    name = f"ofl{os.getpid()}probe"
    made = subprocess.run([tool_path("ip"), "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"cannot make a network namespace: {made.stderr.strip()}"
    try:
        asked = subprocess.run(
            [tool_path("ip"), "netns", "exec", name, tool_path("nft"), "-c", "-f", "-"],
            input=rules(),
            capture_output=True,
            text=True,
        )
        return f"nft cannot masquerade: {asked.stderr.strip()}" if asked.returncode else None
    finally:
        run("netns", "del", name)


def rules(symmetric: bool = False) -> str:
    return RULES.replace("RANDOM", "random,fully-random" if symmetric else "")


def tool_path(name: str) -> str:
    return shutil.which(name, path=SEARCH) or name


def run(*arguments: str, text: str | None = None, program: str = "ip") -> None:
    done = subprocess.run(
        [tool_path(program), *arguments], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"


@dataclass(frozen=True)
class Internet:
    """All are names of namespaces."""

    public: str
    homes: tuple[str, ...]
    routers: tuple[str, ...]

    def inside(self, name: str) -> tuple[str, ...]:
        """What to put before a command to run it there."""
        return (tool_path("ip"), "netns", "exec", name)


@contextlib.contextmanager
def internet(homes: int = 2, wide: str = WIDE, symmetric: bool = False) -> Iterator[Internet]:
    """As many homes, each behind a router of its own. `wide`: the public /24. A symmetric router
    has a new port at random for every connection, so that nobody knows where to dial."""
    mark = f"ofl{os.getpid()}n{next(_count)}"
    made: list[str] = []

    def namespace(name: str) -> str:
        run("netns", "add", f"{mark}{name}")
        made.append(f"{mark}{name}")
        run("-n", made[-1], "link", "set", "lo", "up")
        return made[-1]

    try:
        public = namespace("p")
        run("-n", public, "link", "add", "br0", "type", "bridge")
        run("-n", public, "addr", "add", f"{wide}.1/24", "dev", "br0")
        run("-n", public, "link", "set", "br0", "up")
        names, routers = [], []
        for number in range(1, homes + 1):
            router, home = namespace(f"r{number}"), namespace(f"h{number}")
            names.append(home)
            routers.append(router)
            _link(public, f"w{number}", router, "wan")
            run("-n", public, "link", "set", f"w{number}", "master", "br0")
            run("-n", router, "addr", "add", f"{wide}.{10 + number}/24", "dev", "wan")
            _link(router, "lan", home, "eth0")
            run("-n", router, "addr", "add", f"10.{number}.0.1/24", "dev", "lan")
            run("-n", home, "addr", "add", f"10.{number}.0.2/24", "dev", "eth0")
            run("-n", home, "route", "add", "default", "via", f"10.{number}.0.1")
            forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
            run("netns", "exec", router, "sh", "-c", forward)
            run("netns", "exec", router, tool_path("nft"), "-f", "-", text=rules(symmetric))
        yield Internet(public, tuple(names), tuple(routers))
    finally:
        for name in reversed(made):
            subprocess.run([tool_path("ip"), "netns", "del", name], capture_output=True)


def _link(near: str, near_name: str, far: str, far_name: str) -> None:
    peer = ("peer", "name", far_name, "netns", far)
    run("-n", near, "link", "add", near_name, "type", "veth", *peer)
    run("-n", near, "link", "set", near_name, "up")
    run("-n", far, "link", "set", far_name, "up")
