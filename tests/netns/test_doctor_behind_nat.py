"""What doctor and netcheck say behind a router, and on a LAN: real processes in namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netns import lan_rig
from tests.netns.nat_rig import PUBLIC_ADDRESS, WIDE, internet, why_not
from tests.netns.test_upnp_router import upnp_of
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes, ending, environment, openfl_node, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

UPNP_EXTERNAL = "5.6.7.11"
"""As the router of `upnp_of` tells it."""
ANYWHERE = "/ip4/0.0.0.0/tcp/4001"


def told(inside: tuple[str, ...], *argv: str) -> Any:
    """What a command that runs on that machine prints as JSON."""
    command = [*inside, sys.executable, "-m", "openfl_cli", *argv, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_node_behind_a_router_is_told_so(tmp_path: Path) -> None:
    public, home = deal_homes(tmp_path, "pa")
    nodes: list[RunningNode] = []
    with internet() as net, ending(nodes):
        nodes.append(RunningNode(public, inside=net.inside(net.public), listen=ANYWHERE))
        peer = nodes[0].wait_for("listening")["data"]["peer_id"]
        bootstrap = f"/ip4/{PUBLIC_ADDRESS}/tcp/4001/p2p/{peer}"
        options = ("--bootstrap", bootstrap, "--set", "network.port=4001")
        here = net.inside(net.homes[0])

        with upnp_of(net):
            report = told(here, "netcheck", "--home", str(home), "--upnp", *options)
        assert (report["nat"], report["translated"]) == ("private", True)
        assert [vote["reached"] for vote in report["reach"]["votes"]] == [False]
        assert report["reach"]["seen"][0]["seen_at"].startswith(f"/ip4/{WIDE}.11/tcp/")
        assert [each["problem"] for each in report["bootstrap"]] == [""]
        assert [router["external"] for router in report["routers"]] == [UPNP_EXTERNAL]
        reachable = {each["ip"]: each["reachable_from"] for each in report["addresses"]}
        assert reachable["10.1.0.2"] == "this LAN"

        nodes.append(RunningNode(home, "--bootstrap", bootstrap, inside=here, listen=ANYWHERE))
        nodes[1].wait_for("round")

        def found() -> bool:
            said = openfl_node("doctor", "--home", str(home), "--only", "reach", "--json")
            return [f["kind"] for f in json.loads(said)["findings"]] == ["nobody-can-dial"]

        until(found, "that nobody can dial it")


def test_who_is_on_the_lan_is_told_when_that_is_asked_for(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, "a")
    nodes: list[RunningNode] = []
    with lan_rig.lan(2) as names, ending(nodes):
        inside = lan_rig.inside(names[0])
        nodes.append(RunningNode(home, "--mdns", inside=inside, listen=ANYWHERE))
        peer = nodes[0].wait_for("listening")["data"]["peer_id"]
        there = lan_rig.inside(names[1])
        report = told(there, "netcheck", "--home", str(tmp_path / "none"), "--mdns", "--upnp")
        assert [each["peer_id"] for each in report["lan"]] == [peer]
        assert report["lan"][0]["multiaddrs"] == [f"/ip4/{lan_rig.address(0)}/tcp/4001"]
        assert report["routers"] == []
