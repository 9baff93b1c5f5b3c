"""Names and texts that strangers chose: which names a group may have, and what of a text is unseen.

Only a group's id is unique; a name is for people, so two names that look alike must not pass for
two. The one place with that rule:

- `name_problem` says why a group may not be called so. Everything that brings a *new* name asks it:
  configuration, command line, cards from the network, model files that are imported. What a home
  already holds is not asked: a group that was founded before the rule goes on, and its members are
  told (`openfl.node.first_group`); nodes with the rule do not list it.
- `mixed_scripts` and `skeleton` mark names that are allowed and still may deceive, such as "music"
  with a Cyrillic letter for its last. They refuse nobody.
- `is_unseen` tells which characters show nothing, or steer whoever shows them. Whatever is shown to
  people or written where people read it (terminal, JSON, logs) has them escaped or replaced.

Stricter than `str.isprintable`, and never wider: nodes before this rule accept every name that
passes it. After Unicode TR 39 (security mechanisms), with what Python's `unicodedata` knows.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

MAX_MARKS = 4
"""Combining marks on one letter (UTS 39). Pointed Hebrew and Tibetan need as many."""

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What Python calls printable and yet shows nothing: Default_Ignorable_Code_Point without what is of
# an unsafe category, and blanks that are letters or symbols by category.
_UNSEEN = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2065, 0x2065),
    (0x2800, 0x2800),  # Braille pattern blank
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),
    (0x16FE4, 0x16FE4),  # Khitan small script filler
    (0x1D159, 0x1D159),  # musical symbol null notehead
    (0xE0000, 0xE0FFF),  # tags, variation selectors
)
_UNSEEN_FROM = [first for first, _ in _UNSEEN]


def is_unseen(character: str) -> bool:
    """Whether the character shows nothing by itself: controls, direction marks, joiners, line and
    paragraph separators, surrogates, variation selectors, fillers. A space is seen."""
    if character.isascii():
        return not character.isprintable()
    if unicodedata.category(character) in _UNSAFE_CATEGORIES:
        return True
    place = bisect_right(_UNSEEN_FROM, ord(character)) - 1
    return place >= 0 and ord(character) <= _UNSEEN[place][1]


def is_mark(character: str) -> bool:
    """Whether the character is drawn on the one before it, taking no room of its own."""
    return unicodedata.category(character) in ("Mn", "Me")


def name_problem(name: str) -> str | None:
    """Why no group may be called so, in words that follow "a group's name"; None when one may.

    Its length is the business of whoever asks: 64 bytes in the configuration, 64 characters on the
    wire.
    """
    if not name.strip() or name != name.strip():
        return "must not be empty or begin or end with a space"
    for place, character in enumerate(name, 1):
        if is_unseen(character) or not character.isprintable():
            return f"must not hold {_called(character)} (its character {place}): it cannot be seen"
    problem = _marks_problem(name)
    if problem is None and normal(name) != name:
        problem = f'must be in the normal form NFC, as "{normal(name)}" is, though they look alike'
    return problem


def normal(name: str) -> str:
    """The one way to write `name`: in NFC. For what the owner typed, before it is checked."""
    return unicodedata.normalize("NFC", name)


def _marks_problem(name: str) -> str | None:
    marks = 0
    for place, character in enumerate(name, 1):
        if not is_mark(character):
            marks = 0
            continue
        marks += 1
        if marks == place or name[place - 2] == " ":
            return f"must not have {_called(character)} where there is no letter to bear it"
        if marks > MAX_MARKS:
            return f"must not have more than {MAX_MARKS} combining marks on one letter"
        if character == name[place - 2]:
            return f"must not have {_called(character)} twice on one letter"
    return None


def _called(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


# --- names that may deceive -----------------------------------------------------------------------

_TOGETHER = (
    frozenset({"latin", "cjk", "hiragana", "katakana"}),
    frozenset({"latin", "cjk", "hangul"}),
    frozenset({"latin", "cjk", "bopomofo"}),
)
"""Scripts that are written together: Japanese, Korean, Chinese."""

# Letters of other scripts that look like Latin ones: of confusables.txt (UTS 39) the plain cases.
_LOOKALIKES = str.maketrans(
    "аәеорсухѕіјһԁԛԝґɡԍАВЕКМНОРСТУХЅІЈԌ" + "αγινορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "օսհոցⅼıǃℓ|",  # noqa: RUF001
    "aeeopcyxsijhdqwrggABEKMHOPCTYXSIJG" + "ayivoptuxABEZHIKMNOPTYX" + "ouhngli!ll",
)


def _script(letter: str) -> str:
    """The first word of the letter's name: `latin`, `cyrillic`, `cjk`... Python knows no better,
    and it is enough to tell whether two letters are of one script."""
    word = unicodedata.name(letter, "unknown").split()[0].lower()
    return "cjk" if word in ("ideographic", "kangxi") else word


def mixed_scripts(name: str) -> tuple[str, ...]:
    """The scripts of a word of `name` that has letters of several which are not written together,
    sorted; empty when there is no such word. A Latin word beside a Cyrillic one is none."""
    word: set[str] = set()
    for character in f"{unicodedata.normalize('NFKC', name)} ":
        if character.isalpha():
            word.add(_script(character))
        elif not is_mark(character):
            if len(word) > 1 and not any(word <= together for together in _TOGETHER):
                return tuple(sorted(word))
            word.clear()
    return ()


def skeleton(name: str) -> str:
    """Two names that people may take for one have the same skeleton (the other way round it does
    not hold): without case, accents, widths, spaces, and with look-alikes as the Latin letters."""
    plain = unicodedata.normalize("NFKD", name).translate(_LOOKALIKES).casefold()
    return "".join(c for c in plain if not (is_mark(c) or is_unseen(c) or c in " -_."))
