"""What tests/situation.py tells of tasks and nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

import tests.situation
from openfl_cli.task_tree import task_tree
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes, ending
from tests.situation import NotInTime, situation, until_seen


async def test_the_tree_of_tasks_names_what_each_waits_for() -> None:
    async def idle() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(idle, name="the idle one")
        await trio.testing.wait_all_tasks_blocked()
        (line,) = [x for x in task_tree().splitlines() if "the idle one" in x]
        assert "sleep_forever" in line
        nursery.cancel_scope.cancel()


def test_without_a_loop_there_are_no_tasks() -> None:
    assert task_tree() == "no tasks run in this thread"


async def test_a_wait_that_fails_says_for_what() -> None:
    with pytest.raises(NotInTime, match=r"the moon did not happen within 0 s\ntasks of the test"):
        await until_seen(lambda: False, "the moon", 0)


def test_a_node_process_is_asked_for_its_members_its_events_and_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.situation, "ANSWER_SECONDS", PATIENCE_SECONDS)
    nodes = [RunningNode(deal_homes(tmp_path, "a")[0])]
    with ending(nodes):
        nodes[0].wait_for("round")
        text = situation()
        assert nodes[0].process.poll() is None
    assert f"process {nodes[0].process.pid} in {tmp_path / 'a'}" in text
    assert "members:" in text
    assert "Session.run" in text, "its tasks"
    assert "listening" in text
