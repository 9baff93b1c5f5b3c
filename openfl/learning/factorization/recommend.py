"""Which songs to play next: predictions for one user from a group's model.

Needs no running node: a model (live, or from a model file), the owner's ratings and a catalogue.
The user is fitted to the model on the spot, from all of their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ModelView
from openfl.learning.csv_table import canonical
from openfl.learning.factorization.item_rows import ITEM_KEY_BITS, item_keys
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.factorization.song_names import folded
from openfl.learning.factorization.users import one_user
from openfl.learning.factorization.wishes import NO_WISHES, Wishes, best_of, mixed
from openfl.learning.heads import Head

FEW_RATINGS = 5
REASONS = 3
"""Most of a user's songs that are named for one recommendation."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A song of the user's own. `influence`: what it adds to the score of the song recommended; the
    influences of all own songs, and what the song would be for anybody, add up to that score."""

    song_id: str
    title: str | None
    artist: str | None
    influence: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One song. `score`: by the head "rating" the rating expected of the user, within the
    group's scale; by "implicit" a preference, about 0 to 1 (for "popular" the group's plays, as far
    as they count). evidence: how many ratings of it, or counted plays, the group has. why: the own
    songs that speak most for it, if that was wished for."""

    song_id: str
    title: str | None
    artist: str | None
    score: float
    evidence: float = 0.0
    why: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Songs for one user, best first.

    kind: "known" - from their ratings in this node's data; "folded-in" - from ratings
    given with the question; "popular" - nothing is known of the user, so this is what the group
    likes best. `notes` are sentences to show.
    """

    user: str
    kind: Literal["known", "folded-in", "popular"]
    head: str
    items: tuple[Recommendation, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values; `from_plain` is its inverse."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Recommendations:
        """The inverse of `to_plain`; KeyError or TypeError when it is not of one."""
        values = dict(plain)
        values["items"] = tuple(
            Recommendation(**{**item, "why": tuple(Reason(**own) for own in item.get("why", ()))})
            for item in values["items"]
        )
        values["notes"] = tuple(values["notes"])
        return cls(**values)


def recommend(
    head: Head,
    model: ModelView,
    ratings: Ratings | None,
    catalogue: Catalogue,
    user: str,
    top: int,
    own: Mapping[str, float] | None = None,
    wishes: Wishes = NO_WISHES,
) -> Recommendations:
    """The `top` songs for `user` among those not rated yet, by the head of `model`.

    Only songs named in the catalogue or met in `ratings` can be recommended, and only when some
    member of the group has ratings (or plays) of them. `own` ({song id: rating or plays}) answers
    for a user who is not in the data. Ties go to the smaller song id. ValueError: `top` < 1.
    """
    if top < 1:
        raise ValueError("top must be at least 1")
    given = own if own is not None else (ratings.of_user(user) if ratings is not None else {})
    given = {canonical(song): value for song, value in given.items()}
    met = set(given) if ratings is None else {*given, *ratings.left_out.get(canonical(user), ())}
    known_songs = set(catalogue) | set(ratings.songs if ratings is not None else ())
    candidates = np.array(sorted(known_songs - met), dtype=object)
    keys = item_keys(tuple(candidates), head.key_bits)
    learned = model.keys(head.items)
    nameless = len(learned) - int(
        np.isin(learned, item_keys(tuple(known_songs), head.key_bits)).sum()
    )
    known_to_group = model.evidence(head.items, keys) > 0
    candidates, keys = candidates[known_to_group], keys[known_to_group]

    notes = list(head.notes)
    all_candidates = len(candidates)
    if wishes.new_artists:
        new, remarks = _of_new_artists(candidates, catalogue, met, user)
        candidates, keys = candidates[new], keys[new]
        notes += remarks
    kind: Literal["known", "folded-in", "popular"]
    if given:
        kind = "known" if own is None else "folded-in"
        values = one_user(np.array(list(given.values()), dtype=float))
        fitted = head.fold_in(values, item_keys(tuple(given), head.key_bits))
        scores = head.scores(fitted, keys)[0]
        if len(given) < FEW_RATINGS:
            plural = "" if len(given) == 1 else "s"
            notes.append(f"user {user} {head.few.format(len(given), plural)}: expect rough guesses")
    else:
        kind = "popular"
        scores = head.popularity(keys)
        notes.append(f"user {user} {head.nothing}")
        notes += [head.counted] if head.counted else []
    if not len(learned):
        notes.append("nothing is learned yet: the model knows no song")
    elif not all_candidates and not nameless:
        all_of = "the only song" if len(learned) == 1 else f"all {len(learned):,} songs"
        notes.append(f"user {user} has {head.verb} {all_of} that the model knows")
    elif len(candidates) < top:
        notes += _few_left(len(candidates), user, head, wishes)
        if nameless:
            told = head.key_bits != ITEM_KEY_BITS
            notes.append(_nameless(nameless, len(learned), catalogue, told))
    # Candidates are sorted by id: equal scores keep that order.
    best = best_of(scores, top)
    if wishes.not_popular and given and len(best):
        distinctive = head.distinctive(fitted, keys)[0]
        best, discoveries = mixed(scores, distinctive, top, wishes.not_popular)
        are = "is a song that suits" if discoveries == 1 else "are songs that suit"
        notes.append(
            f"{discoveries} of these {len(best)} {are} user {user} more than others of the group,"
            " whatever the score"
        )
    why: list[tuple[Reason, ...]] = [()] * len(best)
    if wishes.why and given and len(best):
        influence = head.influence(values, item_keys(tuple(given), head.key_bits), keys[best])
        why = [_reasons(catalogue, tuple(given), of_one) for of_one in influence]
    if not given and (wishes.why or wishes.not_popular):
        notes.append("without a song of theirs there is nothing to compare others with, or to name")
    shown, evidence = head.shown(scores), model.evidence(head.items, keys)
    return Recommendations(
        user=user,
        kind=kind,
        head=head.name,
        items=tuple(
            Recommendation(
                *_name(catalogue, candidates[n]), float(shown[n]), float(evidence[n]), reasons
            )
            for n, reasons in zip(best, why, strict=True)
        ),
        notes=tuple(notes),
    )


def _few_left(count: int, user: str, head: Head, wishes: Wishes) -> list[str]:
    """That fewer songs are left than were asked for, if any are."""
    if not count:
        return []
    are = "song is" if count == 1 else "songs are"
    of_whom = " by artists new to them" if wishes.new_artists else ""
    return [f"only {count} {are} left that user {user} has not {head.verb}{of_whom}"]


def _of_new_artists(
    candidates: NDArray[np.object_], catalogue: Catalogue, met: set[str], user: str
) -> tuple[NDArray[np.bool_], list[str]]:
    """(which of the songs are by artists of whom the user has met none, what to say of it)."""
    known = {folded(song.artist) for i in met if (song := catalogue.get(i)) and song.artist}
    artists = [song.artist if (song := catalogue.get(i)) else None for i in candidates]
    new = np.array([bool(a) and folded(a or "") not in known for a in artists], dtype=np.bool_)
    notes = []
    if unnamed := sum(not artist for artist in artists):
        songs = "1 song" if unnamed == 1 else f"{unnamed:,} songs"
        notes.append(f"left out for want of an artist in the catalogue: {songs}")
    if met and not known:
        notes.append(f"no artist is known of what user {user} has met: all count as new")
    return new, notes


def _reasons(
    catalogue: Catalogue, own: tuple[str, ...], influence: NDArray[np.float64]
) -> tuple[Reason, ...]:
    """The own songs with the most influence above 0; `influence[n]` is of `own[n]`."""
    most = [n for n in best_of(influence, REASONS) if influence[n] > 0]
    return tuple(Reason(*_name(catalogue, own[n]), float(influence[n])) for n in most)


def _nameless(count: int, of: int, catalogue: Catalogue, told: bool) -> str:
    """Why songs that the model knows cannot be recommended here: keys are no names. `told`: whether
    members tell each other names."""
    songs = f"{count:,} of the {of:,} songs that the model knows"
    if told:
        return f"{songs} have no name here yet and cannot be recommended: nobody has told it so far"
    if not len(catalogue):
        return (
            f"{songs} have no name here and cannot be recommended: give a songs.csv with song_id"
            " and title (data.catalogue_file)"
        )
    return (
        f"{songs} are not in the catalogue of {len(catalogue):,} (data.catalogue_file) and cannot"
        " be recommended: are there others, or are the ids written otherwise?"
    )


def _name(catalogue: Catalogue, song_id: str) -> tuple[str, str | None, str | None]:
    """(id, title, artist) of a song."""
    song = catalogue.get(song_id)
    return (song_id, None, None) if song is None else (song_id, song.title, song.artist)
