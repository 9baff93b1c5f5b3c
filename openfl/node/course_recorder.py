"""`CourseRecorder`: writes down how the node fares, and keeps it between runs."""

from __future__ import annotations

from collections.abc import Callable

import trio

from openfl.core.course import MAX_POINTS, MAX_TEXT_CHARS, Course, MoveMade, Point
from openfl.core.telemetry import NodeEvent
from openfl.network.base import Network
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.group_view import metric_value
from openfl.node.solo import SoloTraining
from openfl.node.state_saver import StateSaver
from openfl.storage.base import KeptCourse

LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 2.0, 30.0
"""Between two saves of points, the longer the more points there are: a node that dies loses so much
of its curve at most. A young one, that has little to write, keeps its first rounds as it keeps
their model; later the curve is for pictures that miss a few points. A move is written at once: its
reason is nowhere else."""


class CourseRecorder:
    """Hears of the node's rounds and moves in `log`. kept: None keeps nothing."""

    def __init__(
        self,
        network: Network,
        current_group: CurrentGroup,
        solo: SoloTraining,
        kept: KeptCourse | None,
        course: Course,
        saver: StateSaver,
        log: EventLog,
        unix_time: Callable[[], float],
    ) -> None:
        self._network = network
        self._current_group = current_group
        self._solo = solo
        self._kept = kept
        self._course = course
        self._saver = saver
        self._unix_time = unix_time
        last = course.last
        self._sent_before = 0 if last is None else last.bytes_sent
        self._received_before = 0 if last is None else last.bytes_received
        self._group = None if last is None else last.group
        if course.moves:  # the newest may have no round after it yet
            self._group = course.moves[-1].to
        self._begun = False
        self._changed = trio.Event()
        self._has_moved = trio.Event()
        log.observers.append(self._heard)

    @property
    def course(self) -> Course:
        """As far as it has come."""
        return self._course

    def _heard(self, event: NodeEvent) -> None:
        if event.kind == "round":
            self._add_point(event)
        elif event.kind == "switched":
            # An owner can order a group to be founded, too.
            own = event.data.get("by_itself", False)
            self._moved(str(event.data["action"]) if own else "switch", event.message)
        elif event.kind == "joined" and self._group is None:
            self._moved("joined", event.message)

    def _add_point(self, round_over: NodeEvent) -> None:
        session = self._current_group.current.session
        if not self._begun and self._group != session.charter.name:
            # Started with the name of another group than in the last run, or of an older version.
            self._moved("switch" if self._group else "joined", f"in group {session.charter.name}")
        self._begun = True
        if session.validation is not None:
            self._course.measured_by(session.validation.metric)
        alone, statistics = self._solo.result, self._network.statistics()
        self._course.add(
            Point(
                time=self._unix_time(),
                round=session.round,
                group=session.charter.name,
                validation=metric_value(session.validation),
                alone=None if alone is None else metric_value(alone.validation),
                members=int(round_over.data.get("members", 1)),
                bytes_sent=self._sent_before + statistics.bytes_sent,
                bytes_received=self._received_before + statistics.bytes_received,
            )
        )
        self._changed.set()

    def _moved(self, action: str, why: str) -> None:
        session = self._current_group.current.session
        left, self._group = self._group, session.charter.name
        move = MoveMade(
            self._unix_time(), session.round, left, self._group, action, why[:MAX_TEXT_CHARS]
        )
        self._course.moved(move)
        self._changed.set()
        self._has_moved.set()

    # --- on disk ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it on disk, until cancelled."""
        while self._kept is not None:
            await self._changed.wait()
            await self.save()
            part = len(self._course.points) / MAX_POINTS
            pause = max(LEAST_PAUSE_SECONDS, part * MOST_PAUSE_SECONDS)
            with trio.move_on_after(pause):
                await self._has_moved.wait()

    async def save(self) -> None:
        """Keep it now, if there is anything new."""
        if self._kept is not None and self._changed.is_set():
            self._changed, self._has_moved = trio.Event(), trio.Event()
            await self._saver.save_course(self._kept, self._course)
