"""Songs: which artist and title are one song, however a service writes them.

`display_music` takes away what the rules take away (openfl/items/music_rules.py) and leaves a name
for people; `canonical_music` folds what is left to letters and digits. So a canonical name tells
all of a displayed one but case, marks and signs: a name of a song is proved by its key, and nobody
can hang other words on it.
"""

from __future__ import annotations

import re

from openfl.items import music_rules as rules
from openfl.items.folding import NoName, clean, signs, squash, words

SEPARATOR = " - "
_PASSES = 4
MAX_BRACKETS = 8
"""Pairs that are looked at in one name: more are no honest title, and cost time."""

_DASH = re.compile(r"\s[-\u2010-\u2015\u2212]+\s")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_LONE_DASHES = re.compile(r"\s-([^-]+)-$")  # a subtitle as Japanese titles have it
_EDGES = " -\u2010\u2011\u2012\u2013\u2014\u2015,;:/|~\u301c\u00b7\u30fb"


def canonical_music(artist: str, title: str) -> str:
    """The canonical name of a song: "davidbowie - heroes". NoName when one of the two is empty or
    longer than `MAX_CHARACTERS`."""
    return folded_music(*display_music(artist, title))


def folded_music(artist: str, title: str) -> str:
    """`canonical_music` of what `display_music` gave."""
    return f"{_folded(artist)}{SEPARATOR}{_folded(title)}"


def display_music(artist: str, title: str) -> tuple[str, str]:
    """(artist, title) for people, without what does not count; given it again, it stays as it is.
    NoName as `canonical_music`."""
    pair = (clean(artist), clean(title))
    if not all(pair):
        raise NoName("an artist or title without any character that can be seen")
    for _ in range(_PASSES):
        before, pair = pair, _once(*pair)
        if pair == before:
            return pair
    # Names made to be taken apart again and again: what they fold to cannot be.
    return _folded(pair[0]), _folded(pair[1])


def _once(artist: str, title: str) -> tuple[str, str]:
    artist = _artist(artist)
    return artist, _title(title, artist)


def _folded(text: str) -> str:
    found = _numbered(text, words(text))
    while len(found) > 1 and found[0] == "the":
        found = found[1:]
    return squash(found) if found else signs(text)


# --- artists -------------------------------------------------------------------------------------


def _artist(text: str) -> str:
    if text.endswith("VEVO") and len(text) > 4:
        text = _or(text[:-4].strip(_EDGES), text)
    for channel in (" - topic", " official"):
        if text.casefold().endswith(channel):
            text = _or(text[: -len(channel)].strip(_EDGES), text)
    text = _CREDIT_OF_ARTIST.split(_without_credit(text), maxsplit=1)[0].strip(_EDGES) or text
    if text[-1] in ")]" and (pairs := _brackets(text)) and pairs[-1][1] == len(text):
        text = text[: pairs[-1][0]].strip(_EDGES) or text
    if text.casefold().endswith(", the"):
        text = f"{text[-3:]} {text[:-5].strip(_EDGES)}"
    return _first(text)


def _first(text: str) -> str:
    """The first of several artists."""
    head, semicolon, _ = text.partition(";")
    if semicolon:
        text = _or(head.strip(_EDGES), text)
    pieces = text.split(", ")
    if len(pieces) == 1 or {"and", "n", "y", "und", "et"} & set(words(text)):
        return text
    count = 1
    for name in rules.NAMES_WITH_COMMA:
        for pieces_of_name in range(2, min(len(pieces), 4) + 1):
            if tuple(words(", ".join(pieces[:pieces_of_name]))) == name:
                count = pieces_of_name
    return _or(", ".join(pieces[:count]).strip(_EDGES), text)


def _without_credit(text: str) -> str:
    """What stands before "feat." and the like, brackets included."""
    for match in _CREDIT.finditer(text):
        if words(text[: match.start()]):
            return text[: match.start()].strip(_EDGES)
    return text


_CREDIT_OF_ARTIST = re.compile(r"\s(?:presents|pres\.|vs\.|vs|versus)\s", re.IGNORECASE)
_CREDIT = re.compile(r"[\s(\[-](?:feat|ft|featuring)(?:\.|\s|:)", re.IGNORECASE)


def _or(text: str, otherwise: str) -> str:
    """`text`, unless it has no word."""
    return text if words(text) else otherwise


# --- titles --------------------------------------------------------------------------------------


def _title(text: str, artist: str) -> str:
    text = _without_brackets(text, artist)
    text = _without_tails(text, artist)
    head, _, tail = text.partition(": ")
    if tail and words(head) == words(artist)[-len(words(head)) :]:
        text = _or(tail.strip(_EDGES), text)
    return text


def _without_brackets(text: str, artist: str) -> str:
    """Without the brackets that tell nothing of the song."""
    kept: list[str] = []
    at = 0
    for start, end in _brackets(text):
        inner, outer = text[start + 1 : end - 1], text[:start] + text[end:]
        if _is_nothing(inner, artist) or _is_translation(inner, outer):
            kept.append(text[at:start])
            at = end
    if not at:
        return text
    kept.append(text[at:])
    # Only where there was a space may one be put back.
    return _or(" ".join("".join(kept).split()).strip(_EDGES), text)


def _brackets(text: str) -> list[tuple[int, int]]:
    """(start, end) of the first outermost pairs of brackets, which need not be of one kind."""
    found: list[tuple[int, int]] = []
    open_at: list[int] = []
    for at, character in enumerate(text):
        if character in "([":
            open_at.append(at)
        elif character in ")]" and open_at:
            start = open_at.pop()
            if not open_at:
                found.append((start, at + 1))
                if len(found) == MAX_BRACKETS:
                    break
    return found


def _without_tails(text: str, artist: str) -> str:
    match = _LONE_DASHES.search(text)
    if match and _is_nothing(match[1], artist):
        text = _or(text[: match.start()].strip(_EDGES), text)
    pieces: list[str] = []
    at = 0
    for dash in _DASH.finditer(text):
        pieces.append(text[at : dash.start()])
        at = dash.end()
    pieces.append(text[at:])
    own = words(artist)
    if len(pieces) > 1 and words(pieces[0]) == own:
        pieces = pieces[1:]
    first = len(pieces)
    for at in range(len(pieces) - 1, 0, -1):
        found = words(pieces[at])
        if found == own or _is_nothing(pieces[at], artist):
            first = at
        elif first == at + 1 < len(pieces) and all(map(str.isdigit, found)):
            first = at  # "- 2011 - Remaster"
        elif not all(map(_is_known, found)):
            break  # "Live at ... - January 1968": what is known goes with what stands before it
    pieces = pieces[:first]
    pieces = [_without_credit(piece) for piece in pieces]
    shortened = SEPARATOR.join(piece.strip() for piece in pieces).strip(_EDGES)
    return _or(shortened, text)


# --- what tells nothing of the song --------------------------------------------------------------


def _is_nothing(text: str, artist: str) -> bool:
    """Whether what stands in brackets or behind a dash only tells of guests, take or film."""
    found = words(text)
    if not found:
        return not text.strip() or not any(mark in text for mark in "?!")
    known = set(found)
    if known & rules.OTHER_SONGS:
        return False
    if found[0] in rules.CREDITS_IN_BRACKETS and len(found) > 1:
        return True
    if found[0] == "and" and text.lstrip()[0] in "&+":
        return True
    return (
        bool(known & rules.REMASTER)
        or _is_of_a_film(text, found)
        or _names(artist, text)
        or _are_takes([words(part) for part in text.split("/")])
    )


def _are_takes(parts: list[list[str]]) -> bool:
    """ "Mono / 1997 Remaster": at least one is a take, and the others have known words only."""
    takes = [_is_take(part) for part in parts]
    return any(takes) and all(
        take or all(map(_is_known, part)) for take, part in zip(takes, parts, strict=True)
    )


def _is_translation(inner: str, outer: str) -> bool:
    """Whether brackets behind Latin letters have none."""
    return (
        not rules.OTHER_SONGS & set(words(inner))
        and any(c.isalpha() for c in inner)
        and not any(c.isdigit() for c in inner)
        and not _LATIN.search(inner)
        and _LATIN.search(outer) is not None
    )


def _names(artist: str, text: str) -> bool:
    """Whether the artist is one of several in a list."""
    pieces = re.split(r"[,;&+]", text)
    return len(pieces) > 1 and words(artist) in [words(piece) for piece in pieces]


def _is_of_a_film(text: str, found: list[str]) -> bool:
    at = found.index("from") if "from" in found[:4] else -1
    if at < 0 or (at > 0 and "theme" not in found[:at]):
        return False
    return (
        at > 0
        or any(mark in text for mark in "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb\u300c\u300e")
        or bool(rules.FILM_WORDS & set(found))
    )


def _is_take(found: list[str]) -> bool:
    if not found:
        return False
    if any(tuple(found[at : at + 2]) in rules.FOREIGN_TAILS for at in range(len(found) - 1)):
        return True
    if found[0] in rules.FOREIGN_WORDS:
        return True
    # "Live at ..." with any place behind it, "acoustic live from ..." too.
    for at, word in enumerate(found[:-1]):
        if word == "live" and found[at + 1] in rules.PLACES:
            return all(_is_known(before) for before in found[:at])
    return all(map(_is_known, found)) and bool(rules.TAKES & set(found))


def _is_known(word: str) -> bool:
    return word in rules.TAKES or word in rules.AROUND or word.isdigit()


# --- numbers -------------------------------------------------------------------------------------

_MOVEMENT = re.compile(r"(?:^|[:\-\u2013\u2014]\s*)([ivx]+)\.(?=\s)", re.IGNORECASE)


def _numbered(text: str, found: list[str]) -> list[str]:
    """The words with numbers written in one way. One word alone is left as it is."""
    if len(found) < 2:
        return found
    movements = {match[1].casefold() for match in _MOVEMENT.finditer(text)}
    out: list[str] = []
    behind = False
    for at, word in enumerate(found):
        word = rules.SPELLINGS.get(word, word)
        if word == "n" and 0 < at < len(found) - 1:
            word = "and"
        number = rules.ROMAN.get(word)
        if number is not None and (len(word) > 1 or behind or word in movements):
            word = str(number)
        elif behind and word in rules.COUNTED:
            word = str(rules.COUNTED[word])
        elif word == "no" and at + 1 < len(found) and _is_number(found[at + 1]):
            continue
        # "Parts I-V": a number behind a number.
        behind = word in rules.NUMBERED or (behind and word.isdigit())
        out.append(word)
    return out


def _is_number(word: str) -> bool:
    return word.isdigit() or word in rules.ROMAN
