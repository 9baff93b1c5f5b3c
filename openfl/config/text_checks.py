"""What a text in the configuration must look like. Each check returns what is wrong, or None."""

from __future__ import annotations

import ipaddress
import re

from openfl.core.names import normal

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_SCALE = re.compile(rf"({_NUMBER})-({_NUMBER})")
_PLACE = re.compile(r"[^/\s]+:\d{1,5}")
_PEER_ID = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}")


def address_problem(text: str) -> str | None:
    """An IP address, of either version; names are not looked up."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be an IP address such as 0.0.0.0 (all IPv4) or 127.0.0.1 (this machine only)"
    return None


def host_and_port(text: str) -> tuple[str, int] | None:
    """("127.0.0.1", 8010) of "127.0.0.1:8010" or "localhost:8010", ("::1", 8010) of "[::1]:8010";
    None when it is no address and port. Names other than localhost are not looked up."""
    host, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        return None
    if host.lower() == "localhost":
        return "127.0.0.1", int(port)
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if address_problem(host) is not None or bracketed != (":" in host):
        return None
    return host, int(port)


def endpoint_problem(text: str) -> str | None:
    """An IP address and a port; empty for none."""
    if not text or host_and_port(text) is not None:
        return None
    return "must be an IP address and a port, such as 127.0.0.1:8010 or [::1]:8010"


def multiaddr_problem(text: str) -> str | None:
    """The form only: /protocol/value, none of them empty."""
    parts = text.split("/")
    if parts[0] != "" or len(parts) < 3 or "" in parts[1:]:
        return "must be a multiaddr such as /ip4/192.0.2.7/tcp/4001"
    return None


def peer_multiaddr_problem(text: str) -> str | None:
    """A multiaddr that says whom to expect there: the last part is a peer id."""
    parts = text.split("/")
    if multiaddr_problem(text) is not None or len(parts) < 5 or parts[-2] not in ("p2p", "ipfs"):
        if _PLACE.fullmatch(text):
            return (
                "must say who is there, too: `openfl-node bootstrap add` asks that of a host and"
                " port"
            )
        return (
            "must be a multiaddr ending in a peer id, such as /ip4/192.0.2.7/tcp/4001/p2p/12D3..."
        )
    return None


def peer_id_problem(text: str) -> str | None:
    """A peer id of an Ed25519 key, which all nodes have."""
    return None if _PEER_ID.fullmatch(text) else "must be a peer id (12D3KooW...)"


def group_name_problem(text: str) -> str | None:
    """1 to 64 bytes of UTF-8 once normalized, without spaces around it."""
    # No more: it may be that of a group that this home is in since before `openfl.core.names`.
    if not text.strip() or text != text.strip():
        return "must not be empty or begin or end with a space"
    return None if len(normal(text).encode()) <= 64 else "must be at most 64 bytes"


def model_file_problem(text: str) -> str | None:
    """A file of safetensors, by its name."""
    return None if text.endswith(".safetensors") else "must end in .safetensors"


def rating_bounds(scale: str) -> tuple[float, float] | None:
    """(lowest, highest) of a scale such as "0.5-5"; None for "auto" or when it is not a scale."""
    match = _SCALE.fullmatch(scale)
    return (float(match[1]), float(match[2])) if match else None


def rating_scale_problem(text: str) -> str | None:
    """ "auto", or two numbers of which the first is the lower."""
    bounds = rating_bounds(text)
    if text != "auto" and (bounds is None or not bounds[0] < bounds[1]):
        return 'must be "auto" or LOWEST-HIGHEST such as "0.5-5"'
    return None
