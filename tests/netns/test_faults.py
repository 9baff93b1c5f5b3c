"""What the network and the disk do to real nodes. The longer faults are in benchmarks/faults.py."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from openfl.app.control_socket import call
from tests.netns.fault_group import fault_group
from tests.netns.nat_rig import why_not
from tests.netns.small_disk import SmallDisk, small_disk
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes, ending, until

REASON = why_not()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

STATE_ERROR = 6


def test_a_node_whose_address_changes_is_found_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with fault_group(3, tmp_path, "--rounds", "12", "--set", "training.when_done=serve") as group:
        group.start_all()
        group.net.move(2)
        group.seconds_to_be_back(time.monotonic())
        moved = group.snapshot(2)
        assert moved is not None
        # Noticed at once, and not only because nobody answered for long.
        assert moved["faults"].get("address-lost", 0) >= 1
        assert not any("10.77.3.2" in address for address in moved["multiaddrs"])
        assert any("10.77.3.3" in address for address in moved["multiaddrs"])
        assert group.losses() == []


def start(home: Path, disk: SmallDisk) -> RunningNode:
    return RunningNode(home, inside=disk.inside)


def test_a_full_disk_costs_one_line_and_nothing_that_was_learned(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, "a")
    nodes: list[RunningNode] = []
    with small_disk(home) as disk, ending(nodes):
        nodes.append(start(home, disk))
        until(lambda: len(nodes[0].find("round")) >= 2, "two rounds")
        disk.fill()
        until(lambda: nodes[0].find("not-saved"), "a word about it")
        done = len(nodes[0].find("round"))
        until(lambda: len(nodes[0].find("round")) >= done + 3, "learning on")
        (told,) = nodes[0].find("not-saved")
        assert "the disk is full" in told["message"]
        disk.free()
        until(lambda: nodes[0].find("saved-again"), "saving again")
        rounds = call(disk.seen(home), "snapshot")["round"]
        nodes[0].process.send_signal(signal.SIGTERM)
        assert nodes[0].process.wait(PATIENCE_SECONDS) == 0

        nodes.append(start(home, disk))
        resumed = nodes[1].wait_for("resumed")
        assert int(resumed["message"].split("at round ")[1].split()[0]) >= rounds
        assert nodes[1].find("state-damaged") == []


def test_a_read_only_state_folder_is_one_clear_line_and_the_exit_code_for_state(
    tmp_path: Path,
) -> None:
    (home,) = deal_homes(tmp_path, "a")
    (home / "state").mkdir()
    nodes: list[RunningNode] = []
    with small_disk(home / "state") as disk, ending(nodes):
        disk.remount("ro")
        with (tmp_path / "errors").open("w+", encoding="utf-8") as errors:
            nodes.append(RunningNode(home, inside=disk.inside, errors=errors))
            assert nodes[0].process.wait(PATIENCE_SECONDS) == STATE_ERROR
            errors.seek(0)
            (line,) = errors.read().splitlines()
        assert line.startswith(f"openfl-node: error: {home / 'state'}")
        assert line.endswith("the file system is read-only")
