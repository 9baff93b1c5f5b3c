"""`netcheck`: this machine's addresses, who can reach them, what peers see, and how far the
bootstrap nodes are. Nobody is contacted but whom the owner configured; the router and the LAN only
when that is asked for."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import trio

from openfl.app import control_socket
from openfl.app.doctor.brief_network import brief_network
from openfl.app.doctor.commands import seen_by_some
from openfl.app.doctor.pinging import RoundTrip, round_trip
from openfl.app.doctor.subject import Subject
from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, NotRunningError, UserError
from openfl.core.reach import ReachView
from openfl.network.base import PeerAddress

if TYPE_CHECKING:
    from openfl.network.libp2p.network import Libp2pNetwork

VOTE_SECONDS = 8.0
"""How long a brief network waits for the first peer to try to dial it."""
LAN_SECONDS = 4.0
ANSWER_SECONDS = 30.0

From = Literal["this machine", "this LAN", "a shared network", "anywhere"]


@dataclass(frozen=True, slots=True)
class Address:
    """Of this machine, and from where it can be reached, if nothing is in the way."""

    ip: str
    reachable_from: From


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A configured address and what came of it. seconds: of a round trip; None: no answer, and
    `problem` says why."""

    address: str
    seconds: float | None
    connect_seconds: float = 0.0
    relayed: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Router:
    """A router that answers by UPnP; `external`: its outer address."""

    url: str
    external: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class LanPeer:
    """Who says by mDNS that it is on this LAN."""

    peer_id: PeerId
    multiaddrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetReport:
    """What was found. running: whether the running node was asked. translated: whether peers see
    this machine at an address it does not have (NAT); None: nobody told. routers, lan: None when
    they were not looked for; a text says why they could not be."""

    running: bool
    addresses: tuple[Address, ...]
    reach: ReachView
    translated: bool | None
    bootstrap: tuple[Bootstrap, ...]
    routers: tuple[Router, ...] | str | None = None
    lan: tuple[LanPeer, ...] | str | None = None

    @property
    def nat(self) -> str:
        """In one word: `public`, `private`, `unknown`; as peers found by dialling back."""
        return {True: "private", False: "public", None: "unknown"}[self.reach.private]

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "nat": self.nat}


async def netcheck(subject: Subject, *, upnp: bool = False, mdns: bool = False) -> NetReport:
    """Ask the node that runs in the home, or else a brief network. NetworkError, StateError: it
    cannot be opened."""
    routers: tuple[Router, ...] | str | None = None
    lan: tuple[LanPeer, ...] | str | None = None

    async def find_routers() -> None:
        nonlocal routers
        routers = await _routers()

    async def find_lan() -> None:
        nonlocal lan
        lan = await _lan()

    async with trio.open_nursery() as nursery:
        if upnp:
            nursery.start_soon(find_routers)
        if mdns:
            nursery.start_soon(find_lan)
        if subject.running and subject.reach is not None:
            view, found = subject.reach, await _as_the_node_says(subject)
        else:
            view, found = await _as_seen_briefly(subject)
    from openfl.network.libp2p.addresses import interface_addresses

    own = interface_addresses()
    return NetReport(
        running=subject.running,
        addresses=tuple(Address(ip, reachable_from(ip)) for ip in own),
        reach=view,
        translated=_translated(view, own),
        bootstrap=found,
        routers=routers,
        lan=lan,
    )


def reachable_from(ip: str) -> From:
    """From where an address can be reached, by what kind it is."""
    address = ipaddress.ip_address(ip)
    if address.is_loopback:
        return "this machine"
    if address.is_global:
        return "anywhere"
    # 100.64.0.0/10: many customers of a provider behind one router of its (RFC 6598).
    return "this LAN" if address.is_private else "a shared network"


def _translated(view: ReachView, own: tuple[str, ...]) -> bool | None:
    seen = [each.seen_at.split("/")[2] for each in view.seen if each.seen_at.startswith("/ip")]
    return None if not seen else any(ip not in own for ip in seen)


# --- by the running node --------------------------------------------------------------------------


async def _as_the_node_says(subject: Subject) -> tuple[Bootstrap, ...]:
    async def ask(address: str) -> Bootstrap:
        try:
            trip = RoundTrip(**await trio.to_thread.run_sync(call, address))
        except NotRunningError:
            raise
        except UserError as error:
            return Bootstrap(address, None, problem=str(error))
        return Bootstrap(address, trip.seconds, trip.connect_seconds, trip.relayed)

    def call(address: str) -> Any:
        return control_socket.call(subject.home.root, "ping", ANSWER_SECONDS, peer=address)

    return await _each(subject, ask)


async def _each(subject: Subject, ask: Any) -> tuple[Bootstrap, ...]:
    mine = "" if subject.snapshot is None else f"/p2p/{subject.snapshot.peer_id}"
    wanted = [a for a in subject.config.network.bootstrap if not (mine and a.endswith(mine))]
    found: dict[str, Bootstrap] = {}

    async def one(address: str) -> None:
        found[address] = await ask(address)

    async with trio.open_nursery() as nursery:
        for address in wanted:
            nursery.start_soon(one, address)
    return tuple(found[address] for address in wanted)


# --- by a brief network ---------------------------------------------------------------------------


async def _as_seen_briefly(subject: Subject) -> tuple[ReachView, tuple[Bootstrap, ...]]:
    async with _listening(subject) as network:
        from openfl.network.libp2p.addresses import parse_peer_multiaddr

        async def ask(address: str) -> Bootstrap:
            try:
                trip = await round_trip(network, parse_peer_multiaddr(address))
            except UserError as error:
                return Bootstrap(address, None, problem=str(error))
            return Bootstrap(address, trip.seconds, trip.connect_seconds, trip.relayed)

        found = await _each(subject, ask)
        if network.connected():
            with trio.move_on_after(VOTE_SECONDS):
                while not network.diagnosis.view(network.listening).votes:  # noqa: ASYNC110
                    await trio.sleep(0.1)  # votes are counted elsewhere
        seen = tuple(await seen_by_some(network))
        view = network.diagnosis.view(network.listening)
        values = {**view.to_plain(), "seen": [each.to_plain() for each in seen]}
        return ReachView.from_plain(values), found


@contextlib.asynccontextmanager
async def _listening(subject: Subject) -> AsyncIterator[Libp2pNetwork]:
    """Where the node would listen: what a firewall lets in goes by the port. On a free one when
    that is taken."""
    network = subject.config.network
    version = "ip6" if ":" in network.host else "ip4"
    port = network.port or subject.kept_port
    wanted = network.listen or (f"/{version}/{network.host}/tcp/{port}",)
    free = (f"/{version}/{network.host}/tcp/0",)
    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(brief_network(subject.config, wanted))
        except NetworkError:
            opened = await stack.enter_async_context(brief_network(subject.config, free))
        yield opened


# --- the router and the LAN -----------------------------------------------------------------------


async def _routers() -> tuple[Router, ...] | str:
    from openfl.network.lan.upnp import RouterFailed
    from openfl.network.lan.upnp_router import LanRouter

    lan = LanRouter()
    try:
        urls = await lan.find()
    except RouterFailed as error:
        return str(error)
    found = []
    for url in urls:
        try:
            view = await lan.look(url)
            found.append(Router(url, str(view.external)))
        except RouterFailed as error:
            found.append(Router(url, "", str(error)))
    return tuple(found)


async def _lan() -> tuple[LanPeer, ...] | str:
    from openfl.app.lazy_imports import set_up

    set_up()
    from openfl.network.lan.mdns import LanDiscovery
    from openfl.network.libp2p.envelope import generate_identity, peer_id_of

    found: dict[PeerId, LanPeer] = {}

    def heard(peer: PeerAddress) -> None:
        found.setdefault(peer.peer_id, LanPeer(peer.peer_id, peer.multiaddrs))

    # It asks and hears, and has no address to tell.
    lan = LanDiscovery(peer_id_of(generate_identity()), lambda: (), heard)
    try:
        async with lan.running():
            await trio.sleep(LAN_SECONDS)
    except NetworkError as error:
        return str(error)
    return tuple(found.values())
