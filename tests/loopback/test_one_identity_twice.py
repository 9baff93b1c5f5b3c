"""A home folder that was copied: two real processes with one identity."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from openfl.app.control_socket import call
from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow
KIND = "duplicate-identity"


def test_both_owners_of_a_copied_home_are_told_and_mend_it_as_they_are_told(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, "mo")
    nodes: list[RunningNode] = []
    pace = ("--set", "gossip.heartbeat_seconds=0.4")
    with ending(nodes):
        common = RunningNode(homes[0], *pace)
        nodes.append(common)
        joining = (*pace, "--bootstrap", common.address)
        original = RunningNode(homes[1], *joining)
        nodes.append(original)
        original.wait_for("round")
        until(lambda: (homes[1] / "state" / "node.state").exists(), "saving")
        copied = tmp_path / "copy"
        shutil.copytree(homes[1], copied, ignore=shutil.ignore_patterns("control.sock", "lock"))
        copy = RunningNode(copied, *joining)
        nodes.append(copy)
        for node in (original, copy):
            told = node.wait_for(KIND)
            assert told["level"] == "error"
            assert "delete identity.key" in told["message"]
        kinds = {notice["kind"] for notice in original.ask("status")["notices"]}
        assert KIND in kinds
        shown = openfl_node("status", "--home", str(copied))
        assert "another node has the identity of this one" in shown
        assert not common.find(KIND)

        copy.end()
        nodes.remove(copy)
        (copied / "identity.key").unlink()
        nodes.append(RunningNode(copied, *joining))
        for node in (common, nodes[-1]):
            until(
                lambda node=node: len(call(node.home, "snapshot")["members"]) == 3, "three members"
            )
        assert not nodes[-1].find(KIND)
