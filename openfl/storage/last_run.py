"""What the last run of a node left in its home folder, for whoever asks before the next one, or
without it. The node's own file is only looked at: `HomeStorage.load` tells what is wrong with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openfl.core.contribution import Charter
from openfl.core.errors import RemoteError, StateError
from openfl.core.names import normal
from openfl.core.telemetry import NodeSnapshot
from openfl.storage.home import Home
from openfl.storage.state_files import peek_state, read_state
from openfl.wire import messages as wire

NODE_KIND = "node"
NODE_VERSION = 1
SNAPSHOT_KIND = "snapshot"
SNAPSHOT_VERSION = 1


def current_charter(home: Home) -> Charter | None:
    """Of the group that the node of this home is in; None when it is in none."""
    plain = _node_state(home).get("charter")
    try:
        return None if plain is None else wire.charter_from_plain(plain)
    except RemoteError:
        return None


def current_task(home: Home, wanted: str | None) -> str | None:
    """The task of the group that `HomeStorage.load(wanted)` would resume; None when there is
    none."""
    state = _node_state(home)
    charter = state.get("charter")
    if not isinstance(charter, dict):
        return None
    if not is_wanted(wanted, charter.get("name"), state.get("asked")):
        return None
    task = charter.get("task")
    return task if isinstance(task, str) else None


def data_files(home: Home) -> dict[str, str]:
    """Where the data was and how it was read, as `HomeStorage.attach` was told; empty when no node
    ever ran here."""
    files = _node_state(home).get("data_files")
    if not isinstance(files, dict):
        return {}
    return {str(key): str(path) for key, path in files.items()}


def last_snapshot(home: Home) -> NodeSnapshot | None:
    """The last saved picture of the node, its phase `stopped`; None when there is none. A damaged
    one is moved aside. StateError: it is of another version."""
    file = home.state_file("last")
    state = read_state(file, SNAPSHOT_KIND, SNAPSHOT_VERSION, time.time())
    if state.content is None:
        return None
    try:
        last = NodeSnapshot.from_plain(state.content)
        return replace(last, phase="stopped", resources=None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"{file}: is of another version ({error})") from None


def is_wanted(wanted: str | None, *names: Any) -> bool:
    """Whether no group is wanted by name, or one of these; however their letters are composed."""
    return wanted is None or normal(wanted) in [normal(n) for n in names if isinstance(n, str)]


def _node_state(home: Home) -> Mapping[str, Any]:
    content = peek_state(home.state_file("node"), NODE_KIND, NODE_VERSION)
    return content if isinstance(content, dict) else {}
