"""`openfl-node network-key`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from openfl.network.libp2p.private_network import load_network_key
from openfl_cli import exit_codes, main


def test_the_key_is_made_for_its_owner_only_and_is_one_a_node_takes(tmp_path: Path) -> None:
    path = tmp_path / "swarm.key"
    assert main.run(["network-key", str(path)]) == exit_codes.SUCCESS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(load_network_key(path)) == 32


def test_an_existing_key_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "swarm.key"
    path.write_text("precious")
    assert main.run(["network-key", str(path)]) == 6
    assert path.read_text() == "precious"
    assert "exists already" in capsys.readouterr().err
