"""What two peers that punch holes say to each other, and which addresses they may name.

libp2p specs, relay/DCUtR.md; the protobuf messages are py-libp2p's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import DecodeError as ProtobufError
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IncompleteReadError, MessageTooLarge
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr

from openfl.network.libp2p.nat.circuit import MAX_MESSAGE_BYTES
from openfl.network.libp2p.streams import StreamReader

DCUTR_PROTOCOL = "/libp2p/dcutr"
MAX_ADDRESSES = 4
"""Of a peer that are dialled in one try, and of ours that are told."""

Address = tuple[str, int]
"""IP address and TCP port."""

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "224.0.0.0/3",
    )
)
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
_TUNNELS = tuple(ipaddress.ip_network(text) for text in ("2001::/32", "2002::/16"))
"""IPv6 addresses with an IPv4 address inside, which could be of any network."""


def is_outside(ip: str) -> bool:
    """Whether the address belongs to no private network, so that nothing inside one is dialled.

    Whether anybody can be there is another question: ranges for documentation and tests count.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if address.version == 4:
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _PUBLIC_V6 and not any(address in network for network in _TUNNELS)


def usable_addresses(
    said: Iterable[bytes], allowed: Callable[[str], bool] = is_outside
) -> list[Address]:
    """The first `MAX_ADDRESSES` of the multiaddrs that are plain IP and TCP and are allowed."""
    found: dict[Address, None] = {}
    for raw in list(said)[: 4 * MAX_ADDRESSES]:
        try:
            address = Multiaddr(raw)
            names = [protocol.name for protocol in address.protocols()]
            if names not in (["ip4", "tcp"], ["ip6", "tcp"]):
                continue
            ip = str(address.value_for_protocol(names[0]))
            port = int(str(address.value_for_protocol("tcp")))
        except Exception:  # the library raises all kinds for what is no multiaddr
            continue
        if port > 0 and allowed(ip):
            found[ip, port] = None
    return list(found)[:MAX_ADDRESSES]


def as_multiaddr(address: Address) -> Multiaddr:
    """The address as it is sent and dialled."""
    return Multiaddr(f"/ip{6 if ':' in address[0] else 4}/{address[0]}/tcp/{address[1]}")


async def read_hole_punch(reader: StreamReader, expected: Any) -> HolePunch:
    """A message of that type; ParseError for anything else, IncompleteReadError at the end."""
    try:
        frame = await reader.read_varint_frame(MAX_MESSAGE_BYTES)
    except MessageTooLarge as error:
        raise ParseError(str(error)) from error
    if frame is None:
        raise IncompleteReadError("the stream ended before a message")
    message = HolePunch()
    try:
        message.ParseFromString(frame)
    except ProtobufError as error:
        raise ParseError("not a message of the hole punching protocol") from error
    if not message.HasField("type") or message.type != expected:
        raise ParseError("a message out of turn")
    return message
