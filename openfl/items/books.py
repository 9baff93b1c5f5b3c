"""Books: the ISBN where there is one, else author and title."""

from __future__ import annotations

import re

from openfl.items.folding import NoName, clean, signs, squash, words

_SERIES_BEHIND = re.compile(r"\s*[(\[][^()\[\]]*[#\d][^()\[\]]*[)\]]$")
_ISBN_MARKS = str.maketrans("", "", ' -="\u2010\u2011\u2012\u2013\u2014')


def canonical_book(title: str = "", author: str = "", isbn: str = "") -> str:
    """The canonical name of a book: its ISBN of 13 digits, or "janeausten - emma". An ISBN whose
    check digit is wrong counts as none. NoName when there is neither."""
    number = isbn13(isbn)
    if number is not None:
        return number
    return folded_book(*display_book(title, author))


def folded_book(title: str, author: str) -> str:
    """`canonical_book` of what `display_book` gave."""
    return f"{_folded(author)} - {_folded(title)}"


def display_book(title: str, author: str) -> tuple[str, str]:
    """(title, author) for people: without the series in brackets behind the title ("(Dune, #1)"),
    the author's first name in front. Given it again, it stays as it is."""
    title, author = clean(title), clean(author)
    if not title or not author:
        raise NoName("a book without title or author, and without a valid ISBN")
    while (shorter := _SERIES_BEHIND.sub("", title)) != title and words(shorter):
        title = shorter
    last, comma, first = author.partition(", ")
    if comma and words(first) and words(last) and "," not in first:
        author = f"{first} {last}"
    return title, author


def isbn13(text: str) -> str | None:
    """The 13 digits of an ISBN of 10 or 13 digits, however it is written ("0-14-143951-3",
    '="0141439513"'); None when it is none, or its check digit is wrong."""
    if len(text) > 40:
        return None
    text = text.translate(_ISBN_MARKS).upper()
    if not text.isascii():
        return None
    if re.fullmatch(r"\d{9}[\dX]", text):
        values = [10 if c == "X" else int(c) for c in text]
        if sum((10 - at) * value for at, value in enumerate(values)) % 11:
            return None
        text = f"978{text[:9]}"
        return text + _check_digit(text)
    if re.fullmatch(r"97[89]\d{10}", text) and text[12] == _check_digit(text[:12]):
        return text
    return None


def _check_digit(twelve: str) -> str:
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(twelve))
    return str(-total % 10)


def _folded(text: str) -> str:
    found = words(text)
    while len(found) > 1 and found[0] == "the":
        found = found[1:]
    return squash(found) if found else signs(text)
