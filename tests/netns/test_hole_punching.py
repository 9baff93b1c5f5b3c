"""From a relayed connection to a direct one, through two routers that let nothing in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nat_rig import Internet, internet, why_not
from test_behind_nat import MEETING_SECONDS, learned_from, peer_id, public_address, start

from tests.process_rig import RunningNode, deal_homes, ending, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.timeout(300),
]

TRYING_SECONDS = 25.0
"""Three tries, one after the other."""


def three(net: Internet, tmp_path: Path, *options: str) -> list[RunningNode]:
    """A relay of another group, and a node behind each router, started with the options."""
    homes = deal_homes(tmp_path, "pab")
    relay = start(net, net.public, homes[0], "--relay", "--group", "elsewhere")
    options = ("--bootstrap", public_address(relay), *options)
    ends = zip(net.homes, homes[1:], strict=True)
    return [relay, *(start(net, where, home, *options) for where, home in ends)]


def relayed(node: RunningNode, other: RunningNode) -> bool | None:
    """Whether the node reaches the other over a relay; None when it does not reach it."""
    peers: list[dict[str, Any]] = node.ask("peers")
    return next((p["relayed"] for p in peers if p["peer_id"] == peer_id(other)), None)


def faults(node: RunningNode) -> dict[str, int]:
    found: dict[str, int] = node.ask("status")["faults"]
    return found


def test_two_nodes_behind_routers_end_on_a_direct_connection(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes += three(net, tmp_path)
        relay, a, b = nodes
        for near, far in ((a, b), (b, a)):
            until(lambda near=near, far=far: relayed(near, far) is False, "direct", MEETING_SECONDS)
            until(lambda near=near, far=far: learned_from(near, far), "learning", MEETING_SECONDS)
        assert faults(a)["hole-punched"] + faults(b)["hole-punched"] >= 2
        relay.kill()
        sent = [n.ask("status")["round"] for n in (a, b)]
        print(sent)
