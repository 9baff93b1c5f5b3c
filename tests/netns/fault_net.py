"""A small internet that can be broken: every node in a namespace of its own, all behind one hub.

    node 1  10.77.1.2 --- 10.77.1.1 \\
    node 2  10.77.2.2 --- 10.77.2.1  hub: forwards, drops, delays
    node 3  10.77.3.2 --- 10.77.3.1 /

Needs root, `ip` and `nft`; everything is gone when the block ends. There is no `netem` on many
machines, so that latency is made by a forwarder of TCP connections at the hub (`delaying_hub`).
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.netns.nat_rig import run, tool_path

PORT = 4001
FORWARDER_PORT = 9999
_count = itertools.count()

_TABLE = """
table inet faults {{
  chain through {{
    type filter hook forward priority 0;
{forward}
  }}
  chain before {{
    type nat hook prerouting priority -100;
{prerouting}
  }}
}}
"""


class FaultNet:
    """Nodes count from 0; `hub` and `nodes` are names of namespaces."""

    def __init__(self, hub: str, nodes: Sequence[str]) -> None:
        self.hub = hub
        self.nodes = tuple(nodes)
        self._hosts = [2] * len(nodes)
        self._forwarder: subprocess.Popen[bytes] | None = None

    def inside(self, node: int) -> tuple[str, ...]:
        """What to put before a command to run it on that node."""
        return (tool_path("ip"), "netns", "exec", self.nodes[node])

    def partition(self, *sides: Sequence[int]) -> None:
        """Nothing passes between nodes of different sides: packets vanish, nobody is told."""
        rules = []
        for here, there in itertools.permutations(sides, 2):
            near, far = self._networks(here), self._networks(there)
            rules.append(f"ip saddr {{ {near} }} ip daddr {{ {far} }} drop")
        self._rule(rules)

    def lose(self, percent: int) -> None:
        """Every packet is lost with that probability, in both directions."""
        self._rule([f"numgen random mod 100 < {percent} drop"])

    def delay(self, seconds: float) -> None:
        """Every connection opened from now on takes so long in each direction."""
        script = Path(__file__).with_name("delaying_hub.py")
        command = [*(tool_path("ip"), "netns", "exec", self.hub), sys.executable, str(script)]
        self._forwarder = subprocess.Popen(
            [*command, str(FORWARDER_PORT), str(seconds)], stdout=subprocess.PIPE
        )
        assert self._forwarder.stdout is not None
        assert self._forwarder.stdout.readline() == b"ready\n"
        self._rule([], [f"tcp dport {PORT} redirect to :{FORWARDER_PORT}"])

    def heal(self) -> None:
        """All of that is over; connections that went over the forwarder break."""
        if self._forwarder is not None:
            self._forwarder.kill()
            self._forwarder.wait()
            assert self._forwarder.stdout is not None
            self._forwarder.stdout.close()
            self._forwarder = None
        self._rule([])

    def move(self, node: int) -> None:
        """The node has another address from now on, as after a change of the network."""
        old, new = self._hosts[node], self._hosts[node] + 1
        name, network = self.nodes[node], f"10.77.{node + 1}"
        run("-n", name, "addr", "del", f"{network}.{old}/24", "dev", "eth0")
        run("-n", name, "addr", "add", f"{network}.{new}/24", "dev", "eth0")
        run("-n", name, "route", "add", "default", "via", f"{network}.1")
        self._hosts[node] = new

    def _networks(self, nodes: Sequence[int]) -> str:
        return ", ".join(f"10.77.{node + 1}.0/24" for node in nodes)

    def _rule(self, forward: Sequence[str], prerouting: Sequence[str] = ()) -> None:
        table = _TABLE.format(
            forward="\n".join(f"    {rule}" for rule in forward),
            prerouting="\n".join(f"    {rule}" for rule in prerouting),
        )
        inside = ("netns", "exec", self.hub, tool_path("nft"))
        run(*inside, "-f", "-", text=f"flush ruleset\n{table}")


@contextlib.contextmanager
def fault_net(count: int) -> Iterator[FaultNet]:
    """So many nodes, all of which reach each other."""
    from os import getpid

    mark = f"off{getpid()}n{next(_count)}"
    names = [f"{mark}h", *(f"{mark}x{number}" for number in range(count))]
    made: list[str] = []
    net: FaultNet | None = None
    try:
        for name in names:
            run("netns", "add", name)
            made.append(name)
            run("-n", name, "link", "set", "lo", "up")
        hub = names[0]
        run("netns", "exec", hub, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for number, name in enumerate(names[1:]):
            near, network = f"n{number}", f"10.77.{number + 1}"
            peer = ("peer", "name", "eth0", "netns", name)
            run("-n", hub, "link", "add", near, "type", "veth", *peer)
            run("-n", hub, "addr", "add", f"{network}.1/24", "dev", near)
            run("-n", hub, "link", "set", near, "up")
            run("-n", name, "addr", "add", f"{network}.2/24", "dev", "eth0")
            run("-n", name, "link", "set", "eth0", "up")
            run("-n", name, "route", "add", "default", "via", f"{network}.1")
        net = FaultNet(hub, names[1:])
        yield net
    finally:
        try:
            if net is not None:
                net.heal()
        finally:
            for name in reversed(made):
                subprocess.run([tool_path("ip"), "netns", "del", name], capture_output=True)
