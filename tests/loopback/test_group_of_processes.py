"""What a group of real nodes promises: everyone is found, death of one stops nobody, and whoever
comes later is at the group's level at once. How fast is measured by `benchmarks/processes.py`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow

INTERVAL_SECONDS = 0.5


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
            until(lambda node=node, others=others: peers_of(node) == others, "all peers")

        # An outsider with an empty home counts the members right.
        outside = ("--home", str(tmp_path / "empty"), "--bootstrap", address)

        def counted() -> list[tuple[str, int, bool]]:
            groups = json.loads(openfl_node("groups", *outside, "--json"))
            return [(g["name"], g["members"], g["mine"]) for g in groups]

        until(lambda: counted() == [("music", 4, False)], "the right count")

        # The first dies without a word, in the middle of a round.
        until(lambda: all(node.ask("status")["round"] >= 8 for node in nodes), "eight rounds")
        nodes[0].process.send_signal(signal.SIGKILL)
        nodes[0].process.wait()
        survivors = nodes[1:4]
        for node in survivors:
            done = len(node.find("round"))
            until(lambda node=node, done=done: len(node.find("round")) >= done + 6, "six more")

        # A newcomer through the second node is at the group's level before its own first round.
        fifth = RunningNode(homes[4], "--bootstrap", survivors[0].address, interval=pace)
        nodes.append(fifth)
        joined = fifth.wait_for("joined")
        assert "snapshot" in joined["message"]
        first_round = fifth.wait_for("round")
        until(lambda: len(fifth.find("round")) >= 10, "ten rounds of the newcomer")
        status = fifth.ask("status")
        settled = status["metrics"]["validation_rmse"]
        assert first_round["data"]["validation"] < 1.05 * settled
        assert settled < status["metrics"]["alone_rmse"]
        assert status["members"] >= 4
