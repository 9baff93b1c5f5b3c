"""tests/conftest.py, leftovers.py and situation.py, tried on runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from openfl_cli.task_tree import task_tree
from tests.process_rig import RunningNode, deal_homes, ending
from tests.situation import NotInTime, situation, until_seen

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, tests: str, *options: str) -> str:
    """What pytest says of these tests, under the rules of this suite."""
    (folder / "test_some.py").write_text(f"import subprocess, socket\nimport trio\n{tests}")
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-v",
    ]
    done = subprocess.run(
        [*command, *options, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_a_process_left_behind_fails_its_own_test_and_is_ended(tmp_path: Path) -> None:
    text = run(
        tmp_path,
        "from tests import leftovers\nleftovers.GRACE_SECONDS = 0.1\nKEPT = []\n"
        "def test_leaves(): KEPT.append(subprocess.Popen(['sleep', '600']))\n"
        "def test_next(): assert KEPT[0].poll() is not None\n",
    )
    assert "ERROR at teardown of test_leaves" in text
    assert "this test left behind: process" in text
    assert "2 passed, 1 error" in text


def test_what_only_a_failure_holds_is_blamed_on_the_test_that_failed(tmp_path: Path) -> None:
    text = run(
        tmp_path,
        "def test_fails():\n    link = socket.socket()\n    assert False\ndef test_next(): pass\n",
    )
    assert "ERROR at teardown of test_fails" in text
    assert "unclosed <socket.socket" in text
    assert "1 failed, 1 passed, 1 error" in text


def test_the_timeout_of_an_async_test_tells_its_tasks_and_closes_what_it_opened(
    tmp_path: Path,
) -> None:
    text = run(
        tmp_path,
        "CLOSED = []\n"
        "async def waits_for_nothing(): await trio.sleep_forever()\n"
        "async def test_hangs():\n"
        "    try:\n"
        "        async with trio.open_nursery() as nursery:\n"
        "            nursery.start_soon(waits_for_nothing)\n"
        "    finally:\n"
        "        CLOSED.append(True)\n"
        "def test_next(): assert CLOSED\n",
        "--timeout=1",
    )
    assert "the test did not end within its timeout" in text
    assert "situation at the timeout" in text
    assert "waits_for_nothing" in text
    assert "1 failed, 1 passed" in text


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


def test_a_node_process_is_asked_for_its_members_its_events_and_its_tasks(tmp_path: Path) -> None:
    nodes = [RunningNode(deal_homes(tmp_path, "a")[0])]
    with ending(nodes):
        nodes[0].wait_for("round")
        text = situation()
        assert nodes[0].process.poll() is None
    assert f"process {nodes[0].process.pid} in {tmp_path / 'a'}" in text
    assert "members:" in text
    assert "Session.run" in text, "its tasks"
    assert "listening" in text
