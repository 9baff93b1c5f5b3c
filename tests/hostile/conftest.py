from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# importmode=importlib puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from hostile_rig import Victim, two_honest_nodes


@pytest.fixture(scope="session")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Two honest `openfl-node` processes that learn together; the one that will be attacked."""
    with two_honest_nodes(tmp_path_factory.mktemp("hostile")) as victim:
        yield victim
        assert victim.node.process.poll() is None, "an attack ended the node"
        before = victim.cpu_seconds()
        time.sleep(3)
        assert victim.cpu_seconds() - before < 2, "an attack left the node busy"


@pytest.fixture
def victim(group: Victim) -> Iterator[Victim]:
    """The attacked node. Its memory and files stay bounded meanwhile, and after the attack it must
    still hear its honest member."""
    with group.stays_bounded():
        yield group
    group.still_hears_the_honest_member()
