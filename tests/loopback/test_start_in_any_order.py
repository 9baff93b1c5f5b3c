"""Real processes that are started before whoever they are to join through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow


def notices(node: RunningNode) -> dict[str, str]:
    return {notice["kind"]: notice["text"] for notice in node.ask("status")["notices"]}


def test_a_node_waits_for_its_bootstrap_node_in_view_and_joins_when_it_starts(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, "ab")
    nodes: list[RunningNode] = []
    with ending(nodes):
        # An identity and a port for the one that is to come later.
        nodes.append(RunningNode(homes[0]))
        address = nodes[0].address
        openfl_node("stop", "--home", str(homes[0]))
        nodes[0].process.wait(60)

        early = RunningNode(homes[1], "--bootstrap", address, "--set", "task.factors=3")
        nodes.append(early)
        assert early.wait_for("waiting")["message"] == (
            "waiting for 1 bootstrap address: connection refused;"
            " learning alone until somebody answers"
        )
        until(lambda: len(early.find("round")) >= 3, "three rounds alone")
        assert notices(early)["waiting"].startswith(
            "waiting for 1 bootstrap address: connection refused, "
        )
        shown = openfl_node("status", "--home", str(homes[1]))
        assert "note   waiting for 1 bootstrap address: connection refused, " in shown

        # Other settings: the node moves from the group it founded to the one that is there.
        nodes.append(RunningNode(homes[0], listen=address.split("/p2p/")[0]))
        early.wait_for("switched")
        group = nodes[-1].ask("status")["group"]
        until(lambda: early.ask("status")["group"] == group, "one group")
        until(lambda: early.ask("status")["members"] == 2, "two members")
        assert notices(early) == {}
        assert len(early.find("waiting")) == 1
        seen = json.loads(openfl_node("groups", "--home", str(homes[1]), "--json"))
        assert [(g["name"], g["members"]) for g in seen if g["mine"]] == [("music", 2)]
