"""Parts of libp2p that no node uses are loaded when they are called, not when libp2p is imported.

Defect imports-unused. Until somebody calls one of their names, stand-ins take the place of these
modules.

This changes `sys.modules` of the whole process. So it does not happen on import: whoever owns the
process (`open_node`, the command) calls `postpone_what_no_node_uses` before the first import of
anything of libp2p. Without the call everything works as well, and needs more memory.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

LATER = {
    "libp2p.security.tls.autotls.acme": ("ACMEClient", "compute_b36_peer_id"),
    "libp2p.security.tls.autotls.broker": ("BrokerClient",),
    "libp2p.discovery.mdns.mdns": ("MDNSDiscovery", "create_mdns_discovery"),
}
"""What `basic_host` takes of each module."""
_loading = threading.Lock()


class _Later:
    """A function or class of a module that is imported when it is called."""

    def __init__(self, stand_in: ModuleType, name: str) -> None:
        self._stand_in = stand_in
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self._stand_in.__name__
        with _loading:
            if sys.modules.get(module) is self._stand_in:
                del sys.modules[module]
            real = importlib.import_module(module)
        return getattr(real, self._name)(*args, **kwargs)


def postpone_what_no_node_uses() -> None:
    """Put stand-ins for the modules in `LATER` into `sys.modules`, before libp2p is imported.

    Called again it changes nothing; nor in a process that has imported libp2p's host already.
    """
    if "libp2p.host.basic_host" in sys.modules:
        return
    for module, names in LATER.items():
        stand_in = ModuleType(module)
        for name in names:
            setattr(stand_in, name, _Later(stand_in, name))
        sys.modules.setdefault(module, stand_in)
