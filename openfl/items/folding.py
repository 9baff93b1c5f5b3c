"""From text to the words that count: without case, widths, accents that are optional, and marks.

Every step works on single characters, or looks one to either side, so the time is linear in the
length of the text. What Unicode assigns after version 14 is taken as a letter that is written in
one way (but for the planes of emoji, which never count), so that versions of Python that know it
and such that do not agree.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

MAX_CHARACTERS = 400
"""Longest artist or title, in code points, as it comes and in normal form KC: the titles of
classical works have up to 250."""


class NoName(ValueError):
    """A text that names nothing: empty, or longer than any name."""


# Signs that say nothing, and that normal form KC would turn into letters.
_TRADE_MARKS = str.maketrans("", "", "\u2122\u00ae\u00a9\u2120")  # TM, (R), (C), SM
_BRACKETS = str.maketrans("{}\u3010\u3011\u3014\u3015<>", "()()()()")

# Letters that carry a stroke, or are two, and do not come apart in normal form KD; and letters of
# Arabic that keyboards of other languages write otherwise.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ħ": "h",
        "ŧ": "t",
        "\u0131": "i",
        "ə": "e",
        "\u0671": "\u0627",  # alef wasla: alef
        "\u0649": "\u064a",  # alef maksura: yeh
        "\u06cc": "\u064a",  # Farsi yeh: yeh
        "\u06a9": "\u0643",  # keheh: kaf
        "\u0629": "\u0647",  # teh marbuta: heh
        "\u0640": None,  # tatweel only stretches a word
        "\u00d7": "x",  # multiplication sign
        "\u266f": " sharp ",
        "\u266d": " flat ",
        "@": " at ",
        "&": " and ",
        "+": " and ",
    }
)

_QUOTES = frozenset("'\u2018\u2019\u201b\u02bc\u02b9\u0060\u00b4\u2032\u05f3\u05f4")
"""Apostrophes, and what stands for them: a word goes on behind one."""

# First and last code point of letters whose marks are optional: people write the name without.
_MARKS_OPTIONAL = (
    (0x0030, 0x024F),  # digits, Latin
    (0x0250, 0x02AF),
    (0x0370, 0x03FF),  # Greek
    (0x0590, 0x05FF),  # Hebrew
    (0x0600, 0x06FF),  # Arabic
    (0x1E00, 0x1FFF),  # Latin and Greek with marks
)
_OPTIONAL_FROM = [first for first, _ in _MARKS_OPTIONAL]
_CYRILLIC = (0x0400, 0x052F)
_STRESS = frozenset("\u0300\u0301")  # over Cyrillic vowels, in textbooks and a few titles
_EMOJI = (0x1F000, 0x1FBFF)


def clean(text: str) -> str:
    """`text` in normal form KC on one line: nothing that is not seen, single spaces, brackets of
    one kind. NoName when it is too long; empty when there is nothing to see."""
    if len(text) > MAX_CHARACTERS:
        raise NoName(f"a name of more than {MAX_CHARACTERS} characters")
    if not text.isascii():
        text = _without_unseen(text.translate(_TRADE_MARKS))
        text = _without_unseen(unicodedata.normalize("NFKC", text))
        if len(text) > MAX_CHARACTERS:
            raise NoName(f"a name of more than {MAX_CHARACTERS} characters")
    elif not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.translate(_BRACKETS).split())


def _without_unseen(text: str) -> str:
    """Controls and separators become spaces; formats, surrogates and private use go."""
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cc", "Zl", "Zp", "Zs"):
            kept.append(" ")
        elif category not in ("Cf", "Cs", "Co") and not _is_filler(character):
            kept.append(character)
    return "".join(kept)


def _is_filler(character: str) -> bool:
    return (
        character in "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
        or "\ufe00" <= character <= "\ufe0f"
        or "\u180b" <= character <= "\u180f"
        or character >= "\U000e0000"
    )


def fold(text: str) -> str:
    """`text`, which `clean` gave, without case and optional marks, its letters plain; everything
    that is no letter or digit still stands, apostrophes apart."""
    if text.isascii():
        return text.lower().translate(_LETTERS).replace("'", "").replace("`", "")
    for form in ("NFD", "NFKD", "NFKD"):
        text = unicodedata.normalize(form, text).casefold()
    text = unicodedata.normalize("NFKD", text).translate(_LETTERS)
    kept: list[str] = []
    base = ""
    for character in text:
        if character in _QUOTES:
            continue
        if unicodedata.category(character)[0] == "M":
            if base and _needs(base, character):
                kept.append(character)
            continue
        base = character if counts(character) else ""
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _needs(base: str, mark: str) -> bool:
    """Whether `base` is another letter with this mark."""
    point = ord(base)
    if _CYRILLIC[0] <= point <= _CYRILLIC[1]:
        # Short i and u, and yi, are letters of their own; yo is written ye as often as not.
        return mark not in _STRESS and (base, mark) != ("\u0435", "\u0308")
    place = bisect_right(_OPTIONAL_FROM, point) - 1
    return place < 0 or point > _MARKS_OPTIONAL[place][1]


def counts(character: str) -> bool:
    """Whether the character is part of a word: a letter, a digit, a mark, or unknown."""
    if character.isascii():
        return character.isalnum()
    if _EMOJI[0] <= ord(character) <= _EMOJI[1]:
        return False
    category = unicodedata.category(character)
    return category[0] in "LNM" or category == "Cn"


_SHORT = "feat ft pt pts vol vols no nr op rv bwv k kv d l hob mr mrs ms dr st prod vs ch cap"
ABBREVIATIONS = frozenset(_SHORT.split())
"""Behind these a dot ends the word even where no space follows it; elsewhere a word goes on behind
a dot between two letters (R.E.M., will.i.am)."""


def words(text: str) -> list[str]:
    """The words of `text`, which `clean` gave, folded: runs of letters and digits.

    A dollar sign beside a letter is an s, an exclamation mark between two an i (Ke$ha, P!nk); a
    number sign before a digit is left out, behind a letter from a to g it is "sharp".
    """
    text = _stylized(fold(text))
    found: list[str] = []
    word: list[str] = []

    def end() -> None:
        if word:
            found.append("".join(word))
            word.clear()

    last = len(text) - 1
    for at, character in enumerate(text):
        if counts(character):
            word.append(character)
        elif character == "." and word and at < last and counts(text[at + 1]):
            before = "".join(word)
            if before in ABBREVIATIONS or before[-1].isdigit() or text[at + 1].isdigit():
                end()
        else:
            end()
    end()
    return found


def _stylized(text: str) -> str:
    if not any(sign in text for sign in "$!#"):
        return text
    out = list(text)
    for at, character in enumerate(text):
        before = text[at - 1] if at else " "
        after = text[at + 1] if at + 1 < len(text) else " "
        if character == "$" and (before.isalpha() or after.isalpha()):
            out[at] = "s"
        elif character == "!" and before.isalpha() and after.isalpha():
            out[at] = "i"
        elif character == "#" and before in "abcdefg" and (at < 2 or not text[at - 2].isalnum()):
            out[at] = " sharp "
    return "".join(out)


def squash(found: list[str]) -> str:
    """The words as one, so that spaces do not count; two digits are kept apart."""
    parts: list[str] = []
    for word in found:
        if parts and parts[-1][-1].isdigit() and word[0].isdigit():
            parts.append(" ")
        parts.append(word)
    return unicodedata.normalize("NFC", "".join(parts))


def signs(text: str) -> str:
    """A name without any word, such as "!!!": its signs as they are, without spaces."""
    return unicodedata.normalize("NFKC", "".join(text.split()).casefold())
