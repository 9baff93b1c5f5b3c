"""The command line with real processes, a real network on loopback, and nothing faked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 60


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENFL_")}
    paths = [path for path in sys.path if path]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "120"}


def openfl_node(*argv: str, code: int = 0) -> str:
    """Run a command to its end; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "openfl_cli", *argv],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class RunningNode:
    """A node started with `start --log-format json`."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "openfl_cli", "start", "--home", str(home)),
                *("--data", str(home / "ratings.csv"), "--listen", "/ip4/127.0.0.1/tcp/0"),
                *("--interval", "0.3", "--log-format", "json", *options),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind:
                return event
        raise AssertionError(f"the node ended ({self.process.wait()}) before any {kind}")


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    from openfl_cli.demo.deal import deal
    from openfl_cli.sample import sample_folder

    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    deal(sample_folder(), folders, seed=3)
    return folders


@pytest.fixture
def two_nodes(homes: list[Path]) -> Iterator[tuple[RunningNode, RunningNode]]:
    nodes = []
    try:
        nodes.append(RunningNode(homes[0]))
        address = nodes[0].wait_for("listening")["data"]["multiaddrs"][0]
        nodes.append(RunningNode(homes[1], "--bootstrap", address))
        nodes[1].wait_for("joined")
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            node.process.kill()
            node.process.communicate()


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


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
    (seen,) = json.loads(openfl_node("groups", "--home", empty, "--bootstrap", address, "--json"))
    assert (seen["id"], seen["members"], seen["mine"]) == (group["id"], 2, False)

    user = (first.home / "ratings.csv").read_text().splitlines()[1].split(",")[0]
    data = str(first.home / "ratings.csv")
    running = json.loads(openfl_node("recommend", "--home", home, "--user", user, "--json"))
    assert openfl_node("stop", "--home", home) == "stopped\n"
    assert first.process.wait(PATIENCE_SECONDS) == 0
    saved = openfl_node("recommend", "--home", home, "--user", user, "--data", data, "--json")
    assert len(json.loads(saved)) == len(running) == 5
    assert status()["running"] is False
    openfl_node("switch", "music", "--home", home, code=7)

    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(PATIENCE_SECONDS) == 0
