"""Every value that the configuration allows makes a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openfl.aggregation.replica import Replica
from openfl.config import load_config
from openfl.config.load import all_settings
from openfl.core.errors import ConfigError
from openfl.group.session import GroupSession
from openfl.group.settings import SessionStart
from openfl.node.settings import node_settings, session_settings
from tests.group_rig import CHARTER, RigSealer, peer

NUMBERS = [
    key
    for key, setting in all_settings().items()
    if key != "gossip.member_ttl_seconds"  # has a bound of its own, by another setting
    and key.split(".")[0] in ("training", "gossip")
    and setting.maximum is not None
]


def session_with(key: str, value: float) -> GroupSession:
    settings = session_settings(load_config(None, {}, {key: value}))
    replica = Replica(CHARTER, settings.limits)
    session = GroupSession(
        replica, RigSealer(peer(0)), settings, np.random.default_rng(0), SessionStart(1)
    )
    session.start(0.0)
    return session


def test_whether_names_are_told_reaches_the_node(tmp_path: Path) -> None:
    for told in (True, False):
        config = load_config(None, {}, {"privacy.tell_labels": told})
        assert node_settings(config, tmp_path).tell_labels is told


@pytest.mark.parametrize("key", NUMBERS)
def test_a_session_can_be_made_with_the_largest_value_allowed(key: str) -> None:
    largest = all_settings()[key].maximum
    assert largest is not None
    session_with(key, largest)
    with pytest.raises(ConfigError, match=key):
        session_with(key, largest + 1)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_session_can_be_made_with_the_smallest_value_allowed(key: str) -> None:
    smallest = all_settings()[key].minimum
    assert smallest is not None
    if all_settings()[key].above_minimum:
        smallest += 1e-3
    session_with(key, smallest)
    with pytest.raises(ConfigError, match=key):
        session_with(key, -1)
