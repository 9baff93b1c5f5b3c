"""Names in multiaddrs: /dns, /dns4 and /dns6 by the system's resolver, /dnsaddr by TXT records.

Defect names-without-resolver. A /dnsaddr (multiformats, multiaddr/protocols/DNSADDR.md) stands for
what the TXT records of `_dnsaddr.NAME` say: `dnsaddr=/ip4/.../tcp/.../p2p/PEER`.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio
from libp2p.transport.exceptions import OpenConnectionError

from openfl.network.libp2p.addresses import order_addresses

MAX_RECORDS = 32
MAX_ADDRESSES = 4
_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}

QueryText = Callable[[str], Awaitable[list[str]]]


async def resolve_host(kind: str, name: str, port: int) -> list[str]:
    """IP addresses of a name, those the system prefers first; `kind` is dns, dns4 or dns6.

    OpenConnectionError says that there are none.
    """
    try:
        found = await trio.socket.getaddrinfo(
            name, port, family=_FAMILIES[kind], type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise OpenConnectionError(f"the name {name} is not known: {error.strerror}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES]


async def query_text(name: str) -> list[str]:
    """The TXT records of a name."""
    # Here, and below: tens of milliseconds and megabytes that few nodes have a use for.
    import dns.asyncresolver

    answer = await dns.asyncresolver.resolve(name, "TXT", lifetime=5)
    return [b"".join(record.strings).decode("ascii", errors="replace") for record in answer]


async def resolve_dnsaddr(name: str, peer_id: str, query: QueryText = query_text) -> list[str]:
    """Addresses of the peer in the TXT records of `_dnsaddr.name`, likeliest first.

    OpenConnectionError when there are none. Records that point to further names are not followed.
    """
    import dns.exception

    try:
        records = await query(f"_dnsaddr.{name}")
    except dns.exception.DNSException as error:
        raise OpenConnectionError(f"no addresses in the DNS for {name}: {error}") from error
    ending = f"/p2p/{peer_id}"
    said = [r.removeprefix("dnsaddr=") for r in records[:MAX_RECORDS] if r.startswith("dnsaddr=/")]
    mine = order_addresses(a for a in said if a.endswith(ending) and not a.startswith("/dnsaddr"))
    if not mine:
        raise OpenConnectionError(f"the DNS has no address of {peer_id} under {name}")
    return mine[:MAX_ADDRESSES]
