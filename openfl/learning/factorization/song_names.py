"""Which song is meant by what somebody types: an id, a title, or artist and title."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from openfl.core.errors import UsageError
from openfl.learning.csv_table import canonical
from openfl.learning.factorization.ratings import Catalogue

MAX_LISTED = 5
"""Songs that are listed when one has to be chosen."""
MAX_COMPARED = 200_000
"""Names that are looked through for one that is nearly right."""
NEAR = 0.35
"""How much of their pairs of letters two names must share (Dice 1945) for one to be suggested."""
NEARLY_AS_NEAR = 0.8
"""And how much of what the nearest one shares."""


def folded(text: str) -> str:
    """`text` for comparing names: without case, accents, widths, and spaces that are doubled."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def label(catalogue: Catalogue, song_id: str) -> str:
    """What a song is called in a sentence: `Artist - Title (id 17)`."""
    song = catalogue.get(song_id)
    if song is None:
        return f"song {song_id}"
    name = f"{song.artist} - {song.title}" if song.artist else song.title
    return f"{name} (id {song_id})"


def find_song(reference: str, catalogue: Catalogue, others: Iterable[str]) -> str:
    """The id of the song called `reference`: its id, its title, or `artist - title` in either
    order, however upper case and accents are written. others: ids known beside the catalogue.

    UsageError lists the songs of that name when there are several, and the nearest ones when there
    is none.
    """
    wanted = canonical(reference)
    if wanted and (wanted in catalogue or wanted in set(others)):
        return wanted
    name = folded(reference)
    if not name:
        raise UsageError("which song? Give an id, a title, or artist and title")
    found = sorted(song_id for song_id in catalogue if name in _names(catalogue, song_id))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{len(found)} songs are called {reference!r}: {_listed(catalogue, found)}; give the id"
        )
    near = _nearest(name, catalogue)
    hint = f"; did you mean {_listed(catalogue, near)}?" if near else ""
    if not len(catalogue):
        hint = ": without a catalogue (data.catalogue_file) songs go by their ids"
    raise UsageError(f"no song is called {reference!r} here{hint}")


def _names(catalogue: Catalogue, song_id: str) -> tuple[str, ...]:
    song = catalogue.songs[song_id]
    title = folded(song.title)
    if not song.artist:
        return (title,)
    artist = folded(song.artist)
    return title, f"{artist} - {title}", f"{title} - {artist}"


def _listed(catalogue: Catalogue, ids: Sequence[str]) -> str:
    shown = [label(catalogue, song_id) for song_id in ids[:MAX_LISTED]]
    more = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _nearest(name: str, catalogue: Catalogue) -> list[str]:
    """The ids of songs with names most like `name`, best first; of equal ones the smaller."""
    wanted = _pairs(name)
    scored = []
    for number, song_id in enumerate(catalogue):
        if number >= MAX_COMPARED:
            break
        likeness = max(_likeness(wanted, _pairs(other)) for other in _names(catalogue, song_id))
        if likeness >= NEAR:
            scored.append((-likeness, song_id))
    scored.sort()
    least = NEARLY_AS_NEAR * -scored[0][0] if scored else 0.0
    return [song_id for minus, song_id in scored[:3] if -minus >= least]


def _pairs(name: str) -> frozenset[str]:
    padded = f" {name} "
    return frozenset(padded[n : n + 2] for n in range(len(padded) - 1))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other))
