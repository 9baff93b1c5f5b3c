"""`Course`: how a node fared over its whole life, in a bounded number of points.

It is for pictures: of many rounds every second, fourth... one is kept, so that however long a node
lives its course has a few hundred points, the newest of them always. Time is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from openfl.core.telemetry import json_plain

MAX_POINTS = 400
MAX_MOVES = 100
MAX_TEXT_CHARS = 500
"""Of a reason that is kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """A node after one of its rounds. time: unix seconds. group: its name. validation, alone: the
    held-out metric with the group and for training alone, None while not known. members: present
    ones, this node included. bytes_sent, bytes_received: over the node's whole life."""

    time: float
    round: int
    group: str
    validation: float | None
    alone: float | None
    members: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class MoveMade:
    """The node came from one group (None: it was in none before) to another; both by name.
    action: `joined` (its first group), `move` or `found` by its own decision, `switch` by its
    owner's. why: in words."""

    time: float
    round: int
    left: str | None
    to: str
    action: str
    why: str

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values; what was left is called `from`."""
        return {
            "time": self.time,
            "round": self.round,
            "from": self.left,
            "to": self.to,
            "action": self.action,
            "why": self.why,
        }


class Course:
    """At most `MAX_POINTS` points and the last `MAX_MOVES` moves, oldest first."""

    def __init__(self) -> None:
        self._kept: list[Point] = []
        self._last: Point | None = None
        self._seen = 0
        self._stride = 1
        self._moves: deque[MoveMade] = deque(maxlen=MAX_MOVES)
        self._metric = ""

    @property
    def last(self) -> Point | None:
        """The newest point; None when there is none yet."""
        return self._last

    @property
    def points(self) -> tuple[Point, ...]:
        """Those kept, and the newest."""
        if self._last is None or (self._kept and self._kept[-1] is self._last):
            return tuple(self._kept)
        return (*self._kept, self._last)

    @property
    def moves(self) -> tuple[MoveMade, ...]:
        """The last ones."""
        return tuple(self._moves)

    def add(self, point: Point) -> None:
        """The node has done another round."""
        if self._seen % self._stride == 0:
            self._kept.append(point)
        self._seen += 1
        self._last = point
        if len(self._kept) >= MAX_POINTS:  # the newest may come on top
            del self._kept[1::2]
            self._stride *= 2

    def measured_by(self, metric: str) -> None:
        """What the points to come are measured by. Those of another metric are forgotten: one curve
        cannot show both."""
        if self._metric and metric != self._metric:
            self._kept, self._last, self._seen, self._stride = [], None, 0, 1
        self._metric = metric

    def moved(self, move: MoveMade) -> None:
        """The node is in another group."""
        self._moves.append(move)

    def to_plain(self) -> dict[str, Any]:
        """`{"points": [...], "moves": [...]}` of plain JSON values, for whoever draws it."""
        return {
            "points": [json_plain(asdict(point)) for point in self.points],
            "moves": [json_plain(move.to_plain()) for move in self._moves],
        }

    def newest_to_plain(self) -> dict[str, Any]:
        """The same with the newest point and move alone."""
        newest, moves = self._last, list(self._moves)[-1:]
        return {
            "points": [] if newest is None else [json_plain(asdict(newest))],
            "moves": [json_plain(move.to_plain()) for move in moves],
        }

    # --- kept between runs ------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """What `from_state` goes on from."""
        kept = {"seen": self._seen, "stride": self._stride, "kept": len(self._kept)}
        return {**self.to_plain(), **kept, "metric": self._metric}

    @classmethod
    def from_state(cls, plain: Any) -> Course:
        """A course to go on with. ValueError when `plain` is not what `to_state` made."""
        course = cls()
        try:
            points = [_point(one) for one in _few(plain["points"], MAX_POINTS)]
            course._moves.extend(_move(one) for one in _few(plain["moves"], MAX_MOVES))
            seen, stride, kept = (_count(plain[name]) for name in ("seen", "stride", "kept"))
            metric = _text(plain.get("metric", ""))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a course: {error!r}") from None
        if stride < 1 or stride & (stride - 1) or not len(points) - 1 <= kept <= len(points):
            raise ValueError("not a course: its points do not add up")
        if kept >= MAX_POINTS or -(-seen // stride) != kept:
            raise ValueError("not a course: its points do not add up")
        course._kept = points[:kept]
        course._last = points[-1] if points else None
        course._seen, course._stride = seen, stride
        course._metric = metric
        return course


def _few(plain: Any, most: int) -> list[Any]:
    if not isinstance(plain, list) or len(plain) > most:
        raise TypeError(f"a list of at most {most} was expected")
    return plain


def _point(plain: Any) -> Point:
    fields = _fields(plain, Point.__slots__)
    return Point(
        _number(fields["time"]),
        _count(fields["round"]),
        _text(fields["group"]),
        _number_or_none(fields["validation"]),
        _number_or_none(fields["alone"]),
        _count(fields["members"]),
        _count(fields["bytes_sent"]),
        _count(fields["bytes_received"]),
    )


def _move(plain: Any) -> MoveMade:
    fields = _fields(plain, ("time", "round", "from", "to", "action", "why"))
    return MoveMade(
        _number(fields["time"]),
        _count(fields["round"]),
        None if fields["from"] is None else _text(fields["from"]),
        _text(fields["to"]),
        _text(fields["action"]),
        _text(fields["why"]),
    )


def _fields(plain: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise TypeError(f"{', '.join(names)} were expected")
    return plain


def _count(plain: Any) -> int:
    if type(plain) is not int or plain < 0:
        raise TypeError("a count was expected")
    return plain


def _number(plain: Any) -> float:
    if type(plain) is int and abs(plain) < 1 << 63:
        return float(plain)
    if type(plain) is not float or not math.isfinite(plain):
        raise TypeError("a number was expected")
    return plain


def _number_or_none(plain: Any) -> float | None:
    return None if plain is None else _number(plain)


def _text(plain: Any) -> str:
    if not isinstance(plain, str) or len(plain) > MAX_TEXT_CHARS:
        raise TypeError("a text was expected")
    return plain
