"""`PortMapping`: has the router at home forward a port to this node, so that others can dial it.

UPnP's WANIPConnection (UPnP Forum, WANIPConnection:1, 2.4.16): AddPortMapping with a lease, which
is renewed long before it ends, since a router that was restarted has forgotten it. The address that
results is told only when it is a public one: behind a second router, or a provider's, a mapped port
leads nowhere. IPv4 only; with IPv6 a router does not translate addresses.

What the router says is believed as far as others try it: see `Reachability`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import trio

LEASE_SECONDS = 3600
RENEW_SECONDS = 600.0
"""A router that was restarted forwards nothing until then."""
RETRY_SECONDS = 120.0
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 1.0
"""After another address of this machine was seen: others may come with it."""
REMOVE_SECONDS = 0.7
MAX_PORTS = 4
OTHER_PORTS = 3
"""How many external ports are tried when the wanted one is another machine's."""
LOWEST_OTHER_PORT = 20_000
HIGHEST_OTHER_PORT = 60_000

PERMANENT_ONLY = ("OnlyPermanentLeasesSupported", "Invalid Args")
"""725; and 402, which some routers say for the same. The words are miniupnpc's."""
TAKEN = ("ConflictInMappingEntry", "ConflictWithOtherMechanisms", "Action Failed")
"""718, 729; and 501, which some routers say for the same."""

Say = Callable[[Literal["info", "warning"], str, str], None]
"""Tells the owner: level, stable word, text."""


@dataclass(frozen=True, slots=True)
class RouterView:
    """`lan`: this machine, as the router sees it; `external`: the router's own address outside."""

    lan: ipaddress.IPv4Address
    external: ipaddress.IPv4Address


@dataclass(frozen=True, slots=True)
class Mapping:
    """TCP to `external_port` of the router goes to `internal_port` of `client`."""

    external_port: int
    internal_port: int
    client: ipaddress.IPv4Address


class RouterFailed(Exception):
    """The text says why, for the owner; `word` is the router's own, when it refused."""

    def __init__(self, text: str, word: str = "") -> None:
        super().__init__(text)
        self.word = word


class Router(Protocol):
    """What `PortMapping` asks of a router. All raise RouterFailed, within a bounded time."""

    async def find(self) -> Sequence[str]:
        """URLs of the routers that answer; empty when none does."""

    async def look(self, url: str) -> RouterView:
        """The router's addresses, on this side and on the other."""
        ...

    async def add(self, url: str, mapping: Mapping, lease_seconds: int) -> None:
        """Make or renew a mapping; 0 seconds: for ever. Never takes one from another machine."""

    async def remove(self, url: str, mapping: Mapping) -> None:
        """Nothing happens when the mapping is not there, or is another machine's by now."""


def is_public(address: ipaddress.IPv4Address) -> bool:
    """Whether the address can be dialled from anywhere."""
    return address.is_global and not address.is_multicast


def ports_to_map(
    listening: Sequence[tuple[str, int]], lan: ipaddress.IPv4Address
) -> tuple[int, ...]:
    """Those of the (host, port) listened at that a router can forward to `lan`."""
    hosts = ("0.0.0.0", str(lan))
    return tuple(dict.fromkeys(port for host, port in listening if host in hosts))[:MAX_PORTS]


class PortMapping:
    """Keeps a mapping for as long as `running` is open.

    `listening`: (host, port) of the sockets. `tell` gets the multiaddrs that lead here, whenever
    they change. `local_addresses`: of this machine now; another set means another network, perhaps.
    """

    def __init__(
        self,
        router: Router,
        listening: Sequence[tuple[str, int]],
        tell: Callable[[tuple[str, ...]], None],
        say: Say,
        local_addresses: Callable[[], frozenset[str]],
        rng: random.Random,
    ) -> None:
        self._router = router
        self._listening = tuple(listening)
        self._tell = tell
        self._say = say
        self._local_addresses = local_addresses
        self._rng = rng
        self._url: str | None = None
        self._permanent_only = False
        """Of the router at `_url`."""
        self._held: dict[int, tuple[str, Mapping]] = {}
        """By internal port, with the router's URL; noted before it is asked for, so that none is
        left behind."""
        self._told: tuple[str, ...] = ()
        self._good_until = 0.0
        self._said: tuple[str, ...] = ()
        self._trouble = ""
        self._keeping = trio.CancelScope()
        self._kept = trio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[PortMapping]:
        """Maps in the background; gives back at the end, in `REMOVE_SECONDS`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep)
                yield self
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + REMOVE_SECONDS):
                await self.give_back()

    async def give_back(self) -> None:
        """Remove what was mapped, and map no more."""
        self._keeping.cancel()
        await self._kept.wait()
        held, self._held = self._held, {}
        async with trio.open_nursery() as nursery:
            for url, mapping in held.values():
                nursery.start_soon(self._remove, url, mapping)

    async def _keep(self) -> None:
        try:
            with self._keeping:
                await self._keep_on()
        finally:
            self._kept.set()

    async def _keep_on(self) -> None:
        while True:
            here = self._local_addresses()
            wait = RENEW_SECONDS if await self._refresh() else RETRY_SECONDS
            with trio.move_on_after(wait):
                while self._local_addresses() == here:  # noqa: ASYNC110
                    await trio.sleep(LOOK_SECONDS)
                # Another network: what was told there is wrong here.
                self._good_until = 0.0
                await trio.sleep(SETTLE_SECONDS)

    async def _refresh(self) -> bool:
        """Whether all is mapped now."""
        try:
            url, view = await self._router_here()
            ports = ports_to_map(self._listening, view.lan)
            if not ports:
                raise RouterFailed(f"this node does not listen at {view.lan}, where the router is")
            addresses = []
            for port in ports:
                mapping = await self._map(url, view.lan, port)
                addresses.append(f"/ip4/{view.external}/tcp/{mapping.external_port}")
        except RouterFailed as failed:
            self._failed(str(failed))
            return False
        self._good_until = trio.current_time() + LEASE_SECONDS
        self._announce(tuple(addresses))
        if self._trouble or self._told != self._said:
            self._say("info", "upnp-mapped", f"the router forwards {', '.join(addresses)} to here")
        self._said, self._trouble = self._told, ""
        return True

    def _failed(self, why: str) -> None:
        # A lease outlives a router that is busy for a moment.
        if trio.current_time() >= self._good_until:
            self._announce(())
        if why != self._trouble:
            self._say("warning", "upnp-failed", f"no port is mapped: {why}")
        self._trouble = why

    def _announce(self, addresses: tuple[str, ...]) -> None:
        if addresses != self._told:
            self._told = addresses
            self._tell(addresses)

    async def _router_here(self) -> tuple[str, RouterView]:
        """A router with a public address: the one of last time, or whichever answers."""
        if self._url is not None:
            try:
                return self._url, await self._useful(self._url)
            except RouterFailed:
                self._url = None
        urls = await self._router.find()
        if not urls:
            raise RouterFailed("no router answers (it may have UPnP switched off)")
        trouble: RouterFailed | None = None
        for url in urls:
            try:
                view = await self._useful(url)
            except RouterFailed as failed:
                trouble = failed
            else:
                self._url, self._permanent_only = url, False
                return url, view
        assert trouble is not None
        raise trouble

    async def _useful(self, url: str) -> RouterView:
        view = await self._router.look(url)
        if not is_public(view.external):
            self._good_until = 0.0
            raise RouterFailed(
                f"the router's own address {view.external} is not public: behind it is another"
                " router, or the provider shares addresses (CGNAT)"
            )
        return view

    async def _map(self, url: str, lan: ipaddress.IPv4Address, port: int) -> Mapping:
        wanted = Mapping(port, port, lan)
        if port in self._held:
            router, held = self._held[port]
            wanted = replace(held, client=lan)
            if router == url and held.client != lan:
                await self._remove(url, held)
        others = [
            replace(wanted, external_port=self._rng.randint(LOWEST_OTHER_PORT, HIGHEST_OTHER_PORT))
            for _ in range(OTHER_PORTS)
        ]
        refused: RouterFailed | None = None
        for mapping in (wanted, *others):
            self._held[port] = url, mapping
            try:
                await self._add(url, mapping)
            except RouterFailed as failed:
                if failed.word in (*TAKEN, *PERMANENT_ONLY):
                    del self._held[port]  # else it may have been made all the same
                if failed.word not in TAKEN:
                    raise
                refused = failed
            else:
                return mapping
        assert refused is not None
        raise refused

    async def _add(self, url: str, mapping: Mapping) -> None:
        if not self._permanent_only:
            try:
                return await self._router.add(url, mapping, LEASE_SECONDS)
            except RouterFailed as failed:
                if failed.word not in PERMANENT_ONLY:
                    raise
        await self._router.add(url, mapping, 0)
        self._permanent_only = True

    async def _remove(self, url: str, mapping: Mapping) -> None:
        with contextlib.suppress(RouterFailed):  # its lease ends by itself
            await self._router.remove(url, mapping)
