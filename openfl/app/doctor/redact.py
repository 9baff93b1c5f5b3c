"""`Redactor`: takes out of text what says who somebody is, so that it still says what went wrong.

The same peer, address or name gets the same stand-in wherever it occurs: `peer-3` in the log is
`peer-3` in the snapshot. What is replaced is a matter of form (peer ids, IP addresses, long
digests, paths, quoted text), and of words that were found out to be secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

PEER_ID = re.compile(r"\b(?:12D3KooW|16Uiu2HA|Qm)[1-9A-HJ-NP-Za-km-z]{40,50}\b")
TAIL = re.compile(r"(?:\.\.|…)([1-9A-HJ-NP-Za-km-z]{4,12})\b")
"""The end of a peer id, as views and logs shorten it."""
IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
IPV6 = re.compile(r"(?<![\w:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")
DNS = re.compile(r"(/(?:dns|dns4|dns6|dnsaddr)/)([^/\s]+)")
QUOTED = re.compile(r"\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)|“[^”\n]*”")
HEX = re.compile(r"\b[0-9a-fA-F]{16,}\b")
OPAQUE = re.compile(
    r"(?<![\w/+-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+-][\w+/=-]{27,}(?![\w/+-])"
)
"""Tokens, keys, invitations: long, and of letters and digits."""
PATH = re.compile(r"(?<![\w/.:~>])(~|)(/[\w.@%+-]+(?:/[\w.@%+ -]*[\w.@%+-])*)")
SOURCE = re.compile(r"File \"([^\"\n]+)\",")
"""In a traceback."""
PACKAGES = ("/site-packages/", "/dist-packages/", "/lib/python3")
PROTOCOLS = re.compile(
    r"/(?:ip4|ip6|dns|dns4|dns6|dnsaddr|p2p|tcp|openfl|ipfs|libp2p|meshsub|floodsub|noise|tls|yamux"
    r"|multistream|p2p-circuit)(?:/|\b)"
)
"""What looks like a path and is a multiaddr or the name of a protocol."""
KEPT_IPS = ("127.0.0.1", "0.0.0.0", "::1", "::")
SHORTEST_WORD = 3


class Redactor:
    """`words`: what is secret or names somebody -> what it is called instead (`<home>`); longer
    ones are looked for first. Kept in memory only."""

    def __init__(self, words: Iterable[tuple[str, str]] = ()) -> None:
        self._words = sorted(
            ((word, called) for word, called in words if len(word) >= SHORTEST_WORD),
            key=lambda pair: -len(pair[0]),
        )
        self._called: dict[tuple[str, str], str] = {}
        self._peers: list[str] = []
        self.counts: dict[str, int] = {}
        """How many different things of each sort were replaced."""

    def name(self, sort: str, of: str) -> str:
        """The stand-in for one thing of a sort: `peer-1`."""
        found = self._called.get((sort, of))
        if found is None:
            self.counts[sort] = self.counts.get(sort, 0) + 1
            found = self._called[sort, of] = f"{sort}-{self.counts[sort]}"
        return found

    def peer(self, peer_id: str) -> str:
        """The stand-in for a peer."""
        if peer_id not in self._peers:
            self._peers.append(peer_id)
        return self.name("peer", peer_id)

    def text(self, text: str) -> str:
        """`text` without them."""
        for word, called in self._words:
            text = _replaced(text, word, called)
        text = SOURCE.sub(lambda m: f"File {self._code(m[1])},", text)
        text = QUOTED.sub('"..."', text)
        text = PEER_ID.sub(lambda m: self.peer(m[0]), text)
        text = TAIL.sub(self._of_tail, text)
        text = DNS.sub(lambda m: m[1] + self.name("host", m[2].lower()), text)
        text = IPV4.sub(self._address, text)
        text = IPV6.sub(self._address, text)
        text = PATH.sub(self._path, text)
        text = HEX.sub(lambda m: self.name("digest", m[0].lower()), text)
        return OPAQUE.sub(self._opaque, text)

    def plain(self, value: Any) -> Any:
        """A JSON value, all text in it without them; keys of objects, too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            # Keys are words of the program, or peers.
            return {
                PEER_ID.sub(lambda m: self.peer(m[0]), str(key)): self.plain(each)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.plain(each) for each in value]
        return value

    def _of_tail(self, match: re.Match[str]) -> str:
        for peer_id in self._peers:
            if peer_id.endswith(match[1]):
                return self.name("peer", peer_id)
        return self.name("peer", f"..{match[1]}")

    def _address(self, match: re.Match[str]) -> str:
        try:
            ip = ipaddress.ip_address(match[0])
        except ValueError:
            return match[0]
        if str(ip) in KEPT_IPS:
            return str(ip)
        sort = "public-ip" if ip.is_global else "loopback-ip" if ip.is_loopback else "private-ip"
        return self.name(sort, str(ip))

    def _path(self, match: re.Match[str]) -> str:
        whole = match[0]
        if PROTOCOLS.match(match[2]):
            return whole
        if whole.count("/") < 2 and not match[1]:
            return whole
        suffix = re.search(r"\.[a-z]{1,5}$", whole)
        return f"<{self.name('path', whole)}{suffix[0] if suffix else ''}>"

    def _code(self, path: str) -> str:
        """A file of a traceback: which one, when everybody can read it."""
        for packages in PACKAGES:
            if packages in path:
                return "<python>" + packages + path.partition(packages)[2]
        return f"<{self.name('path', path)}>"

    def _opaque(self, match: re.Match[str]) -> str:
        return self.name("token", match[0])


def _replaced(text: str, word: str, called: str) -> str:
    """Whole words only, where the word is one: the user `ann` is not in `annotation`."""
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isalnum() else ""
    called_literally: Callable[[re.Match[str]], str] = lambda match: called  # noqa: E731
    return re.sub(before + re.escape(word) + after, called_literally, text)
