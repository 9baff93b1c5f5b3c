"""Parts of libp2p that no node uses are loaded when they are called, not when libp2p is imported.

Defect imports-unused. Of every libp2p node, half of what is imported is for QUIC, WebSocket, RSA,
name resolution, metrics and discovery that OpenFL never switches on. Two things take their place
until somebody asks for them:

- a *collecting package* is one whose `__init__` only collects names from the modules below it (as
  `libp2p` itself). It is made, but its `__init__` runs when a name is asked of the package;
- a *module for later* holds stand-ins for the names that others import from it, and is loaded when
  one of them is called.

This changes the import system of the whole process. So it does not happen on import: whoever owns
the process (`open_node`, the command) calls `postpone_what_no_node_uses` before the first import of
anything of libp2p. Without the call everything works as well, and needs more memory and time.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Union

COLLECTING = frozenset(
    {
        "libp2p",
        "libp2p.bitswap",
        "libp2p.discovery.bootstrap",
        "libp2p.discovery.mdns",
        "libp2p.kad_dht",
        "libp2p.network",
        "libp2p.rcmgr",
        "libp2p.relay",
        "libp2p.relay.circuit_v2",
        "libp2p.security",
        "libp2p.security.tls",
        "libp2p.transport",
        "libp2p.utils",
    }
)
"""Packages whose `__init__` runs when a name is asked of them."""
LATER = {
    "libp2p.crypto.rsa": ("RSAPrivateKey", "RSAPublicKey"),
    "libp2p.crypto.secp256k1": ("Secp256k1PrivateKey", "Secp256k1PublicKey"),
    "libp2p.discovery.bootstrap.bootstrap": ("BootstrapDiscovery",),
    "libp2p.discovery.mdns.mdns": ("MDNSDiscovery", "create_mdns_discovery"),
    "libp2p.discovery.upnp.upnp": ("UpnpManager",),
    "libp2p.rcmgr.prometheus_exporter": ("PrometheusExporter", "create_prometheus_exporter"),
    "libp2p.security.pnet.psk_conn": ("PskConn",),
    "libp2p.security.tls.autotls.acme": ("ACMEClient", "compute_b36_peer_id"),
    "libp2p.security.tls.autotls.broker": ("BrokerClient",),
    "libp2p.transport.quic.stream": ("QUICStream",),
    "multiaddr.resolvers": ("DNSResolver",),
    "prometheus_client": ("Counter", "Histogram", "start_http_server"),
}
"""What is imported from each module, by those that are loaded."""
MADE_LATER = frozenset({"multiaddr.resolvers.DNSResolver"})
"""Classes of which every swarm makes an object that it may never use."""
_loading = threading.RLock()
_under_way: set[str] = set()
"""Modules that the one thread which holds the lock is loading."""


class _Collecting(ModuleType):
    """A package whose `__init__` has not run."""

    def __getattr__(self, name: str) -> Any:
        package = self.__name__
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        _load(self, _Collecting)
        return _of_loaded(self, name)


class _Later:
    """A function or class of a module that is imported when it is called, or something of it."""

    def __init__(self, module: ModuleType, *path: str) -> None:
        self._module = module
        self._path = path

    def _real(self) -> Any:
        _load(self._module, _ForLater)
        found: Any = self._module
        for name in self._path:
            found = getattr(found, name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if f"{self._module.__name__}.{self._path[0]}" in MADE_LATER and not args and not kwargs:
            return _MadeLater(self._real)
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Later(self._module, *self._path, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, thing: object) -> bool:
        # As long as the module is not loaded, nothing of it has been made.
        return not _is_for_later(self._module) and isinstance(thing, self._real())

    def __subclasscheck__(self, kind: type) -> bool:
        return not _is_for_later(self._module) and issubclass(kind, self._real())

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007


class _MadeLater:
    """An object that is made when anything is asked of it. `kind()`: the class."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._kind()()
        return getattr(self._made, name)


class _ForLater(ModuleType):
    """A module that holds stand-ins."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _load(self, _ForLater)
        return _of_loaded(self, name)


def _load(module: ModuleType, as_long_as: type[ModuleType]) -> None:
    """Fill the module with what is really in it, if it still is of that class. Other threads wait;
    what the loading itself asks of the module finds what is there by then."""
    with _loading:
        if module.__class__ is not as_long_as or module.__name__ in _under_way:
            return
        loader = module.__spec__.loader if module.__spec__ is not None else None
        assert isinstance(loader, _LateLoader)
        _under_way.add(module.__name__)
        try:
            for name in LATER.get(module.__name__, ()):
                vars(module).pop(name, None)
            loader.real.exec_module(module)
            module.__class__ = ModuleType
        finally:
            _under_way.discard(module.__name__)


def _of_loaded(module: ModuleType, name: str) -> Any:
    try:
        return vars(module)[name]
    except KeyError:
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from None


def _is_for_later(module: ModuleType) -> bool:
    return module.__class__ is _ForLater


class _LateLoader(Loader):
    """Makes a module and leaves it to be loaded by `real`."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one of the right kind."""
        return (_Collecting if spec.name in COLLECTING else _ForLater)(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Only names that stand for what the module will have."""
        for name in LATER.get(module.__name__, ()):
            setattr(module, name, _Later(module, name))


class _LateFinder(MetaPathFinder):
    """Finds the modules of `COLLECTING` and `LATER`, where Python's own finder does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every other module."""
        if fullname not in COLLECTING and fullname not in LATER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec


def postpone_what_no_node_uses() -> None:
    """Have the import system put off `COLLECTING` and `LATER`; before libp2p is imported.

    Called again it changes nothing; nor in a process that has imported libp2p already.
    """
    if "libp2p" in sys.modules or any(isinstance(f, _LateFinder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _LateFinder())
