"""`host:port` in the place of an address: whoever is there is asked who it is, before it is
trusted. Importing this is quick: what needs libp2p is imported where it is used."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openfl.core.errors import NetworkError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openfl.core.contribution import PeerId

_PLACE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?))"
    r":(\d{1,5})"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A machine, by its IP address or name, and a port there: where, and not who."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> str:
        """The multiaddr without a peer; a name stays a name, and is looked up whenever dialled."""
        try:
            version = ipaddress.ip_address(self.host).version
        except ValueError:
            return f"/dns/{self.host}/tcp/{self.port}"
        return f"/ip{version}/{self.host}/tcp/{self.port}"

    def multiaddr(self, peer_id: str) -> str:
        """The whole address, with whom to expect there."""
        return f"{self.address}/p2p/{peer_id}"

    def among(self, multiaddrs: Sequence[str]) -> str | None:
        """The one of `multiaddrs` that leads here; None when none does."""
        begins = f"{self.address}/p2p/"
        return next((each for each in multiaddrs if each.startswith(begins)), None)


def place_of(text: str) -> Place | None:
    """`localhost:4001`, `192.0.2.7:4001` or `[::1]:4001` as a place; None when it is none."""
    match = _PLACE.fullmatch(text)
    if match is None or not 0 < int(match[4]) < 65536:
        return None
    return Place(match[1] or match[2], int(match[4]))


def ask_who_is_there(place: Place, network_key: bytes | None = None) -> PeerId:
    """The peer id of the node there. NetworkError when nothing answers, or no node does. Runs an
    event loop of its own."""
    import trio

    from openfl.app.lazy_imports import postpone_libp2p

    postpone_libp2p()
    from openfl.network.libp2p.who_is_there import who_is_there

    return trio.run(who_is_there, place.host, place.port, network_key)


@dataclass(frozen=True, slots=True)
class Answer:
    """problem: why `multiaddr` leads to nobody, or to somebody else; empty when all is well. None:
    it cannot be told, since the address is no place (a relay, a name in the DNS for several)."""

    multiaddr: str
    problem: str | None


def ask_each(multiaddrs: Sequence[str], network_key: bytes | None = None) -> list[Answer]:
    """Who answers at each of these addresses, asked side by side."""
    import trio

    from openfl.app.lazy_imports import postpone_libp2p

    postpone_libp2p()
    from openfl.network.libp2p.who_is_there import who_is_there

    answers: dict[int, Answer] = {}

    async def ask(number: int, multiaddr: str) -> None:
        place, peer_id = _place_and_peer(multiaddr)
        problem: str | None = ""
        if place is None:
            problem = None
        else:
            try:
                found = await who_is_there(place.host, place.port, network_key)
            except NetworkError as error:
                problem = str(error)
            else:
                if found != peer_id:
                    problem = f"another node answers there: {found}"
        answers[number] = Answer(multiaddr, problem)

    async def ask_all() -> None:
        async with trio.open_nursery() as nursery:
            for number, multiaddr in enumerate(multiaddrs):
                nursery.start_soon(ask, number, multiaddr)

    trio.run(ask_all)
    return [answers[number] for number in sorted(answers)]


def multiaddr_problem(text: str) -> str | None:
    """Why nobody can be dialled at `text`, a multiaddr with a peer; None when somebody may be."""
    from openfl.app.lazy_imports import postpone_libp2p

    postpone_libp2p()
    from openfl.network.libp2p.addresses import parse_peer_multiaddr

    try:
        parse_peer_multiaddr(text)
    except UserError as error:
        return str(error)
    return None


def _place_and_peer(multiaddr: str) -> tuple[Place | None, str]:
    match = re.fullmatch(r"/(?:ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)/p2p/([^/]+)", multiaddr)
    if match is None:
        return None, ""
    return Place(match[1], int(match[2])), match[3]
