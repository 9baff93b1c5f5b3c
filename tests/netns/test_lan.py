"""Two real nodes on one LAN that are told nothing of each other."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.nat_rig import run, tool_path, why_not
from tests.process_rig import RunningNode, deal_homes, ending, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.timeout(120),
]

APART_SECONDS = 8.0
"""With mDNS they meet within two."""


@contextlib.contextmanager
def lan() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them."""
    names = (f"ofl{os.getpid()}lana", f"ofl{os.getpid()}lanb")
    made: list[str] = []
    try:
        for name in names:
            run("netns", "add", name)
            made.append(name)
            run("-n", name, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", names[1])
        run("-n", names[0], "link", "add", "eth0", "type", "veth", *peer)
        for number, name in enumerate(names):
            run("-n", name, "addr", "add", f"10.78.0.{number + 1}/24", "dev", "eth0")
            run("-n", name, "link", "set", "eth0", "up")
            run("-n", name, "route", "add", "default", "dev", "eth0")
        yield names
    finally:
        for name in made:
            subprocess.run([tool_path("ip"), "netns", "del", name], capture_output=True)


def start_both(
    names: tuple[str, str], folder: Path, nodes: list[RunningNode], *options: str
) -> None:
    for name, home in zip(names, deal_homes(folder, "ab"), strict=True):
        inside = (tool_path("ip"), "netns", "exec", name)
        listen = "/ip4/0.0.0.0/tcp/4001"
        nodes.append(RunningNode(home, *options, inside=inside, listen=listen, interval="0.5"))


def test_they_find_each_other_by_mdns_and_learn_together(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with lan() as names, ending(nodes):
        start_both(names, tmp_path, nodes, "--mdns")
        for node in nodes:
            node.wait_for("round")
        until(lambda: all(n.ask("status")["members"] == 2 for n in nodes), "two members", 60.0)
        for node in nodes:
            assert not node.find("mdns-failed")


def test_without_it_they_stay_alone(tmp_path: Path) -> None:
    nodes: list[RunningNode] = []
    with lan() as names, ending(nodes):
        start_both(names, tmp_path, nodes)
        for node in nodes:
            node.wait_for("round")
        time.sleep(APART_SECONDS)
        assert all(n.ask("status")["members"] == 1 for n in nodes)
