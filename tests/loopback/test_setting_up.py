"""Real processes: a node joins by HOST:PORT, moves to another home, and goes on there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openfl.app.control_socket import call
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import (
    RunningNode,
    deal_homes,
    ending,
    environment,
    openfl_node,
    until,
)

pytestmark = pytest.mark.slow


def said_by(*argv: str, code: int) -> str:
    """What a command says when it ends so."""
    done = subprocess.run(
        [sys.executable, "-m", "openfl_cli", *argv],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_node_joins_by_host_and_port_and_goes_on_in_another_home(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, "ab")
    first, old = map(str, homes)
    nodes: list[RunningNode] = []
    with ending(nodes):
        nodes.append(RunningNode(homes[0]))
        address = nodes[0].address
        peer_id = address.rpartition("/")[2]
        place = f"localhost:{address.split('/')[4]}"

        # Nobody is there to confirm it: the whole address is named.
        refused = said_by("start", "--home", old, "--bootstrap", place, code=2)
        whole = f"/dns/localhost/tcp/{address.split('/')[4]}/p2p/{peer_id}"
        assert whole in refused
        fingerprint = openfl_node("id", "--home", first, "--fingerprint").strip()
        assert fingerprint in refused

        joined = RunningNode(homes[1], "--bootstrap", place, "--trust-on-first-use")
        nodes.append(joined)
        joined.wait_for("listening")
        until(lambda: len(call(homes[1], "snapshot")["members"]) == 2, "two members")
        listed = openfl_node("bootstrap", "list", "--home", old)
        assert listed == f"connected      {whole}\n"
        listed = openfl_node("bootstrap", "list", "--check", "--home", first, "--json")
        assert listed.strip() == "[]"
        until(lambda: len(joined.find("round")) >= 3, "three rounds")

        archive = str(tmp_path / "node.zip")
        assert "stop it first" in said_by("home", "export", archive, "--home", old, code=6)
        call(homes[1], "stop")
        joined.process.wait(PATIENCE_SECONDS)
        before = openfl_node("id", "--home", old).splitlines()[0]
        openfl_node("home", "export", "--move", "--with-data", archive, "--home", old)
        assert "has moved" in said_by("start", "--home", old, code=6)

        # On the other machine there is nothing of the old home.
        new = tmp_path / "elsewhere" / "new"
        openfl_node("home", "import", archive, "--home", str(new))
        shutil.rmtree(homes[1])
        assert json.loads(openfl_node("recommend", "--home", str(new), "--json")) != []
        data = next(new.glob("given/*ratings.csv"))
        data.rename(new / "ratings.csv")  # where the rig has it
        # It joins through what was remembered.
        moved = RunningNode(new)
        nodes.append(moved)
        moved.wait_for("listening")
        until(lambda: len(call(new, "snapshot")["members"]) == 2, "two members again")
        shot = call(new, "snapshot")
        assert shot["peer_id"] == before
        assert shot["round"] >= 3
        assert call(homes[0], "snapshot")["notices"] == []
        checked = openfl_node("bootstrap", "list", "--check", "--home", str(new))
        assert checked == f"answers        {whole}\n"
