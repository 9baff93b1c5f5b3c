"""Which peer somebody means by a multiaddr, a peer id, or the end of one as it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, UsageError
from openfl.network.base import PeerAddress

SHORTEST_TAIL = 4
MAX_REFERENCE_CHARACTERS = 512


def whom(reference: str, known: Mapping[PeerId, tuple[str, ...]]) -> PeerAddress:
    """The peer, with addresses to dial where there are any. UsageError: nobody, or several, can be
    meant."""
    from openfl.network.libp2p.addresses import parse_peer_multiaddr

    text = reference.strip()
    if len(text) > MAX_REFERENCE_CHARACTERS:
        raise UsageError(f"a peer must not be longer than {MAX_REFERENCE_CHARACTERS} characters")
    if text.startswith("/"):
        try:
            return parse_peer_multiaddr(text)
        except NetworkError as error:
            raise UsageError(str(error)) from None
    tail = text.rpartition("…")[2].rpartition("..")[2]  # as views shorten them
    if tail in known:
        return PeerAddress(PeerId(tail), known[PeerId(tail)])
    found = [peer for peer in known if len(tail) >= SHORTEST_TAIL and peer.endswith(tail)]
    if len(found) == 1:
        return PeerAddress(found[0], known[found[0]])
    if found:
        raise UsageError(f"{len(found)} peers known here end in {tail}: give more of it")
    short = f" (at least {SHORTEST_TAIL} characters)" if len(tail) < SHORTEST_TAIL else ""
    raise UsageError(
        f"no peer called {text!r} is known here: give its whole multiaddr, its id, or the end of"
        f" that{short} (openfl-node peers lists the connected ones)"
    )


def merged(
    *groups: Iterable[tuple[PeerId, tuple[str, ...]]],
) -> dict[PeerId, tuple[str, ...]]:
    """Peer -> its addresses; those of the first groups lead."""
    found: dict[PeerId, tuple[str, ...]] = {}
    for group in groups:
        for peer, addresses in group:
            found[peer] = tuple(dict.fromkeys((*found.get(peer, ()), *addresses)))
    return found
