"""What the owner of data should know of it when a node starts: what was read and what was not, and
what will go wrong with it though nothing is wrong with the file.

The rule: a situation in which a node looks fine and learns nothing, or tells more than its owner
thinks, is a `Remark` here. It is told once at each start and is no reason not to start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openfl.config import Config
from openfl.config.kinds import FactorizationTask
from openfl.items import OPAQUE
from openfl.learning.classification.examples import Labelled
from openfl.learning.factorization.rating_scale import format_scale
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.song_data import SongData

FEW_USERS = 2
"""So few are not hidden among each other in what a node publishes."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell the owner about the data when a node starts: as an event of this kind."""

    level: Literal["info", "warning"]
    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


def what_was_read(data: SongData, one: str, added_up: bool = False) -> Remark:
    """What was read of ratings (or plays), and what was not. `one`: what a row is; added_up: of
    plays of one song by one user there may be many rows."""
    ratings = data.ratings
    facts = _count(len(ratings), one)
    facts += f" of {_count(len(ratings.users), 'user')} and {_count(len(ratings.songs), 'song')}"
    weak = sum(map(len, ratings.left_out.values()))
    if ratings.duplicates and added_up:
        facts += f", from {len(ratings) + ratings.duplicates + weak:,} rows"
    elif ratings.duplicates:
        facts += f"; {_count(ratings.duplicates, 'row')} of a user and a song that occur again"
    if ratings.left_out:
        facts += f"; {weak:,} are below data.min_strength, and left out"
    rows = (ratings.source, ratings.skipped), ("the catalogue", data.catalogue.skipped)
    return _of_data(facts, rows, len(ratings))


def doubtful(ratings: Ratings) -> Iterator[Remark]:
    """That a rating is far off all others, though the group has learned from it."""
    if ratings.doubt:
        scale = format_scale(ratings.scale)
        text = f"{ratings.doubt}; the group has learned from it on the scale {scale}"
        yield Remark("warning", "data-doubtful", text)


def all_ratings_alike(ratings: Ratings) -> Iterator[Remark]:
    """That ratings say nothing when all are the same."""
    if ratings.values.min() == ratings.values.max():
        yield Remark(
            "warning",
            "all-alike",
            f"every rating is {ratings.values[0]:g}: that says nothing of who likes what"
            ' (which songs are chosen at all is learned with task.kind = "implicit")',
        )


def catalogue_of_others(data: SongData) -> Iterator[Remark]:
    """That the catalogue names none of the songs in the data."""
    ratings, catalogue = data.ratings, data.catalogue
    if len(catalogue) and not any(song in catalogue for song in ratings.songs):
        yield Remark(
            "warning",
            "catalogue-of-others",
            f"none of the {len(ratings.songs):,} songs of {ratings.source} is among the"
            f" {len(catalogue):,} of the catalogue: are the ids written alike?"
            " (data.catalogue_file)",
        )


def named_otherwise(config: Config, data: SongData) -> Iterator[Remark]:
    """That `task.items` has no effect, since the home is in a group that names items in another
    way."""
    asked = config.own(FactorizationTask).items
    is_asked = asked != OPAQUE or config.origin("task.items").kind != "default"
    if is_asked and asked != data.items:
        yield Remark(
            "warning",
            "named-otherwise",
            f'this home is in a group that names items by "{data.items}", and so does this node:'
            f' task.items = "{asked}" has no effect. For a group that goes by "{asked}" take'
            " another home folder (--home)",
        )


def few_users(config: Config, users: int, private: bool) -> Iterator[Remark]:
    """That whoever reads what the node publishes learns what its one or two users like; nothing
    when they are more, or nothing of that kind is published. `private`: whether this kind can be
    taught under differential privacy."""
    hides = config.training.min_row_evidence > users or config.privacy.enabled
    if users > FEW_USERS or hides or not config.training.auto_start:
        return
    by_noise = " privacy.enabled = true," if private else ""
    whose = "a single user" if users == 1 else f"{users} users"
    yield Remark(
        "warning",
        "few-users",
        f"the data is of {whose}: what this node publishes tells the group nearly all of what"
        f" they like (docs/privacy.md). To teach less: training.min_row_evidence = {users + 1},"
        f"{by_noise} or follow without teaching: training.auto_start = false",
        {"users": users},
    )


def remarks_on_examples(data: Labelled) -> tuple[Remark, ...]:
    """What the owner of these examples should know of them."""
    classes = f"{len(data.classes):,} {'class' if len(data.classes) == 1 else 'classes'}"
    facts = f"{_count(len(data), 'example')} of {classes},"
    facts += f" {_count(len(data.features), 'column')} of numbers"
    if data.ignored:
        facts += f"; without numbers, and left out: {', '.join(data.ignored)}"
    told = _of_data(facts, [(data.source, data.skipped)], len(data))
    if len(data.classes) > 1:
        return (told,)
    alike = f"every example is of class {data.classes[0]}: others are learned from others alone"
    return told, Remark("warning", "all-alike", alike)


def _count(count: int, one: str) -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def _of_data(facts: str, rows: Iterable[tuple[str, int]], examples: int) -> Remark:
    """What was read, and how many rows of which file were not."""
    skipped = {source: count for source, count in rows if count}
    left_out = "".join(
        f"; {_count(count, 'row')} of {source} cannot be used, and skipped"
        for source, count in skipped.items()
    )
    level: Literal["info", "warning"] = "warning" if skipped else "info"
    data = {"examples": examples, "skipped_rows": sum(skipped.values())}
    return Remark(level, "data", f"{facts}{left_out}", data)
