"""A real node is killed at every step of a move: afterwards it is in exactly one group, whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openfl.app import control_socket as control
from openfl.core.errors import NotRunningError
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage
from openfl.switching.events import MOVE_POINTS
from openfl_cli.demo.tastes import write_communities
from openfl_cli.sample import sample_folder
from tests.process_rig import PATIENCE_SECONDS, RunningNode, ending, until

COMMITTED = MOVE_POINTS[MOVE_POINTS.index("move-committed") :]
OPTIONS = ("--set", "data.rating_scale=0.5-5", "--set", "gossip.heartbeat_seconds=0.5")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, RunningNode]]:
    """One node in `blues`, one in `jazz`."""
    folder = tmp_path_factory.mktemp("town")
    homes = [folder / "blues", folder / "jazz"]
    for home in homes:
        home.mkdir()
    write_communities(sample_folder(), homes, communities=2, seed=3)
    nodes: list[RunningNode] = []
    with ending(nodes):
        nodes.append(RunningNode(homes[0], "--group", "blues", *OPTIONS))
        nodes.append(
            RunningNode(homes[1], "--group", "jazz", "--bootstrap", nodes[0].address, *OPTIONS)
        )
        nodes[1].wait_for("round")
        yield nodes[0], nodes[1]


@pytest.mark.slow
def test_a_node_killed_at_any_step_of_a_move_is_in_exactly_one_group_after_a_restart(
    town: tuple[RunningNode, RunningNode], tmp_path: Path
) -> None:
    """One home through all points: each restart is sent to the other group and killed again."""
    groups = {"blues": town[0], "jazz": town[1]}
    write_communities(sample_folder(), [tmp_path], communities=1, seed=3)
    options = ("--group", "blues", "--bootstrap", town[0].address, *OPTIONS)
    here, rounds = "blues", 0
    nodes: list[RunningNode] = []
    with ending(nodes):
        for point, following in pairwise((*MOVE_POINTS, "")):
            if not nodes:
                nodes.append(RunningNode(tmp_path, *options, fault_point=point))
            node = nodes[-1]
            node.wait_for("round")
            there = "jazz" if here == "blues" else "blues"
            # Counted by its group before it goes, so that there is something to be withdrawn.
            me = ask(node)["peer_id"]
            until(lambda inside=groups[here], me=me: me in teachers(inside), "counted")
            with pytest.raises(NotRunningError):
                control.call(tmp_path, "switch", PATIENCE_SECONDS, group=there)
            until(lambda node=node: node.process.poll() is not None, f"killed at {point}")
            assert node.process.returncode == -signal.SIGKILL
            here = there if point in COMMITTED else here
            resume, problems = HomeStorage(Home(tmp_path), tmp_path / "m.safetensors").load("blues")
            assert problems == []
            assert resume is not None
            assert (resume.charter.name, resume.round >= rounds) == (here, True)

            again = RunningNode(tmp_path, *options, fault_point=following)
            nodes.append(again)
            again.wait_for("round")
            status = ask(again)
            assert (status["group_name"], status["round"] > resume.round) == (here, True)
            assert not again.find("state-damaged")
            assert not again.find("state-refused")
            states = {f.stem for f in (tmp_path / "state").glob("*.state") if len(f.stem) == 32}
            assert states == {status["group_id"]}
            # And the network agrees: one group counts it, the other has lost it.
            other = groups["blues" if here == "jazz" else "jazz"]
            until(lambda inside=groups[here], me=me: me in teachers(inside), "counted by its group")
            until(
                lambda other=other, me=me: me not in teachers(other),
                f"withdrawn from the other group ({point})",
            )
            rounds = resume.round  # what was on disk once is never lost; the live round may be


def ask(node: RunningNode) -> dict[str, Any]:
    plain: dict[str, Any] = control.call(node.home, "snapshot", PATIENCE_SECONDS)
    return plain


def teachers(node: RunningNode) -> set[str]:
    """Whoever has rows in this node's replica."""
    return {m["peer_id"] for m in ask(node)["members"] if m["rows"]}
