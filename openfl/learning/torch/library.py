"""PyTorch, imported when it is first needed: an extra that few nodes have."""

from __future__ import annotations

import threading
from typing import Any

from openfl.core.errors import UsageError

Tensor = Any
Module = Any

GENERATOR = threading.Lock()
"""PyTorch's random generator belongs to the process; whoever seeds it must not be disturbed."""


def torch_library() -> Any:
    """PyTorch, imported at its first use; UsageError when it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f'PyTorch cannot be imported ({error}); pip install "openfl-node[torch]"'
        ) from None
    return torch
