"""The command line with real processes, a real network on loopback, and nothing faked."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openfl_cli.task_tree import END
from tests.process_rig import (
    PATIENCE_SECONDS,
    RunningNode,
    deal_homes,
    ending,
    openfl_node,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[tuple[RunningNode, RunningNode]]:
    nodes: list[RunningNode] = []
    homes = deal_homes(tmp_path, "ab")
    with ending(nodes):
        nodes.append(RunningNode(homes[0]))
        nodes.append(RunningNode(homes[1], "--bootstrap", nodes[0].address))
        nodes[1].wait_for("joined")
        yield nodes[0], nodes[1]


def test_the_demo_learns_together_and_says_so() -> None:
    shown = openfl_node("demo", "--nodes", "3", "--rounds", "6", "--interval", "0.5", "--json")
    outcome = json.loads(shown)
    assert outcome["learned_together"] is True
    assert [node["peers_found"] for node in outcome["nodes"]] == [2, 2, 2]
    assert all(node["rmse_together"] < node["rmse_alone"] for node in outcome["nodes"])
    assert len(outcome["recommendations"]["items"]) == 5


def test_two_nodes_answer_every_command_running_and_stopped(
    two_nodes: tuple[RunningNode, RunningNode],
) -> None:
    first, second = two_nodes
    home, other = str(first.home), str(second.home)

    def status() -> Any:
        return json.loads(openfl_node("status", "--home", home, "--json"))

    until(lambda: status()["members"] == 2 and status()["metrics"]["alone_rmse"] is not None)
    until(lambda: status()["metrics"]["validation_rmse"] < status()["metrics"]["alone_rmse"])
    identity = json.loads(openfl_node("id", "--home", home, "--json"))
    peers = json.loads(openfl_node("peers", "--home", other, "--json"))
    assert [peer["peer_id"] for peer in peers] == [identity["peer_id"]]
    assert peers[0]["groups"] == ["music"]
    (group,) = json.loads(openfl_node("groups", "--home", other, "--json"))
    assert (group["name"], group["members"], group["mine"]) == ("music", 2, True)
    openfl_node("switch", "nowhere", "--home", other, code=8)

    empty = str(first.home.parent / "empty")
    address = openfl_node("id", "--home", other, "--address").strip()
    outside = ("groups", "--home", empty, "--bootstrap", address, "--json")
    until(
        lambda: (
            [(g["id"], g["members"], g["mine"]) for g in json.loads(openfl_node(*outside))]
            == [(group["id"], 2, False)]
        ),
        "an outsider's right count",
    )

    # Asked by the signal it writes what its tasks do into its log, and goes on.
    second.process.send_signal(signal.SIGUSR1)
    log = second.home / "node.log"
    until(lambda: END in log.read_text(), "the tasks in node.log")
    tasks = log.read_text().partition("tasks at SIGUSR1\n")[2].partition(END)[0]
    assert "Session.run" in tasks
    assert "openfl.node" in tasks
    rounds = len(second.find("round"))
    until(lambda: len(second.find("round")) > rounds, "another round after the signal")

    user = (first.home / "ratings.csv").read_text().splitlines()[1].split(",")[0]
    running = json.loads(openfl_node("recommend", "--home", home, "--user", user, "--json"))
    assert openfl_node("stop", "--home", home) == "stopped\n"
    assert first.process.wait(PATIENCE_SECONDS) == 0
    saved = openfl_node("recommend", "--home", home, "--user", user, "--json")
    assert len(json.loads(saved)) == len(running) == 5
    assert status()["running"] is False
    openfl_node("switch", "music", "--home", home, code=7)

    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(PATIENCE_SECONDS) == 0
