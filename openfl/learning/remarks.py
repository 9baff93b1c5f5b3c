"""What the owner of data should know of it when a node starts: what was read and what was not, and
what will go wrong with it though nothing is wrong with the file.

The rule: a situation in which a node looks fine and learns nothing, or tells more than its owner
thinks, is a `Remark` here. It is told once at each start and is no reason not to start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openfl.config import Config
from openfl.learning.classification.examples import Labelled
from openfl.learning.factorization.rating_scale import format_scale
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.rating.charter import TASK_KIND as RATING

FEW_USERS = 2
"""So few are not hidden among each other in what a node publishes."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell the owner about the data when a node starts: as an event of this kind."""

    level: Literal["info", "warning"]
    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


def remarks_on_music(
    config: Config, kind: str, ratings: Ratings, catalogue: Catalogue
) -> tuple[Remark, ...]:
    """What the owner of these ratings (or plays), for a task of `kind`, should know of them."""
    facts = _count(len(ratings), "rating" if kind == RATING else "played song")
    facts += f" of {_count(len(ratings.users), 'user')} and {_count(len(ratings.songs), 'song')}"
    if ratings.duplicates:
        facts += f"; {_count(ratings.duplicates, 'row')} of a user and a song that occur again"
    if ratings.left_out:
        weak = sum(map(len, ratings.left_out.values()))
        facts += f"; {weak:,} are below data.min_strength, and left out"
    rows = (ratings.source, ratings.skipped), ("the catalogue", catalogue.skipped)
    remarks = [_of_data(facts, rows, len(ratings))]
    if ratings.doubt:
        scale = format_scale(ratings.scale)
        text = f"{ratings.doubt}; the group has learned from it on the scale {scale}"
        remarks.append(Remark("warning", "data-doubtful", text))
    if kind == RATING and ratings.values.min() == ratings.values.max():
        remarks.append(
            Remark(
                "warning",
                "all-alike",
                f"every rating is {ratings.values[0]:g}: that says nothing of who likes what"
                ' (which songs are chosen at all is learned with task.kind = "implicit")',
            )
        )
    named = sum(song in catalogue for song in ratings.songs)
    if len(catalogue) and not named:
        remarks.append(
            Remark(
                "warning",
                "catalogue-of-others",
                f"none of the {len(ratings.songs):,} songs of {ratings.source} is among the"
                f" {len(catalogue):,} of the catalogue: are the ids written alike?"
                " (data.catalogue_file)",
            )
        )
    if (told := _few_users(config, kind, len(ratings.users))) is not None:
        remarks.append(told)
    return tuple(remarks)


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


def _few_users(config: Config, kind: str, users: int) -> Remark | None:
    """That whoever reads what the node publishes learns what its one or two users like; None
    when they are more, or nothing of that kind is published."""
    hides = config.training.min_row_evidence > users or config.privacy.enabled
    if users > FEW_USERS or hides or not config.training.auto_start:
        return None
    private = " privacy.enabled = true," if kind == RATING else ""
    whose = "a single user" if users == 1 else f"{users} users"
    return Remark(
        "warning",
        "few-users",
        f"the data is of {whose}: what this node publishes tells the group nearly all of what"
        f" they like (docs/privacy.md). To teach less: training.min_row_evidence = {users + 1},"
        f"{private} or follow without teaching: training.auto_start = false",
        {"users": users},
    )


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
