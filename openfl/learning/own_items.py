"""`OwnItems`: the songs or classes of one node, to be looked for among those that its group knows.

Items meet by the hash of their ids alone. Two nodes that write them differently (`17` and `17.0`)
learn side by side and never together, and nothing else would show it. So a task that names its
items is counted with, and the owner is told (see `openfl.node.items_watch`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openfl.core.contribution import Keys, item_key, plain_key

MAX_REWRITTEN = 5000
"""Ids that are tried in other spellings."""


@dataclass(frozen=True, slots=True)
class OwnItems:
    """keys: uint64[n] ascending, rows of `table` that this node has data of; ids: what they are
    called, in any order; noun: what they are, in the plural."""

    table: str
    keys: Keys
    ids: tuple[str, ...]
    key_bits: int
    noun: str

    def among(self, others: Keys) -> int:
        """How many of them are among `others` (distinct keys)."""
        return int(np.isin(self.keys, others, assume_unique=True).sum())

    def spelling(self, others: Keys) -> tuple[str, int]:
        """(words for the other spelling of the ids that the most of `others` have, how many ids are
        among them then); ("", 0) when no spelling helps."""
        known = set(others.tolist())
        best = ("", 0)
        for words, rewrite, key_of in _SPELLINGS:
            written = {rewrite(i) for i in self.ids[:MAX_REWRITTEN]} - set(self.ids)
            found = sum(key_of(text, self.key_bits) in known for text in written)
            if found > best[1]:
                best = (words, found)
        return best


_SPELLINGS: tuple[tuple[str, Callable[[str], str], Callable[[str, int], int]], ...] = (
    ('without ".0" at the end', lambda i: i.removesuffix(".0"), item_key),
    ('with ".0" at the end', lambda i: i + ".0" if i.isdigit() else i, item_key),
    ("without zeros in front", lambda i: i.lstrip("0") or i, item_key),
    (
        "without spaces and invisible characters",
        lambda i: "".join(c for c in i if c.isprintable() and not c.isspace()),
        item_key,
    ),
    ("in lower case", str.lower, item_key),
    ("in upper case", str.upper, item_key),
    (
        "with accents as characters of their own (NFD: the others run an older version)",
        lambda i: unicodedata.normalize("NFD", i),
        plain_key,
    ),
)
"""(what ids are like then, how to write one so, the key it has then)"""
