"""What a group of real nodes promises: everyone is found, death of one delays nobody, and whoever
comes later is at the group's level at once."""

from __future__ import annotations

import itertools
import json
import signal
import time
from pathlib import Path

import pytest

from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow

FIND_SECONDS = 10.0
CATCH_UP_SECONDS = 5.0
INTERVAL_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 2.0


def peers_of(node: RunningNode) -> set[str]:
    return {peer["peer_id"] for peer in node.ask("peers")}


def identity_of(node: RunningNode) -> str:
    peer_id: str = node.wait_for("listening")["data"]["peer_id"]
    return peer_id


def test_four_nodes_find_each_other_survive_the_first_and_take_in_a_fifth(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, "abcde")
    nodes: list[RunningNode] = []
    with ending(nodes):
        pace = str(INTERVAL_SECONDS)
        nodes.append(RunningNode(homes[0], interval=pace))
        address = nodes[0].address
        nodes += [RunningNode(h, "--bootstrap", address, interval=pace) for h in homes[1:4]]
        names = {identity_of(node) for node in nodes}

        # Only the first one's address was given, yet everyone lists everyone.
        for node in nodes:
            others = names - {identity_of(node)}
            until(lambda node=node, others=others: peers_of(node) == others, "all peers", 30.0)
        last_start = max(node.wait_for("listening")["time"] for node in nodes)
        for node in nodes:
            connected = [e["time"] for e in node.find("peer-connected")]
            assert len(connected) >= 3
            assert sorted(connected)[2] - last_start < FIND_SECONDS

        # An outsider with an empty home counts the members right.
        began = time.monotonic()
        seen = openfl_node(
            "groups", "--home", str(tmp_path / "empty"), "--bootstrap", address, "--json"
        )
        took = time.monotonic() - began
        (group,) = json.loads(seen)
        assert (group["name"], group["members"], group["mine"]) == ("music", 4, False)
        assert took < 2 * FIND_SECONDS

        # The first dies without a word, in the middle of a round.
        until(lambda: all(node.ask("status")["round"] >= 8 for node in nodes), "eight rounds")
        killed_at = time.time()
        nodes[0].process.send_signal(signal.SIGKILL)
        nodes[0].process.wait()
        survivors = nodes[1:4]
        time.sleep(6 * INTERVAL_SECONDS)
        for node in survivors:
            rounds = [e["time"] for e in node.find("round") if e["time"] > killed_at - 3]
            longest = max(b - a for a, b in itertools.pairwise(rounds))
            assert longest < INTERVAL_SECONDS + LONGEST_DELAY_SECONDS

        # A newcomer through the second node is at the group's level before its own first round.
        fifth = RunningNode(homes[4], "--bootstrap", survivors[0].address, interval=pace)
        nodes.append(fifth)
        joined = fifth.wait_for("joined")
        assert "snapshot" in joined["message"]
        first_round = fifth.wait_for("round")
        assert first_round["time"] - joined["time"] < CATCH_UP_SECONDS
        until(lambda: len(fifth.find("round")) >= 10, "ten rounds of the newcomer")
        status = fifth.ask("status")
        settled = status["metrics"]["validation_rmse"]
        assert first_round["data"]["validation"] < 1.05 * settled
        assert settled < status["metrics"]["alone_rmse"]
        assert status["members"] >= 4
