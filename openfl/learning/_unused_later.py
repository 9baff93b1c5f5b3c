"""Parts of NumPy that no node uses are loaded when somebody uses them, not when SciPy is imported.

`scipy.sparse` touches every name of NumPy, and so imports f2py, the masked arrays and the test
tools: 7 MB for every node.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy as np

LATER = ("ctypeslib", "f2py", "ma", "polynomial", "testing")


def postpone_what_no_node_uses() -> None:
    """Nothing changes for modules that are loaded already."""
    for name in LATER:
        module_name = f"numpy.{name}"
        if module_name in sys.modules:
            continue
        # As the documentation of importlib.util.LazyLoader has it.
        spec = importlib.util.find_spec(module_name)
        if spec is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
        setattr(np, name, module)  # NumPy's own __getattr__ would ask for it for ever
