"""Checks of the network: the port, who can dial this node, and the bootstrap nodes."""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Iterable, Iterator

import trio

from openfl.app.doctor.brief_network import brief_network
from openfl.app.doctor.finding import Finding, fault, fine, peers, warning
from openfl.app.doctor.subject import Subject
from openfl.config.text_checks import host_and_port
from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed, StateError
from openfl.network.access_list import REASONS, AccessList
from openfl.network.base import PeerAddress

DIAL_SECONDS = 12.0
WORDS_SECONDS = 3.0
WORDS_BYTES = 96
HELLO = b"\x13/multistream/1.0.0\n"
"""What both sides of a libp2p connection say first."""
HOST = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)")


# --- the port -------------------------------------------------------------------------------------


def port(subject: Subject) -> Iterator[Finding]:
    """Whether the node can listen where it is told to."""
    if subject.running:
        where = "" if subject.reach is None else ", ".join(subject.reach.listening)
        yield fine(f"the node listens on {where}" if where else "the node listens")
        return
    trouble = []
    for setting, host, number in _wanted(subject):
        error = subject.probes.bind_error(host, number)
        if error is None:
            continue
        where = f"{host}:{number}"
        if error.errno == errno.EADDRINUSE and setting == "kept":
            text = f"port {number} of the last run is taken: the next takes another"
            do = f"find out by whom (ss -ltnp), or set network.port = {number} to insist"
            trouble.append(warning("port-taken", text, do, where))
        elif error.errno == errno.EADDRINUSE:
            do = f"find out by whom (ss -ltnp), or set another in {setting}"
            trouble.append(fault("port-taken", "another program listens there", do, where))
        elif error.errno in (errno.EACCES, errno.EPERM):
            do = f"set one above 1023 in {setting}, or let the system forward it"
            text = "this user may not listen there (ports below 1024 need privileges)"
            trouble.append(fault("port-privileged", text, do, where))
        elif error.errno == errno.EADDRNOTAVAIL:
            do = f"set 0.0.0.0, or one that it has, in {setting}"
            text = "this machine has no such address"
            trouble.append(fault("address-not-here", text, do, where))
        else:
            text = f"cannot be listened on: {error.strerror or error}"
            trouble.append(fault("port-unusable", text, f"set another in {setting}", where))
    yield from trouble
    if not trouble:
        yield fine("free")


def _wanted(subject: Subject) -> Iterator[tuple[str, str, int]]:
    """(setting, host, port) of everything the next start listens on."""
    network = subject.config.network
    for text in network.listen:
        match = HOST.fullmatch(text)
        if match is not None and match[1] in ("ip4", "ip6"):
            yield "network.listen", match[2], int(match[3])
    if not network.listen:
        kept = not network.port and bool(subject.kept_port)
        yield (
            "kept" if kept else "network.port",
            network.host,
            network.port or subject.kept_port,
        )
    http = host_and_port(subject.config.http.listen)
    if http is not None:
        yield "http.listen", http[0], http[1]


# --- who can dial us ------------------------------------------------------------------------------


def reach(subject: Subject) -> Iterator[Finding]:
    """Whether others can dial this node: its addresses, and what peers found (AutoNAT)."""
    told = subject.reach
    if told is None:
        yield from _as_configured(subject)
        return
    addresses = [*told.multiaddrs, *told.forwarded]
    beyond = _beyond(addresses)
    if told.circuits:
        yield fine(f"over {len(told.circuits)} relay(s), where peers cannot dial it directly")
    elif told.private:
        failed = sum(not vote.reached for vote in told.votes)
        who = f"{failed} of {peers(len(told.votes))} tried in vain" if told.votes else "as is set"
        wall = "a firewall drops what comes in" if beyond == "public" else "a router is in the way"
        yield warning(
            "nobody-can-dial",
            f"others cannot dial this node ({who}), and no relay takes its calls",
            f"{wall}: open or forward the port, start with --upnp, or have a bootstrap node"
            " started with --relay (docs/reachability.md)",
            ", ".join(told.listening),
        )
    elif beyond == "nobody" and _others_are_elsewhere(subject):
        yield _only_here(told.listening)
    else:
        reached, asked = sum(vote.reached for vote in told.votes), len(told.votes)
        votes = f"; {reached} of {peers(asked)} that tried got through" if asked else ""
        what = {"public": "anybody", "lan": "this LAN", "nobody": "this machine alone"}[beyond]
        yield fine(f"by its addresses {what} can dial it{votes}")


def _as_configured(subject: Subject) -> Iterator[Finding]:
    network = subject.config.network
    listening = network.listen or (f"/ip4/{network.host}/tcp/{network.port}",)
    addresses = [*listening, *network.announce]
    if _beyond(addresses) == "nobody" and _others_are_elsewhere(subject):
        yield _only_here(listening)
    else:
        yield fine("whether others can dial it is found out while it runs")


def _only_here(listening: Iterable[str]) -> Finding:
    return warning(
        "only-this-machine",
        "the node listens for this machine alone, though others of its network are elsewhere",
        "listen on 0.0.0.0 (network.host, or start --listen /ip4/0.0.0.0/tcp/0)",
        ", ".join(listening),
    )


def _beyond(addresses: Iterable[str]) -> str:
    """Whom they can lead here: public, lan or nobody (but this machine)."""
    ranks = [_rank(address) for address in addresses]
    return ("nobody", "lan", "public")[max(ranks, default=0)]


def _rank(address: str) -> int:
    match = HOST.match(address)
    if "/p2p-circuit" in address:
        return 0
    if match is None:
        return 2 if address.startswith("/dnsaddr/") else 0
    try:
        ip = ipaddress.ip_address(match[2])
    except ValueError:
        return 2  # a name
    if ip.is_loopback:
        return 0
    return 2 if ip.is_global else 1


def _others_are_elsewhere(subject: Subject) -> bool:
    return any(_rank(text) > 0 for text in subject.config.network.bootstrap)


# --- the bootstrap nodes --------------------------------------------------------------------------


async def bootstrap(subject: Subject) -> list[Finding]:
    """Each address: whether it is one, who answers there, and in which language."""
    from openfl.network.libp2p.addresses import parse_peer_multiaddr

    network = subject.config.network
    if not network.bootstrap:
        if subject.config_problems:
            return [fine("what is set cannot be read: see config")]
        known = " (remembered peers, or the LAN, lead others here)" if not subject.is_new else ""
        return [fine(f"none is set: this node waits to be dialled{known}")]
    access = AccessList(
        frozenset(map(PeerId, network.allow_peers)), frozenset(map(PeerId, network.deny_peers))
    )
    mine = "" if subject.snapshot is None else subject.snapshot.peer_id
    connected = set()
    if subject.running and subject.snapshot is not None:
        connected = {peer.peer_id for peer in subject.snapshot.peers}
    found: list[Finding] = []
    targets: list[tuple[str, PeerAddress]] = []
    for text in network.bootstrap:
        try:
            peer = parse_peer_multiaddr(text)
        except NetworkError as error:
            found.append(
                fault("bootstrap-malformed", str(error), "correct network.bootstrap", text)
            )
            continue
        refusal = access.refusal(peer.peer_id)
        if peer.peer_id == mine:
            found.append(fine("this node itself", text))
        elif refusal is not None:
            do = "take it out of the one or the other"
            found.append(fault("bootstrap-denied", f"it is {REASONS[refusal]}", do, text))
        elif peer.peer_id in connected:
            found.append(fine("connected", text))
        else:
            targets.append((text, peer))
    if targets:
        found += await _dial_all(subject, targets)
    if any(f.severity == "fine" for f in found) or connected:
        # One is enough; the others are still worth a word.
        found = [
            warning(f.kind, f.what, f.do, f.where)
            if f.severity == "fault" and f.kind not in ("bootstrap-malformed", "bootstrap-denied")
            else f
            for f in found
        ]
    return found


async def _dial_all(subject: Subject, targets: list[tuple[str, PeerAddress]]) -> list[Finding]:
    found: dict[str, Finding] = {}
    try:
        async with brief_network(subject.config) as network, trio.open_nursery() as nursery:

            async def dial(text: str, peer: PeerAddress) -> None:
                cause = "no answer in time"
                with trio.move_on_after(DIAL_SECONDS):
                    try:
                        await network.connect(peer)
                        cause = ""
                    except RequestFailed as error:
                        cause = error.cause
                private = bool(subject.config.network.psk_file)
                found[text] = await _judged(text, peer, cause, private)

            for text, peer in targets:
                nursery.start_soon(dial, text, peer)
    except StateError as error:
        return [fault("network-key", str(error), "see docs/access.md")]
    return [found[text] for text, _ in targets]


async def _judged(text: str, peer: PeerAddress, cause: str, private: bool) -> Finding:
    """What came of one dial; `cause` as `Libp2pNetwork.connect` has it, empty: it answered."""
    if not cause:
        return fine("answers", text)
    if "is not known" in cause or "the DNS has no" in cause or "in the DNS" in cause:
        return fault("bootstrap-unknown-name", cause, "correct the name, or the resolver", text)
    if "another peer answered" in cause:
        return fault(
            "bootstrap-other-peer",
            f"another peer answers there than ..{peer.peer_id[-6:]}",
            "ask its owner for the address anew (openfl-node id): its identity has changed",
            text,
        )
    if "refused" in cause and "handshake" not in cause:
        return fault(
            "bootstrap-refused",
            "connection refused: no node listens there, or a firewall says no",
            "is it running? Has its port changed? Ask its owner (openfl-node id)",
            text,
        )
    if "handshake" in cause or "secure channel" in cause:
        return await _other_language(text, cause, private)
    if "no answer in time" in cause or "timed out" in cause:
        return fault(
            "bootstrap-no-answer",
            "no answer: the machine is off, or a firewall drops what is sent there",
            "try openfl-node ping with the address from another network",
            text,
        )
    return fault("bootstrap-unreachable", cause, "check this machine's network", text)


async def _other_language(text: str, cause: str, private: bool) -> Finding:
    """Something answers and no handshake comes about: by its first words, what it is."""
    said = await first_words(text)
    if said.startswith(HELLO):
        if private:
            return fault(
                "bootstrap-network-key",
                "the node there is not in a private network, and this one is",
                "give both the same network.psk_file, or neither",
                text,
            )
        return fault("bootstrap-other-protocol", f"a libp2p node, but {cause}", "", text)
    line = said.split(b"\n")[0].strip()
    if line and all(32 <= byte < 127 for byte in line):
        shown = line[:40].decode("ascii")
        return fault(
            "bootstrap-other-protocol",
            f"no OpenFL node answers there, but something that says: {shown}",
            "is it the right port?",
            text,
        )
    return fault(
        "bootstrap-network-key",
        "it does not speak openly: its network has another key than this node"
        if private
        else "it does not speak openly: it is in a private network, and this node has no key of it",
        "set network.psk_file to a copy of its key (docs/access.md)",
        text,
    )


async def first_words(address: str) -> bytes:
    """What answers at a multiaddr's host and port says when greeted; empty when nothing."""
    match = HOST.match(address)
    if match is None:
        return b""
    said = b""
    with trio.move_on_after(WORDS_SECONDS):
        try:
            async with await trio.open_tcp_stream(match[2], int(match[3])) as stream:
                await stream.send_all(HELLO)
                said = bytes(await stream.receive_some(WORDS_BYTES))
                if not said.startswith(HELLO[:1]):
                    return said
                while len(said) < len(HELLO):
                    more = await stream.receive_some(WORDS_BYTES)
                    if not more:
                        break
                    said += bytes(more)
        except (OSError, UnicodeError, trio.BrokenResourceError):
            return said
    return said
