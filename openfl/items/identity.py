"""Kinds of items, their keys, and labels: names that prove themselves by the key of a row."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openfl.core.contribution import item_key as key_of_name
from openfl.core.names import is_unseen, name_problem
from openfl.items.books import canonical_book, display_book, isbn13
from openfl.items.films import canonical_film, display_film
from openfl.items.folding import NoName
from openfl.items.music import canonical_music, display_music

OPAQUE: Final = "opaque"
KINDS: Final = (OPAQUE, "music", "film", "book")
"""How the members of a group name items; "opaque": by ids, as they are written."""

OPAQUE_KEY_BITS = 40
"""40 bits keep a delta small; two of 100,000 songs share a row with probability 0.5 %."""
NAMED_KEY_BITS = 64
"""Where names prove themselves, another name of the same key must be hard to find (decision 12)."""

MAX_LABEL_CHARACTERS = 300


def key_bits(kind: str) -> int:
    """How many bits the keys of such items have."""
    return OPAQUE_KEY_BITS if kind == OPAQUE else NAMED_KEY_BITS


def name_key(kind: str, name: str) -> int:
    """The key of the row of an item, by its id or canonical name."""
    return key_of_name(name, key_bits(kind))


@dataclass(frozen=True, slots=True)
class Label:
    """What an item is called. `by`: the artist of a song, the year of a film (or ""), the author
    of a book ("" when `title` is its ISBN)."""

    title: str
    by: str


def label_of(kind: str, title: str, by: str = "", isbn: str = "") -> Label:
    """The label of an item as a file has it; NoName when it has no name."""
    return _NAMING[kind].shown(title, by, isbn)


def label_name(kind: str, label: Label) -> str:
    """The canonical name that a label stands for; NoName when it is of none."""
    return _NAMING[kind].name(label)


def item_name(kind: str, title: str, by: str = "", isbn: str = "") -> str:
    """The canonical name of an item as a file has it: that of its label."""
    return label_name(kind, label_of(kind, title, by, isbn))


def item_key(kind: str, title: str, by: str = "", isbn: str = "") -> int:
    """The key of an item's row, from what a file says of it; of an opaque item, `title` is its id.
    NoName when it has no name."""
    return name_key(kind, title if kind == OPAQUE else item_name(kind, title, by, isbn))


def music_key(artist: str, title: str) -> int:
    """The key of a song's row in groups of music; NoName as `canonical_music`."""
    return name_key("music", canonical_music(artist, title))


def label_problem(kind: str, key: int, label: Label) -> str | None:
    """Why a label, perhaps a stranger's, must not be shown for the row `key`; None when it may.

    It holds nothing but the item's name, in the form that people are shown: of other texts with the
    same canonical name, some have words that do not count in it, and nobody can tell whose.
    """
    for text in (label.title, label.by):
        if len(text) > MAX_LABEL_CHARACTERS:
            return f"longer than {MAX_LABEL_CHARACTERS} characters"
        # Unpaired surrogates would not even encode.
        if any(is_unseen(c) for c in text) or (text and name_problem(text) is not None):
            return "characters that a name must not have"
    try:
        shown = _NAMING[kind].again(label)
        name = label_name(kind, label)
    except (KeyError, NoName):
        return "no name"
    if shown != label:
        return "more than a name"
    if len(label.title) + len(label.by) > 3 * len(name) + 16:
        return "more signs than letters"
    return None if name_key(kind, name) == key else "the name of another key"


def is_newer(label: Label) -> bool:
    """Whether it has characters that this version of Unicode does not know: then what another
    thinks of it need not be what this node thinks, and nobody is to blame."""
    text = label.title + label.by
    return not text.isascii() and any(unicodedata.category(c) == "Cn" for c in text)


@dataclass(frozen=True, slots=True)
class _Naming:
    shown: Callable[[str, str, str], Label]
    name: Callable[[Label], str]

    def again(self, label: Label) -> Label:
        return self.shown(label.title, label.by, "")


def _music_label(title: str, by: str, isbn: str) -> Label:
    artist, title = display_music(by, title)
    return Label(title, artist)


def _film_label(title: str, by: str, isbn: str) -> Label:
    shown, year = display_film(title, _year(by))
    return Label(shown, "" if year is None else str(year))


def _book_label(title: str, by: str, isbn: str) -> Label:
    number = isbn13(isbn) or (isbn13(title) if not by else None)
    if number is not None:
        return Label(number, "")
    shown, author = display_book(title, by)
    return Label(shown, author)


def _book_name(label: Label) -> str:
    return canonical_book(label.title, label.by, label.title if not label.by else "")


def _year(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise NoName(f"{text[:20]!r} is no year")
    return int(text)


_NAMING: Mapping[str, _Naming] = {
    "music": _Naming(_music_label, lambda label: canonical_music(label.by, label.title)),
    "film": _Naming(_film_label, lambda label: canonical_film(label.title, _year(label.by))),
    "book": _Naming(_book_label, _book_name),
}
