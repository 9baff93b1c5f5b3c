"""Two real nodes on one LAN that are told nothing of each other."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.netns.lan_rig import address, inside, lan, why_not
from tests.process_rig import RunningNode, deal_homes, ending, environment, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

FLOOD = str(Path(__file__).parent / "mdns_flood.py")
APART_SECONDS = 8.0
"""With mDNS they meet within two."""


def start_both(
    names: tuple[str, ...], folder: Path, nodes: list[RunningNode], *options: str
) -> None:
    for name, home in zip(names, deal_homes(folder, "ab"), strict=True):
        listen = "/ip4/0.0.0.0/tcp/4001"
        nodes.append(
            RunningNode(home, *options, inside=inside(name), listen=listen, interval="0.5")
        )


def test_they_find_each_other_by_mdns_and_learn_together(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with lan(2) as names, ending(nodes):
        start_both(names, tmp_path, nodes, "--mdns")
        for node in nodes:
            node.wait_for("round")
        until(lambda: all(n.ask("status")["members"] == 2 for n in nodes), "two members")
        for node in nodes:
            assert not node.find("mdns-failed")


def test_without_it_they_stay_alone(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with lan(2) as names, ending(nodes):
        start_both(names, tmp_path, nodes)
        for node in nodes:
            node.wait_for("round")
        time.sleep(APART_SECONDS)
        assert all(n.ask("status")["members"] == 1 for n in nodes)


def test_a_machine_that_names_thousands_of_peers_does_not_keep_them_apart(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with lan(3) as (hostile, *names), ending(nodes):
        flood = subprocess.Popen(
            [*inside(hostile), sys.executable, FLOOD, address(0), "50", "5"], env=environment()
        )
        try:
            start_both(tuple(names), tmp_path, nodes, "--mdns")
            for node in nodes:
                node.wait_for("round")
            until(lambda: all(n.ask("status")["members"] == 2 for n in nodes), "two members")
            assert flood.poll() is None
        finally:
            flood.kill()
            flood.wait()
