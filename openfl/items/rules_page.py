"""The rules of songs' names as docs/items.md shows them."""

from __future__ import annotations

from collections.abc import Iterable

from openfl.items import music_rules as rules
from openfl.items.folding import ABBREVIATIONS
from openfl.items.music_rules import Name


def rules_markdown() -> str:
    """The table of rules with their reasons and examples, and the words that they know."""
    lines = ["| rule | what | why | one song | two songs |", "|---|---|---|---|---|"]
    for rule in rules.RULES:
        cells = (rule.name, rule.what, rule.why, _examples(rule.same), _examples(rule.other))
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    lines += ["", "| words | which |", "|---|---|"]
    for name, words in _WORDS:
        lines.append(f"| {name} | {' '.join(sorted(words))} |")
    return "\n".join(lines) + "\n"


def _examples(pairs: tuple[tuple[Name, Name], ...]) -> str:
    return "<br>".join(f"{_shown(one)} / {_shown(other)}" for one, other in pairs)


def _shown(name: Name) -> str:
    text = ": ".join(name)
    return f"`{text.encode('unicode_escape').decode() if not text.isprintable() else text}`"


_WORDS: tuple[tuple[str, Iterable[str]], ...] = (
    ("remaster", rules.REMASTER),
    ("takes", rules.TAKES),
    ("beside a take", rules.AROUND),
    ("takes of two words", tuple("+".join(pair) for pair in rules.FOREIGN_TAILS)),
    ("takes, first in a tail", rules.FOREIGN_WORDS),
    ("a place behind live", rules.PLACES),
    ("other songs", rules.OTHER_SONGS),
    ("films", rules.FILM_WORDS),
    ("credits", rules.CREDITS),
    ("credits in brackets", rules.CREDITS_IN_BRACKETS),
    ("spelt out", tuple(f"{short}={long}" for short, long in rules.SPELLINGS.items())),
    ("before numbers", rules.NUMBERED),
    ("a dot behind them ends the word", ABBREVIATIONS),
    ("names with a comma", tuple("+".join(name) for name in rules.NAMES_WITH_COMMA)),
)
