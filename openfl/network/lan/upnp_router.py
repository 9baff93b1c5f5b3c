"""`LanRouter`: the router of this LAN, found by SSDP and asked by miniupnpc.

SSDP as in the UPnP Device Architecture 1.1, 1.3: a question to 239.255.255.250:1900, answers with
the URL of a description. miniupnpc can ask it, too, but fetches whatever URL anybody answers: here
only one at the address that the answer came from, which must be on the same LAN. What is said
there is read in a process of its own (`upnp_process`).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import trio

from openfl.network.lan import upnp_process
from openfl.network.lan.upnp import Mapping, RouterFailed, RouterView

log = logging.getLogger(__name__)

SSDP = ("239.255.255.250", 1900)
KINDS = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
TIMES_ASKED = 2
"""UDP loses some."""
FIND_SECONDS = 3.0
MORE_SECONDS = 0.5
"""How long to wait for others once one has answered."""
MAX_INTERFACES = 8
MAX_REPLIES = 64
MAX_REPLY_BYTES = 2048
MAX_URL_CHARACTERS = 256
MAX_ROUTERS = 4
ASK_SECONDS = 10.0

LOCATION = re.compile(rb"\r?\nlocation:[ \t]*([!-~]+)[ \t]*\r?\n", re.IGNORECASE)


class LanRouter:
    """Implements `openfl.network.lan.upnp.Router`."""

    async def find(self) -> tuple[str, ...]:
        """URLs of the routers that answer; RouterFailed outside of a private network."""
        lans = lan_interfaces()
        if not lans:
            raise RouterFailed("this machine has no address in a private network")
        found: dict[str, None] = {}
        with trio.move_on_after(FIND_SECONDS) as patience:

            def heard(url: str) -> None:
                found[url] = None
                patience.deadline = min(patience.deadline, trio.current_time() + MORE_SECONDS)

            async with trio.open_nursery() as nursery:
                for lan in lans:
                    nursery.start_soon(_ask_lan, lan, heard)
        return tuple(found)[:MAX_ROUTERS]

    async def look(self, url: str) -> RouterView:
        """Its two addresses; RouterFailed when it does not tell them."""
        said = await _ask("look", url)
        try:
            lan, external = said["lan"], said["external"]
            return RouterView(ipaddress.IPv4Address(lan), ipaddress.IPv4Address(external))
        except (KeyError, ValueError) as error:
            raise RouterFailed("the router does not tell its own address") from error

    async def add(self, url: str, mapping: Mapping, lease_seconds: int) -> None:
        """Make or renew a mapping."""
        ports = (str(mapping.external_port), str(mapping.internal_port))
        await _ask("add", url, *ports, str(lease_seconds))

    async def remove(self, url: str, mapping: Mapping) -> None:
        """Take a mapping back, if it is this machine's."""
        ports = (str(mapping.external_port), str(mapping.internal_port))
        await _ask("remove", url, *ports, str(mapping.client))


def lan_interfaces() -> list[ipaddress.IPv4Interface]:
    """This machine's IPv4 addresses in private networks: where there may be a router to ask."""
    found = []
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family != socket.AF_INET or not entry.netmask:
                continue
            interface = ipaddress.IPv4Interface(f"{entry.address}/{entry.netmask}")
            ip = interface.ip
            if not (ip.is_loopback or ip.is_link_local or ip.is_global):
                found.append(interface)
    return found[:MAX_INTERFACES]


def read_reply(reply: bytes, source: str, lan: ipaddress.IPv4Network) -> str | None:
    """The URL of the router that answered from `source`; None when it is not to be followed: of
    another host, of none of this LAN, or malformed."""
    match = LOCATION.search(reply) if len(reply) <= MAX_REPLY_BYTES else None
    if match is None or not reply.startswith(b"HTTP/1.1 200"):
        return None
    url = match.group(1).decode("ascii")
    if len(url) > MAX_URL_CHARACTERS or upnp_process.host_of(url) != source:
        return None
    return url if ipaddress.IPv4Address(source) in lan else None


async def _ask_lan(lan: ipaddress.IPv4Interface, heard: Callable[[str], None]) -> None:
    """Until cancelled, or as many as may answer have."""
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, lan.ip.packed)
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
            await udp.bind((str(lan.ip), 0))
            for kind in KINDS * TIMES_ASKED:
                await udp.sendto(_question(kind), SSDP)
            for _ in range(MAX_REPLIES):
                reply, (source, _port) = await udp.recvfrom(MAX_REPLY_BYTES + 1)
                url = read_reply(reply, source, lan.network)
                if url is not None:
                    heard(url)
        except OSError as error:
            log.debug("upnp: nobody can be asked from %s: %s", lan.ip, error)


def _question(kind: str) -> bytes:
    return (
        "M-SEARCH * HTTP/1.1\r\n"
        f"HOST: {SSDP[0]}:{SSDP[1]}\r\n"
        'MAN: "ssdp:discover"\r\n'
        "MX: 2\r\n"
        f"ST: {kind}\r\n\r\n"
    ).encode()


async def _ask(*arguments: str) -> dict[str, object]:
    # -P: the folder of the script is no place to import from.
    command: Sequence[str] = (sys.executable, "-P", str(Path(upnp_process.__file__)), *arguments)
    try:
        with trio.fail_after(ASK_SECONDS):
            done = await trio.run_process(
                command,
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
                deliver_cancel=_kill,
            )
    except trio.TooSlowError as error:
        raise RouterFailed("the router does not answer in time") from error
    except OSError as error:
        raise RouterFailed(f"the router cannot be asked: {error}") from error
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        # Killed by one of its limits.
        raise RouterFailed("the router's answer is too large, or broken") from error
    if "error" in said:
        raise RouterFailed(f"the router answers: {said['error']}", str(said["error"]))
    return dict(said)


async def _kill(process: trio.Process) -> None:
    process.kill()
