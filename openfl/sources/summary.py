"""What is in some files: counts, what was left out and why, what does not look right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.sources.collect import Collected
from openfl.sources.interactions import NO_TIME, Kind, Task
from openfl.sources.reading import Imported
from openfl.sources.text import looks_misread

TOP = 10
_EARLIEST = 946_684_800
"""2000: before that nobody's plays were counted."""
_MANY_PLAYS = 1e5
_DAY = 86_400
KINDS = {Kind.PLAY: "plays", Kind.COUNT: "totals", Kind.LIKE: "likes", Kind.RATING: "ratings"}
"""What rows of each kind are called."""


@dataclass(frozen=True)
class TopItem:
    """One of the items with most. amount: plays; when the task is `rating`, how many rated it, or
    of one person the rating."""

    item_id: str
    title: str
    artist: str
    amount: float


@dataclass(frozen=True)
class Summary:
    """What `openfl-node data inspect` tells. kinds: of the rows, by what they are. period: unix
    seconds of first and last. scale: (lowest, highest) rating that is, or may be, given; None
    without ratings. dropped: reason -> (rows, where the first stand). left: files that were not
    read -> why. problems: what does not look right."""

    sources: tuple[str, ...]
    titles: tuple[str, ...]
    items_are: str
    people: int
    items: int
    interactions: int
    duplicates: int
    kinds: dict[str, int]
    period: tuple[int, int] | None
    scale: tuple[float, float] | None
    task: Task
    top: tuple[TopItem, ...]
    dropped: dict[str, tuple[int, tuple[str, ...]]]
    assumed: tuple[str, ...]
    problems: tuple[str, ...]
    left: dict[str, str]
    files: tuple[tuple[str, str, int], ...]

    def to_plain(self) -> dict[str, Any]:
        """The shape that docs/data.md promises."""
        period = self.period
        scale = self.scale
        return {
            "source": " + ".join(self.sources),
            "sources": list(self.sources),
            "items_are": self.items_are,
            "people": self.people,
            "items": self.items,
            "interactions": self.interactions,
            "kinds": self.kinds,
            "duplicates": self.duplicates,
            "period": None if period is None else {"from": iso(period[0]), "to": iso(period[1])},
            "scale": None if scale is None else {"lowest": scale[0], "highest": scale[1]},
            "task": self.task,
            "top": [
                {"id": t.item_id, "title": t.title, "artist": t.artist, "amount": t.amount}
                for t in self.top
            ],
            "dropped": {reason: rows for reason, (rows, _) in self.dropped.items()},
            "dropped_first": {reason: list(first) for reason, (_, first) in self.dropped.items()},
            "assumed": list(self.assumed),
            "problems": list(self.problems),
            "files": [{"file": n, "source": s, "rows": rows} for n, s, rows in self.files],
            "not_read": self.left,
        }


def iso(seconds: int) -> str:
    """ "2023-04-01T12:30:59Z"."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def task_of(collected: Collected) -> Task:
    """What can be learned: `rating` from ratings that differ, `implicit` from anything else. Where
    there are both, from the plays and likes."""
    rated = collected.rows.kind == Kind.RATING
    if not rated.all():
        return "implicit"
    return "rating" if len(np.unique(collected.rows.strength)) > 1 else "implicit"


def rows_of(collected: Collected, task: Task) -> NDArray[np.bool_]:
    """bool[n]: the rows that `task` learns from. Without plays and likes `implicit` takes ratings,
    of which a node takes the good ones for likes."""
    rated: NDArray[np.bool_] = collected.rows.kind == Kind.RATING
    return rated if task == "rating" or rated.all() else np.logical_not(rated)


def summarize(imported: Imported, now: int) -> Summary:
    """`now`: unix seconds; what is later is suspicious."""
    collected = imported.collected
    task = task_of(collected)
    known = collected.rows.times[collected.rows.times != NO_TIME]
    rated = collected.rows.strength[collected.rows.kind == Kind.RATING]
    scales = [source.scale for source in imported.sources if source.scale is not None]
    scale = None
    if len(rated):
        bounds = [(float(rated.min()), float(rated.max())), *scales]
        scale = min(low for low, _ in bounds), max(high for _, high in bounds)
    counts = np.bincount(collected.rows.kind, minlength=len(Kind))
    return Summary(
        sources=tuple(source.name for source in imported.sources),
        titles=tuple(source.title for source in imported.sources),
        items_are=imported.items,
        people=len(collected.people),
        items=len(collected.item_ids),
        interactions=len(collected),
        duplicates=collected.duplicates,
        kinds={word: int(counts[kind]) for kind, word in KINDS.items() if counts[kind]},
        period=(int(known.min()), int(known.max())) if len(known) else None,
        scale=scale,
        task=task,
        top=tuple(_top(collected, task)),
        dropped={
            reason: (dropped.rows, tuple(dropped.first))
            for reason, dropped in sorted(
                imported.drops.reasons.items(), key=lambda each: -each[1].rows
            )
        },
        assumed=tuple(
            f"{read.name}: {remark}" for read in imported.files for remark in read.remarks
        ),
        problems=tuple(_problems(collected, task, now)),
        left=imported.left,
        files=tuple((read.name, read.source.name, read.rows) for read in imported.files),
    )


def _top(collected: Collected, task: Task) -> Iterator[TopItem]:
    chosen = rows_of(collected, task)
    counted = task == "rating" and len(collected.people) > 1
    weights = None if counted else collected.rows.strength[chosen].astype(np.float64)
    amounts = np.bincount(
        collected.rows.item[chosen], weights=weights, minlength=len(collected.item_ids)
    )
    for at in np.argsort(-amounts, kind="stable")[:TOP].tolist():
        if amounts[at] > 0:
            title, artist = collected.labels[at]
            yield TopItem(collected.item_ids[at], title, artist, float(amounts[at]))


def _problems(collected: Collected, task: Task, now: int) -> Iterator[str]:
    times = collected.rows.times
    future, early = int((times > now + _DAY).sum()), int(((times < _EARLIEST) & (times > 0)).sum())
    if future:
        yield f"{future:,} of {len(times):,} times are in the future"
    if early and task == "implicit":
        yield f"{early:,} of {len(times):,} times are before the year 2000"
    rated = collected.rows.kind == Kind.RATING
    yield from _stray_ratings(collected.rows.strength[rated])
    played = (collected.rows.kind == Kind.PLAY) | (collected.rows.kind == Kind.COUNT)
    many = np.flatnonzero(played & (collected.rows.strength > _MANY_PLAYS))
    if len(many):
        worst = int(many[np.argmax(collected.rows.strength[many])])
        item, plays = collected.item_ids[collected.rows.item[worst]], collected.rows.strength[worst]
        yield (
            f"{len(many):,} numbers of plays are above {_MANY_PLAYS:,.0f}, such as {plays:,.0f} of"
            f" {item}"
        )
    misread = [item for item in collected.item_ids if looks_misread(item)]
    if misread:
        yield (
            f"{len(misread):,} names look like text that was read in a wrong encoding, such as"
            f" {misread[0]} (data.encoding says which it is)"
        )
    if len(collected.people) == 1 and len(collected.item_ids) < 20:
        yield f"only {len(collected.item_ids)} items: little to learn from"
    if rated.any() and not rated.all():
        yield (
            f'{int(rated.sum()):,} ratings stand beside the plays; task.kind = "rating" learns from'
            " them instead"
        )


def _stray_ratings(ratings: NDArray[np.float32]) -> Iterator[str]:
    """A number far off all others: a slip of the pen, or a mark for what is missing."""
    if len(ratings) < 5:
        return
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) < 3:
        return
    low, high = np.quantile(ratings, (0.005, 0.995))
    width = max(float(high - low), 1.0)
    for at in (0, len(values) - 1):
        value = float(values[at])
        off = max(float(low) - value, value - float(high))
        if off > 2 * width:
            yield f"the rating {value:g} ({int(counts[at]):,} times) is far off all others"
