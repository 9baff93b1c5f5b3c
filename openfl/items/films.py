"""Films: the title, folded as songs are, and the year, which tells remakes apart."""

from __future__ import annotations

import re
from collections.abc import Iterable

from openfl.items.folding import NoName, clean, signs, squash, words

YEARS = (1870, 2199)
_YEAR = re.compile(r"([0-9]{4})(?:[-\u2013][0-9]{0,4})?")
_PASSES = 4
_ARTICLES = "the|a|an|le|la|les|l'|il|lo|gli|i|el|los|las|der|die|das|den|det|en|et|o|os|as"
_ARTICLE_BEHIND = re.compile(rf"^(.+), ({_ARTICLES})$", re.IGNORECASE)
_IMDB_ID = re.compile(r"tt\d{7,10}")


def canonical_film(title: str, year: int | None = None) -> str:
    """The canonical name of a film: "matrix (1999)", or "matrix" when no year is given or stands
    behind the title in brackets. NoName when the title is empty or too long, or no year is one."""
    return folded_film(*display_film(title, year))


def folded_film(title: str, year: int | None) -> str:
    """`canonical_film` of what `display_film` gave."""
    name = _folded(title)
    return name if year is None else f"{name} ({year})"


def display_film(title: str, year: int | None = None) -> tuple[str, int | None]:
    """(title, year) for people: an article that stands behind is put in front ("Matrix, The"),
    and other names in brackets at the end go. Given it again, it stays as it is."""
    title = clean(title)
    if not title:
        raise NoName("a film without a title")
    if year is not None and not YEARS[0] <= year <= YEARS[1]:
        raise NoName(f"no film is of the year {year}")
    for _ in range(_PASSES):
        before = title
        title, found = _without_brackets(title)
        year = found if year is None else year
        title = _article_in_front(title)
        if title == before:
            return title, year
    return _folded(title), year


def _folded(title: str) -> str:
    found = words(title)
    while len(found) > 1 and found[0] == "the":
        found = found[1:]
    return squash(found) if found else signs(title)


def _without_brackets(title: str) -> tuple[str, int | None]:
    """(the title without brackets behind it, the year in one of them). A title of nothing else is
    left as it is."""
    shorter, year = title, None
    while shorter.endswith(")") and "(" in shorter:
        start = shorter.rindex("(")
        inner = _YEAR.fullmatch(shorter[start + 1 : -1])
        if inner is not None and year is None and YEARS[0] <= int(inner[1]) <= YEARS[1]:
            year = int(inner[1])
        shorter = shorter[:start].rstrip()
    return (shorter, year) if words(shorter) else (title, None)


def _article_in_front(title: str) -> str:
    behind = _ARTICLE_BEHIND.match(title)
    if behind is None:
        return title
    return f"{behind[2]}{'' if behind[2].endswith(chr(39)) else ' '}{behind[1]}"


def imdb_names(films: Iterable[tuple[str, str, int | None]]) -> dict[str, str]:
    """{IMDb id: canonical name} from rows of (id, title, year) that have both; of an id that occurs
    again the first name counts. Rows whose id is none, or that name nothing, are left out."""
    names: dict[str, str] = {}
    for imdb_id, title, year in films:
        if _IMDB_ID.fullmatch(imdb_id) and imdb_id not in names:
            try:
                names[imdb_id] = canonical_film(title, year)
            except NoName:
                continue
    return names
