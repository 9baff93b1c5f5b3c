"""Real processes that are started before whoever they are to join through."""

from __future__ import annotations

from pathlib import Path

import pytest

from openfl.app.control_socket import call
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow


def test_a_node_waits_for_its_bootstrap_node_in_view_and_joins_when_it_starts(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, "ab")
    nodes: list[RunningNode] = []
    with ending(nodes):
        # An identity and a port for the one that is to come later.
        other = ("--set", "task.factors=3")
        nodes.append(RunningNode(homes[0], *other))
        address = nodes[0].address
        call(homes[0], "stop")
        nodes[0].process.wait(PATIENCE_SECONDS)

        early = RunningNode(homes[1], "--bootstrap", address)
        nodes.append(early)
        assert early.wait_for("waiting")["message"] == (
            "waiting for 1 bootstrap address: connection refused;"
            " learning alone until somebody answers"
        )
        until(lambda: len(early.find("round")) >= 3, "three rounds alone")
        (notice,) = early.ask("status")["notices"]
        assert notice["text"].startswith("waiting for 1 bootstrap address: connection refused, ")
        shown = openfl_node("status", "--home", str(homes[1]))
        assert "note   waiting for 1 bootstrap address: connection refused, " in shown

        # Other settings: the node moves from the group it founded to the one that is there.
        listen = address.split("/p2p/")[0]
        nodes.append(RunningNode(homes[0], *other, listen=listen))
        early.wait_for("switched")
        until(lambda: call(homes[1], "snapshot")["notices"] == [], "nothing to wait for")
        until(lambda: len(call(homes[1], "snapshot")["members"]) == 2, "two members")
        groups = {call(home, "snapshot")["group_id"] for home in homes}
        assert len(groups) == 1
        assert len(early.find("waiting")) == 1
