"""What the command line uses of nodes, with and without one that runs: one module to import, and
one to stand in for in tests.

Each name is imported when it is used, and the lazy imports are set up before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from openfl.app.lazy_imports import set_up

if TYPE_CHECKING:
    from openfl.app.discover_groups import discover_groups
    from openfl.app.network_setup import load_key_of
    from openfl.app.offline import (
        offline_course,
        offline_recommend,
        offline_similar,
        offline_snapshot,
    )
    from openfl.app.open_node import open_node

__all__ = [
    "discover_groups",
    "load_key_of",
    "offline_course",
    "offline_recommend",
    "offline_similar",
    "offline_snapshot",
    "open_node",
]

_MODULES = {
    "discover_groups": "discover_groups",
    "load_key_of": "network_setup",
    "offline_course": "offline",
    "offline_recommend": "offline",
    "offline_similar": "offline",
    "offline_snapshot": "offline",
    "open_node": "open_node",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    set_up()
    return getattr(importlib.import_module(f"openfl.app.{_MODULES[name]}"), name)
