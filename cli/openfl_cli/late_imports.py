"""Modules that our dependencies import but a node seldom or never uses are loaded at first use.

py-libp2p imports an HTTP client for fetching certificates, SciPy's sparse matrices all of its dense
linear algebra. Left out until needed, a node takes some 14 MB less memory. Only the command does
this: a program that embeds a node decides for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader
from types import ModuleType

SELDOM_USED = ("httpx", "scipy.linalg")


class LateImports(MetaPathFinder):
    """Finds the modules of these names as the other finders do, and has them executed late."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = LazyLoader(spec.loader)
                return spec
        return None


def defer(names: Sequence[str] = SELDOM_USED) -> None:
    """From now on import these at first use; once is enough."""
    if not any(isinstance(finder, LateImports) for finder in sys.meta_path):
        sys.meta_path.insert(0, LateImports(names))
