from __future__ import annotations

import sys
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


@pytest.fixture
def victim(group: Victim) -> Iterator[Victim]:
    """The attacked node; after the attack it must still hear its honest member."""
    yield group
    group.still_hears_the_honest_member()
