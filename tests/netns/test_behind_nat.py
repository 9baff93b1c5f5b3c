"""Two nodes behind separate routers, real processes in real network namespaces."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nat_rig import PUBLIC_ADDRESS, Internet, internet, why_not

from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

ANYWHERE = "/ip4/0.0.0.0/tcp/4001"
APART_SECONDS = 12.0
"""With a relay they meet within seven."""


def start(net: Internet, where: str, home: Path, *options: str) -> RunningNode:
    return RunningNode(home, *options, inside=net.inside(where), listen=ANYWHERE, interval="0.5")


def public_address(node: RunningNode) -> str:
    (address,) = [
        a
        for a in node.wait_for("listening")["data"]["multiaddrs"]
        if a.startswith(f"/ip4/{PUBLIC_ADDRESS}/")
    ]
    return str(address)


def peer_id(node: RunningNode) -> str:
    return str(node.wait_for("listening")["data"]["peer_id"])


def learned_from(node: RunningNode, other: RunningNode) -> bool:
    """Whether the node's model has rows that the other contributed."""
    members: list[dict[str, Any]] = node.ask("status")["member_list"]
    return any(m["peer_id"] == peer_id(other) and m["rows"] > 0 for m in members)


def three(
    net: Internet, tmp_path: Path, *public: str, inside: tuple[str, ...] = ()
) -> list[RunningNode]:
    """The public node, and then one node behind each router that knows only the public one.
    `public`, `inside`: options to start them with."""
    homes = deal_homes(tmp_path, "pab")
    third = start(net, net.public, homes[0], *public)
    nodes = [third]
    options = ("--bootstrap", public_address(third), *inside)
    nodes += [
        start(net, where, home, *options) for where, home in zip(net.homes, homes[1:], strict=True)
    ]
    return nodes


def test_two_nodes_behind_routers_learn_together_over_a_relay(tmp_path: Path) -> None:
    """The relay is in another group: it relays bytes it cannot read, and nothing else.

    Without hole punching they stay there: the twin of `test_hole_punching`.
    """
    inside = ("--set", "network.hole_punching=false")
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes += three(net, tmp_path, "--relay", "--group", "elsewhere", inside=inside)
        relay, a, b = nodes
        for node in (a, b):
            node.wait_for("round")
        for near, far in ((a, b), (b, a)):
            until(lambda near=near, far=far: learned_from(near, far), "learning")
        # Directly connected with nobody but the relay: the routers let nothing else in.
        views = a.ask("peers")
        assert [peer["peer_id"] for peer in views if peer["relayed"]] == [peer_id(b)]
        peers = {peer["peer_id"]: peer["multiaddrs"] for peer in views}
        assert set(peers) == {peer_id(relay), peer_id(b)}
        assert any(f"/p2p/{peer_id(relay)}/p2p-circuit" in x for x in peers[peer_id(b)])
        assert "(relay)" in openfl_node("peers", "--home", str(a.home))
        status = relay.ask("status")
        assert status["faults"]["relay-circuits"] >= 1
        assert not any(m["peer_id"] in (peer_id(a), peer_id(b)) for m in status["member_list"])


def test_without_a_relay_they_do_not_meet(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes += three(net, tmp_path, "--group", "elsewhere")
        _, a, b = nodes
        for node in (a, b):
            node.wait_for("round")
        time.sleep(APART_SECONDS)
        assert not learned_from(a, b)
        assert not learned_from(b, a)


def test_a_public_member_of_the_group_carries_its_gossip_without_any_relay(tmp_path: Path) -> None:
    """The plain fallback: both dial the same member, and what they say spreads through it."""
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes += three(net, tmp_path)
        _, a, b = nodes
        for node in (a, b):
            node.wait_for("round")
        for near, far in ((a, b), (b, a)):
            until(lambda near=near, far=far: learned_from(near, far), "learning")
        assert peer_id(b) not in {peer["peer_id"] for peer in a.ask("peers")}
