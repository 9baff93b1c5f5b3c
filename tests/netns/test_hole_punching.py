"""From a relayed connection to a direct one, through two routers that let nothing in.

That they stay on the relay without hole punching is in `test_behind_nat`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nat_rig import Internet, internet, why_not
from test_behind_nat import learned_from, peer_id, three

from tests.process_rig import RunningNode, ending, openfl_node, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]


def started(net: Internet, tmp_path: Path) -> list[RunningNode]:
    """A relay of another group, and a node behind each router."""
    nodes = three(net, tmp_path, "--relay", "--group", "elsewhere")
    for node in nodes[1:]:
        node.wait_for("round")
    return nodes


def relayed(node: RunningNode, other: RunningNode) -> bool | None:
    """Whether the node reaches the other over a relay; None when it does not reach it."""
    peers: list[dict[str, Any]] = node.ask("peers")
    return next((p["relayed"] for p in peers if p["peer_id"] == peer_id(other)), None)


def faults(node: RunningNode) -> dict[str, int]:
    found: dict[str, int] = node.ask("status")["faults"]
    return found


def round_heard(node: RunningNode, other: RunningNode) -> int:
    """Of the other's newest contribution that the node has."""
    members: list[dict[str, Any]] = node.ask("status")["member_list"]
    return next((m["round"] for m in members if m["peer_id"] == peer_id(other)), -1)


def until_learning(a: RunningNode, b: RunningNode) -> None:
    for near, far in ((a, b), (b, a)):
        until(lambda near=near, far=far: learned_from(near, far), "learning")


def test_two_nodes_behind_routers_end_on_a_direct_connection(tmp_path: Path) -> None:
    """And need the relay no more."""
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes += started(net, tmp_path)
        relay, a, b = nodes
        for near, far in ((a, b), (b, a)):
            until(lambda near=near, far=far: relayed(near, far) is False, "direct")
        until_learning(a, b)
        assert faults(a)["hole-punched"] == faults(b)["hole-punched"] == 1
        assert "(relay)" not in openfl_node("peers", "--home", str(a.home))
        relay.process.kill()
        relay.process.wait()
        heard = round_heard(a, b), round_heard(b, a)
        until(lambda: round_heard(a, b) > heard[0] + 5, "hearing of b without the relay")
        until(lambda: round_heard(b, a) > heard[1] + 5, "hearing of a without the relay")


def test_behind_routers_with_a_new_port_for_everybody_they_stay_on_the_relay(
    tmp_path: Path,
) -> None:
    nodes: list[RunningNode] = []
    with internet(symmetric=True) as net, ending(nodes):
        nodes += started(net, tmp_path)
        _, a, b = nodes
        failed = "hole-punch-failed"
        until(lambda: failed in faults(a) | faults(b), "failing")
        until_learning(a, b)
        assert relayed(a, b)
        assert relayed(b, a)
