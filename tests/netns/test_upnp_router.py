"""A node whose router forwards a port when asked, and a stranger that dials it: real processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openfl_cli.exit_codes import NETWORK
from tests.netns.nat_rig import Internet, internet, tool_path, why_not
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import (
    RunningNode,
    deal_homes,
    ending,
    environment,
    openfl_node,
    until,
)

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

WIDE = "5.6.7"
"""The addresses of other tests are set aside for documentation: none that a node takes for public.
These belong to somebody, but leave no namespace."""
ROUTER = f"/ip4/{WIDE}.11/tcp/4001"


@contextlib.contextmanager
def upnp_of(net: Internet) -> Iterator[None]:
    """The router of the first home does as it is asked by UPnP."""
    router = (*net.inside(net.routers[0]), sys.executable, "-m", "tests.netns.igd")
    with subprocess.Popen(
        [*router, "10.1.0.1", f"{WIDE}.11"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def forwarded(net: Internet) -> bool:
    """Whether the router has a rule for the port."""
    listing = (*net.inside(net.routers[0]), tool_path("nft"), "list", "ruleset")
    return "dport 4001 dnat" in subprocess.run(listing, capture_output=True, text=True).stdout


def start(net: Internet, where: str, home: Path, *options: str) -> RunningNode:
    anywhere = "/ip4/0.0.0.0/tcp/4001"
    return RunningNode(home, *options, inside=net.inside(where), listen=anywhere, interval="0.5")


def members(node: RunningNode) -> int:
    return int(node.ask("status")["members"])


def test_a_stranger_dials_the_node_behind_the_router_and_learns_with_it(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with internet(homes=1, wide=WIDE) as net, upnp_of(net), ending(nodes):
        at_home, outside = deal_homes(tmp_path, "ab")
        nodes.append(start(net, net.homes[0], at_home, "--upnp"))
        (a,) = nodes
        peer_id = a.wait_for("listening")["data"]["peer_id"]
        a.wait_for("upnp-mapped")
        address = f"{ROUTER}/p2p/{peer_id}"
        assert address in a.ask("status")["multiaddrs"]
        nodes.append(start(net, net.public, outside, "--bootstrap", address))
        until(lambda: all(members(node) == 2 for node in nodes), "two members")
        (peer,) = nodes[1].ask("peers")
        assert peer["peer_id"] == peer_id
        assert ROUTER in peer["multiaddrs"]
        assert forwarded(net)
        openfl_node("stop", "--home", str(at_home))
        a.process.wait(PATIENCE_SECONDS)
        assert not forwarded(net)


def test_without_it_the_stranger_cannot_dial_the_node(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with internet(homes=1, wide=WIDE) as net, upnp_of(net), ending(nodes):
        at_home, outside = deal_homes(tmp_path, "ab")
        nodes.append(start(net, net.homes[0], at_home))
        peer_id = nodes[0].wait_for("listening")["data"]["peer_id"]
        nodes.append(start(net, net.public, outside, "--bootstrap", f"{ROUTER}/p2p/{peer_id}"))
        assert nodes[1].process.wait(PATIENCE_SECONDS) == NETWORK
        assert members(nodes[0]) == 1
        assert not forwarded(net)
