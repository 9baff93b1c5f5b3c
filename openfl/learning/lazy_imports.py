"""`scipy.sparse` without the parts of NumPy that no node uses.

SciPy touches every name of NumPy when it is imported, which imports f2py and the test tools: 6 MB
for every node. `import_scipy_sparse` imports it with stand-ins in their place. Afterwards these are
gone, and whoever uses one of the names, in whatever thread, has NumPy import it as ever.

Importing `openfl.learning`, or this module, does none of it: whoever starts a node calls the
function first (`openfl.app.lazy_imports`). Without that everything works alike and is 6 MB larger.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

UNUSED = ("ctypeslib", "f2py", "polynomial", "testing")


class _StandIn(ModuleType):
    """What SciPy keeps of it leads to the real module."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:  # nobody has asked for anything yet
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(self.__name__), name)


def import_scipy_sparse() -> None:
    """Import `scipy.sparse`, and none of `UNUSED` with it.

    Before anything else imports it: nothing changes for modules that are loaded already. To be
    called in one thread, while no other imports NumPy's modules.
    """
    stand_ins = {
        name: _StandIn(f"numpy.{name}") for name in UNUSED if f"numpy.{name}" not in sys.modules
    }
    for name, stand_in in stand_ins.items():
        sys.modules[stand_in.__name__] = stand_in
        setattr(np, name, stand_in)  # NumPy's own __getattr__ would ask for it for ever
    try:
        importlib.import_module("scipy.sparse")
    finally:
        for name, stand_in in stand_ins.items():
            del sys.modules[stand_in.__name__]
            delattr(np, name)
