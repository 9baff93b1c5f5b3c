"""Where to listen, as people say it: an IP address or a name of this machine, and perhaps a
port."""

from __future__ import annotations

import ipaddress
import re
import socket

from openfl.core.errors import NetworkError, UsageError


def host_and_port(text: str) -> tuple[str, int | None]:
    """("127.0.0.1", 4001) of "localhost:4001", ("::1", None) of "::1" or "[::1]"; the port None
    when it is not said. Of a name that has both, the IPv4 address is taken.

    UsageError: it is neither an address nor a name. NetworkError: the name is not known.
    """
    host, port = text, None
    if (match := re.fullmatch(r"(?:\[(.+)\]|([^:\[\]]+))(?::(\d{1,5}))?", text)) is not None:
        host = match[1] or match[2]
        port = int(match[3]) if match[3] else None
    if port is not None and port > 65535:
        raise UsageError(f"--host {text}: a port is at most 65535")
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", host):
            raise UsageError(
                f"--host {text}: is neither an address nor a name; it looks like localhost or"
                " 192.0.2.7:4001"
            ) from None
    return _looked_up(host), port


def _looked_up(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NetworkError(f"--host {name}: the name is not known: {reason}") from None
    addresses = [str(entry[4][0]) for entry in sorted(found, key=lambda each: each[0])]
    return addresses[0].partition("%")[0]
