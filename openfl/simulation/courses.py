"""Where each node of a run was, how well it did there, and why it moved: for pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from openfl.simulation.member import SimulatedMember

MOST_TAUGHT = 64
"""Nodes of a run of which it is noted who teaches whom."""


class NodeMove(NamedTuple):
    """A change of group. round: intervals that were over; left, entered: names of groups. action:
    `move` or `found`; why: in one line for people, as the node itself says."""

    round: int
    node: int
    left: str
    entered: str
    action: str
    why: str


@dataclass
class NodeCourse:
    """path: (round interval, name of the group or None when it was not there), wherever that has
    changed; round 0 is when the first members had begun. values: of its test metric at the end of
    each interval; None when it was not there, or was not judged. teachers: at the end of how many
    intervals what another node taught was in its model, by index of that node."""

    path: list[tuple[int, str | None]] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    teachers: Counter[int] = field(default_factory=Counter)


class Courses:
    """The courses of all nodes of a run, by index."""

    def __init__(self, count: int) -> None:
        self.nodes = [NodeCourse() for _ in range(count)]

    def note_places(self, number: int, members: Sequence[SimulatedMember]) -> None:
        """Where the members are when interval `number` is over."""
        for member in members:
            path = self.nodes[member.index].path
            group = member.charter.name if member.alive else None
            if not path or path[-1][1] != group:
                path.append((number, group))

    def note_values(self, values: Mapping[int, float]) -> None:
        """The test metric of those that were judged at the end of another interval, by index."""
        for index, course in enumerate(self.nodes):
            course.values.append(values.get(index))

    def note_teachers(self, members: Sequence[SimulatedMember]) -> None:
        """Whose words are in whose model at the end of another interval. Not in a run of more than
        `MOST_TAUGHT` nodes."""
        if len(self.nodes) > MOST_TAUGHT:
            return
        index_of = {member.peer_id: member.index for member in members}
        for member in members:
            session = member.session
            if session is None:
                continue
            heeded = index_of.keys() - {member.peer_id} - session.left_out.keys()
            self.nodes[member.index].teachers.update(
                index_of[other.peer_id]
                for other in session.replica.members()
                if other.rows and other.peer_id in heeded
            )
