"""Notices that this machine has other addresses than before: another Wi-Fi, a new lease.

TCP does not. A connection from an address that is gone can carry nothing any more, but stays open
until its pings have not been answered for long enough. Here it is closed within seconds, so that
its peer is dialled again from the new address.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable

import psutil  # type: ignore[import-untyped]

from openfl.network.libp2p.transport import CountingStream, Faults, Traffic
from openfl.network.ticks import next_tick

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


def lost_addresses(in_use: Iterable[str]) -> set[str]:
    """Those of the addresses that no interface of this machine has.

    All of 127.0.0.0/8 is there without being listed.
    """
    at_stake = {address for address in in_use if not _plain(address).is_loopback}
    if not at_stake:
        return set()  # an idle node need not ask the system every two seconds
    listed = {
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    }
    mine = {ipaddress.ip_address(address) for address in listed}
    return {address for address in at_stake if _plain(address) not in mine}


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without a zone; an IPv4 address that an IPv6 socket sees, as IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped if mapped is not None else ip


async def close_what_is_stranded(
    traffic: Traffic, faults: Faults, on_loss: Callable[[], None]
) -> None:
    """Close connections from addresses that this machine has lost, until cancelled. `on_loss` is
    called whenever there were any."""
    while True:
        await next_tick(LOOK_SECONDS)
        open_streams: dict[str, list[CountingStream]] = {}
        for stream in traffic.streams:
            with contextlib.suppress(OSError):  # it is closing anyway
                local = str(stream.stream.socket.getsockname()[0])
                open_streams.setdefault(local, []).append(stream)
        lost = lost_addresses(open_streams)
        for address in lost:
            log.info("this machine is no longer %s: closing connections from there", address)
            for stream in open_streams[address]:
                faults.count("address-lost")
                # As if the peer had closed it: whoever reads it cleans up.
                with contextlib.suppress(OSError):
                    stream.stream.socket.shutdown(socket.SHUT_RDWR)
        if lost:
            on_loss()
