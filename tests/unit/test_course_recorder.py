"""What a node writes down of its course, and when: a move at once, points now and then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import trio
from trio.testing import MockClock

from openfl.core.contribution import Evaluation
from openfl.core.course import Course, MoveMade, Point
from openfl.node.course_recorder import (
    LEAST_PAUSE_SECONDS,
    MOST_PAUSE_SECONDS,
    CourseRecorder,
)
from openfl.node.event_log import EventLog


class Rig:
    """A recorder of a node that is in `group`; `saved`: what a node that dies now would leave."""

    def __init__(self, group: str, course: Course | None = None) -> None:
        self.saved: list[dict[str, Any]] = []
        self.log = EventLog(lambda: 5.0, lambda event: None)
        self.session = SimpleNamespace(
            charter=SimpleNamespace(name=group), round=1, validation=None
        )
        traffic = SimpleNamespace(bytes_sent=1, bytes_received=2)
        self.recorder = CourseRecorder(
            cast(Any, SimpleNamespace(statistics=lambda: traffic)),
            cast(Any, SimpleNamespace(current=SimpleNamespace(session=self.session))),
            cast(Any, SimpleNamespace(result=None)),
            cast(Any, object()),
            Course() if course is None else course,
            cast(Any, SimpleNamespace(save_course=self.save)),
            self.log,
            lambda: 5.0,
        )

    async def save(self, kept: Any, course: Course) -> None:
        self.saved.append(course.to_state())

    def round(self) -> None:
        self.log.tell("info", "round", "a round", {"members": 2})

    def move(self, to: str, why: str, action: str = "move", by_itself: bool = True) -> None:
        self.session.charter.name = to
        self.log.tell("info", "switched", why, {"action": action, "by_itself": by_itself})


async def test_a_move_is_written_at_once_and_points_now_and_then(
    autojump_clock: MockClock,
) -> None:
    rig = Rig("red")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.log.tell("info", "joined", "joined red")
        await trio.sleep(1)
        assert [move["to"] for move in rig.saved[-1]["moves"]] == ["red"]
        for _ in range(3):
            rig.round()
            await trio.sleep(0.1)
        assert len(rig.saved) == 1, "points can wait"
        rig.move("blue", "blue predicts better")
        await trio.sleep(1)
        last = rig.saved[-1]
        assert [(move["to"], move["why"]) for move in last["moves"]][1:] == [
            ("blue", "blue predicts better")
        ]
        assert len(last["points"]) == 3
        rig.round()
        await trio.sleep(LEAST_PAUSE_SECONDS)
        assert len(rig.saved[-1]["points"]) == 4, "a young node loses next to nothing"
        for _ in range(1000):
            rig.round()
            await trio.sleep(0.1)
        assert len(rig.saved) < 3 + 1000 * 0.1 / LEAST_PAUSE_SECONDS / 2, "an old one writes less"
        await trio.sleep(MOST_PAUSE_SECONDS)
        assert len(rig.saved[-1]["points"]) == len(rig.recorder.course.points)
        nursery.cancel_scope.cancel()


def test_a_move_to_another_group_of_the_same_name_is_one() -> None:
    rig = Rig("music")
    rig.log.tell("info", "joined", "joined music")
    rig.round()
    rig.move("music", "the other music predicts better")
    rig.round()
    moves = [(move.left, move.to, move.action) for move in rig.recorder.course.moves]
    assert moves == [(None, "music", "joined"), ("music", "music", "move")]


def test_what_the_owner_ordered_is_not_called_the_nodes_own_decision() -> None:
    rig = Rig("red")
    rig.round()
    rig.move("blue", "blue predicts better")
    rig.move("green", "founded green, left blue: nothing else fits", "found")
    rig.move("mine", "founded mine, left green: the owner asked for it", "found", by_itself=False)
    rig.move("red", "moved from mine to red: asked for", "switch", by_itself=False)
    actions = [move.action for move in rig.recorder.course.moves]
    assert actions == ["joined", "move", "found", "switch", "switch"]


def test_another_metric_begins_the_curve_anew_and_keeps_the_moves_and_the_bytes() -> None:
    rig = Rig("red")
    rig.session.validation = Evaluation("rmse", 0.9, 0.1, 7)
    for _ in range(3):
        rig.round()
    course = Course.from_state(rig.recorder.course.to_state())
    again = Rig("blue", course)
    again.session.validation = Evaluation("log_loss", 0.3, 0.1, 7)
    again.round()
    again.round()
    assert [point.validation for point in course.points] == [0.3, 0.3]
    assert [point.bytes_sent for point in course.points] == [2, 2]
    assert [move.to for move in course.moves] == ["red", "blue"]


def test_a_move_with_no_round_after_it_is_not_made_again_by_the_next_run() -> None:
    course = Course()
    course.add(Point(1.0, 1, "red", None, None, 1, 0, 0))
    course.moved(MoveMade(2.0, 1, "red", "blue", "move", "blue predicts better"))
    rig = Rig("blue", course)
    rig.round()
    assert [move.action for move in course.moves] == ["move"]
    assert course.points[-1].group == "blue"
