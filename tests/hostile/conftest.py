from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# importmode=importlib puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from hostile_rig import PATIENCE_SECONDS, Victim, two_honest_nodes

from openfl.network.libp2p import muxer as libp2p_muxer
from openfl.network.libp2p import swarm as libp2p_swarm


@pytest.fixture(autouse=True)
def patient_attackers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attacker gives up because the attacked node is slow."""
    monkeypatch.setattr(libp2p_muxer, "FRAME_WRITE_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(libp2p_muxer, "KEEPALIVE_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(libp2p_swarm, "DIAL_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(libp2p_swarm, "UPGRADE_TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(scope="package")  # not until the end: their rounds would slow down all tests
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Two honest `openfl-node` processes that learn together; the one that will be attacked."""
    with two_honest_nodes(tmp_path_factory.mktemp("hostile")) as victim:
        yield victim
        assert victim.node.process.poll() is None, "an attack ended the node"
        victim.comes_to_rest()


@pytest.fixture
def victim(group: Victim) -> Iterator[Victim]:
    """The attacked node. Its memory and files stay bounded meanwhile, and after the attack it must
    still hear its honest member."""
    with group.stays_bounded():
        yield group
    group.still_hears_the_honest_member()
