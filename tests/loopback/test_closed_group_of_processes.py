"""A closed group in a private network, with real nodes: who gets in, what others are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes, ending, environment, openfl_node, until

pytestmark = pytest.mark.slow


def refused_start(home: Path, *options: str) -> tuple[int, str]:
    """(exit code, stderr) of a node that is expected not to start."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openfl_cli", "start", "--home", str(home), "--no-view"),
            *("--data", str(home / "ratings.csv"), "--listen", "/ip4/127.0.0.1/tcp/0", *options),
        ],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    return done.returncode, done.stderr


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


def test_only_who_has_the_key_connects_and_only_who_is_invited_learns(tmp_path: Path) -> None:
    founder_home, guest_home, stranger_home = deal_homes(tmp_path, "fgs")
    key, invitation = tmp_path / "swarm.key", tmp_path / "guest.invitation"
    openfl_node("network-key", str(key))
    private = ("--set", f"network.psk_file={key}")
    openfl_node("init", "--home", str(guest_home))
    guest_id = openfl_node("id", "--home", str(guest_home)).split()[0]
    nodes: list[RunningNode] = []
    with ending(nodes):
        founder = RunningNode(founder_home, "--closed", *private)
        nodes.append(founder)
        founder.wait_for("round")
        joining = ("--bootstrap", founder.address)

        code, said = refused_start(stranger_home, *joining)
        assert code == 5
        assert one_line(said)
        assert "network key" in said

        code, said = refused_start(guest_home, *joining, *private)
        assert code == 8
        assert one_line(said)
        assert f"openfl-node invite {guest_id}" in said

        invitation.write_text(
            openfl_node("invite", guest_id, "--days", "2", "--home", str(founder_home))
        )
        guest = RunningNode(guest_home, *joining, *private, "--invitation", str(invitation))
        nodes.append(guest)
        for node in nodes:
            until(lambda node=node: node.ask("status")["deltas_merged"] > 0, "learning")
        until(lambda: (guest_home / "peers.json").exists(), "remembering")
        # A start later the node knows its invitation itself.
        guest.end()
        nodes.remove(guest)
        again = RunningNode(guest_home, *private)
        nodes.append(again)
        until(lambda: again.find("peer-connected"), "coming back")
        until(lambda: again.ask("status")["deltas_merged"] > 0, "learning again")


def test_nobody_invites_to_an_open_group(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, "a")
    nodes: list[RunningNode] = []
    with ending(nodes):
        nodes.append(RunningNode(home))
        nodes[0].wait_for("round")
        peer_id = nodes[0].wait_for("listening")["data"]["peer_id"]
        openfl_node("invite", peer_id, "--home", str(home), code=8)
    openfl_node("invite", "ann", "--home", str(tmp_path / "none"), code=8)
