"""Multiaddrs: reading those that people give, and choosing among those that peers tell.

Only TCP over IPv4, IPv6 or a DNS name is spoken here.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import psutil  # type: ignore[import-untyped]
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError
from openfl.network.base import PeerAddress

INTERFACES_SECONDS = 2.0
REMEMBERED_ADDRESSES = 2048
MAX_REMEMBERED_LENGTH = 256
"""Of an address, in characters: peers may tell longer ones, which are looked at anew."""
PEER_ADDRESS_EXAMPLE = (
    "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
)


def parse_peer_multiaddr(text: str) -> PeerAddress:
    """A peer and its address from `/ip4/.../tcp/.../p2p/...`.

    NetworkError says what is wrong with anything else, and shows an example.
    """
    hint = f"; an address looks like {PEER_ADDRESS_EXAMPLE}"
    if not text.startswith("/"):
        raise NetworkError(f"{text!r} is not a multiaddr: it must begin with '/'{hint}")
    address, separator, identity = text.rpartition("/p2p/")
    if not separator:
        raise NetworkError(
            f"{text!r} does not say which peer it is: /p2p/<peer id> is missing{hint}"
        )
    try:
        peer_id = ID.from_base58(identity.strip("/"))
        if peer_id.extract_public_key() is None:
            raise ValueError("no embedded key")
    except Exception as error:
        raise NetworkError(f"{text!r}: {identity!r} is not a peer id{hint}") from error
    try:
        Multiaddr(address)
    except Exception as error:
        raise NetworkError(f"{text!r} is not a multiaddr: {error}{hint}") from error
    if not order_addresses([address]):
        raise NetworkError(
            f"{text!r} is not a TCP address (/ip4, /ip6 or /dns, then /tcp; or /dnsaddr){hint}"
        )
    return PeerAddress(PeerId(str(peer_id)), (address,))


def parse_listen_multiaddr(text: str) -> tuple[int, str, int]:
    """(IP version, host, port) of a listen multiaddr; NetworkError names what is wrong with it."""
    example = "; a listen address looks like /ip4/0.0.0.0/tcp/4001"
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
        if names not in (["ip4", "tcp"], ["ip6", "tcp"]):
            raise ValueError("only /ip4/.../tcp/... and /ip6/.../tcp/... can be listened on")
        return (
            int(names[0][-1]),
            str(address.value_for_protocol(names[0])),
            int(str(address.value_for_protocol("tcp"))),
        )
    except Exception as error:
        raise NetworkError(f"cannot listen on {text!r}: {error}{example}") from error


def parse_announce_multiaddr(text: str) -> Multiaddr:
    """The address; NetworkError names what is wrong with it."""
    if not text.startswith("/") or not order_addresses([text]):
        raise NetworkError(
            f"cannot announce {text!r}: it is not a TCP address such as /ip4/192.0.2.7/tcp/4001"
        )
    return Multiaddr(strip_peer_id(text))


class _Interfaces:
    """What the system said of its interfaces, for a while: to ask it takes longer than all that is
    done with the answer, and it is asked for whenever addresses of peers are put in order."""

    def __init__(self) -> None:
        self._expire_at = float("-inf")
        self._addresses: tuple[str, ...] = ()

    def addresses(self) -> tuple[str, ...]:
        now = time.monotonic()
        if now >= self._expire_at:
            self._addresses = _ask_for_interfaces()
            self._expire_at = now + INTERFACES_SECONDS
        return self._addresses

    def forget(self) -> None:
        self._expire_at = float("-inf")


_interfaces = _Interfaces()


def forget_interfaces() -> None:
    """They have changed: the next to ask learns of it."""
    _interfaces.forget()


def interface_addresses() -> tuple[str, ...]:
    """IPv4 and global IPv6 addresses of this machine, loopback first, link-local left out; a
    change is seen after `INTERFACES_SECONDS`."""
    return _interfaces.addresses()


def _ask_for_interfaces() -> tuple[str, ...]:
    found: list[str] = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            ip = ipaddress.ip_address(entry.address.split("%")[0])
            if not (ip.is_link_local or ip.is_multicast or ip.is_unspecified):
                found.append(str(ip))
    return tuple(sorted(set(found), key=lambda ip: (not ipaddress.ip_address(ip).is_loopback, ip)))


def expand_address(name: Any) -> list[str]:
    """Dialable multiaddrs of a bound socket: an unspecified address becomes every interface's."""
    try:
        host, port = str(name[0]), int(name[1])
        bound = ipaddress.ip_address(host.split("%")[0])
    except (ValueError, IndexError, TypeError):
        return []
    if not bound.is_unspecified:
        return [f"/ip{bound.version}/{bound}/tcp/{port}"]
    return [
        f"/ip{bound.version}/{ip}/tcp/{port}"
        for ip in interface_addresses()
        if ipaddress.ip_address(ip).version == bound.version
    ]


CIRCUIT = "/p2p-circuit"


def strip_peer_id(address: str) -> str:
    """The multiaddr without a trailing `/p2p/...`; the relay of a circuit stays named."""
    if CIRCUIT in address:
        return address.partition(CIRCUIT)[0] + CIRCUIT
    head, _, _ = address.partition("/p2p/")
    return head


def is_circuit(address: str) -> bool:
    """Whether the address leads over a relay."""
    return address.endswith(CIRCUIT)


def relay_of(circuit: str) -> tuple[str, str]:
    """(peer id of the relay, its address) of `/ip4/.../tcp/.../p2p/RELAY/p2p-circuit`."""
    address, _, relay = circuit.removesuffix(CIRCUIT).rpartition("/p2p/")
    return relay, address


def order_addresses(addresses: Iterable[str]) -> list[str]:
    """Dialable TCP addresses, likeliest first: loopback leads only for peers on this machine, and
    circuits over relays come last."""
    usable = [a for a in dict.fromkeys(map(strip_peer_id, addresses)) if _is_usable(a)]
    mine = set(interface_addresses())
    local = any(_is_one_of(address, mine) for address in usable)
    return sorted(usable, key=lambda address: _rank(address, local))


def text_of(address: Multiaddr) -> str:
    """`str(address)`, which takes long, for most of them from memory."""
    raw: bytes = address.to_bytes()
    return _text_of(raw) if len(raw) <= MAX_REMEMBERED_LENGTH else str(address)


@lru_cache(REMEMBERED_ADDRESSES)
def _text_of(raw: bytes) -> str:
    return str(Multiaddr(raw))


def _is_usable(address: str) -> bool:
    if len(address) <= MAX_REMEMBERED_LENGTH:
        return _has_usable_form(address)
    return _has_usable_form.__wrapped__(address)


@lru_cache(REMEMBERED_ADDRESSES)
def _has_usable_form(address: str) -> bool:
    """Whether it leads over TCP, and to a port."""
    try:
        protocols = [p.name for p in Multiaddr(address).protocols()]
    except Exception:
        return False
    if protocols == ["dnsaddr"]:
        return True
    if protocols[2:] == ["p2p", "p2p-circuit"]:
        protocols = protocols[:2]
    return (
        len(protocols) == 2
        and protocols[1] == "tcp"
        and protocols[0] in ("ip4", "ip6", "dns", "dns4", "dns6")
        and "/tcp/0" not in (address[-6:], relay_of(address)[1][-6:])
    )


def _ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    return _parse_ip(address.split("/", 3)[2][:MAX_REMEMBERED_LENGTH])


@lru_cache(REMEMBERED_ADDRESSES)
def _parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None  # a DNS name


def _is_one_of(address: str, mine: set[str]) -> bool:
    ip = _ip_of(address)
    return ip is not None and not ip.is_loopback and str(ip) in mine


def _rank(address: str, local: bool) -> int:
    ip = _ip_of(address)
    if is_circuit(address):
        return 6 if ip is not None and ip.is_loopback and not local else 5
    if ip is None:
        return 1
    if ip.is_loopback:
        return 0 if local else 4
    return (2 if ip.is_private else 1) + (ip.version == 6)
