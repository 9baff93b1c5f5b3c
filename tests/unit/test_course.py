"""The course of a node's life: thinned, kept, and read back strictly."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from openfl.app.offline import offline_course
from openfl.core.course import MAX_MOVES, MAX_POINTS, Course, MoveMade, Point
from openfl.storage.course import COURSE_KIND, COURSE_VERSION, HomeCourse, peek_course
from openfl.storage.home import Home
from openfl.storage.state_files import read_state, write_state


def point(number: int, **changes: Any) -> Point:
    usual: dict[str, Any] = {
        "time": 1000.0 + number,
        "round": number,
        "group": "music",
        "validation": 1.0,
        "alone": None,
        "members": 3,
        "bytes_sent": 10 * number,
        "bytes_received": number,
    }
    return Point(**{**usual, **changes})


def move(number: int) -> MoveMade:
    return MoveMade(1000.0 + number, number, "music", "jazz", "move", "jazz predicts better")


def walked(count: int) -> Course:
    course = Course()
    for number in range(count):
        course.add(point(number))
    return course


@pytest.mark.parametrize("count", [0, 1, 2, 399, 400, 401, 799, 800, 801, 10_000, 123_457])
def test_a_course_of_any_length_is_drawn_by_few_points_evenly(count: int) -> None:
    rounds = [p.round for p in walked(count).points]
    assert len(rounds) <= MAX_POINTS
    assert len(rounds) >= min(count, MAX_POINTS // 2)
    if count:
        assert (rounds[0], rounds[-1]) == (0, count - 1), "the first and the newest are there"
        steps = {b - a for a, b in itertools.pairwise(rounds[:-1])}
        assert len(steps) <= 1
        assert rounds == sorted(set(rounds))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 399, 400, 401, 1001, 5555])
def test_it_goes_on_after_a_restart_as_if_there_had_been_none(count: int) -> None:
    course = walked(count)
    again = Course.from_state(json.loads(json.dumps(course.to_state())))
    for number in range(count, count + 900):
        course.add(point(number))
        again.add(point(number))
    assert again.points == course.points
    assert again.to_state() == course.to_state()


def test_only_the_last_moves_are_kept() -> None:
    course = Course()
    for number in range(MAX_MOVES + 5):
        course.moved(move(number))
    assert [m.round for m in course.moves] == list(range(5, MAX_MOVES + 5))
    assert course.to_plain()["moves"][-1] == {
        "time": 1104.0,
        "round": 104,
        "from": "music",
        "to": "jazz",
        "action": "move",
        "why": "jazz predicts better",
    }


def test_what_is_no_number_is_null_in_json() -> None:
    course = Course()
    course.add(point(1, validation=math.nan, alone=math.inf))
    (plain,) = json.loads(json.dumps(course.to_plain(), allow_nan=False))["points"]
    assert plain["validation"] is plain["alone"] is None


def damaged(**changes: Any) -> Any:
    course = walked(5)
    course.moved(move(1))
    return {**copy.deepcopy(course.to_state()), **changes}


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        damaged(points=None),
        damaged(points=[{}] * 5),
        damaged(points=[{**damaged()["points"][0], "more": 1}] * 5),
        damaged(points=[{**damaged()["points"][0], "round": -1}] * 5),
        damaged(points=[{**damaged()["points"][0], "round": True}] * 5),
        damaged(points=[{**damaged()["points"][0], "time": math.nan}] * 5),
        damaged(points=[{**damaged()["points"][0], "time": 10**400}] * 5),
        damaged(metric=7),
        damaged(points=[{**damaged()["points"][0], "group": "x" * 501}] * 5),
        damaged(points=damaged()["points"] * 100),
        damaged(moves=damaged()["moves"] * (MAX_MOVES + 1)),
        damaged(moves=[{**damaged()["moves"][0], "from": 7}]),
        damaged(stride=0),
        damaged(stride=3),
        damaged(seen=50),
        damaged(kept=2),
        damaged(kept=6),
    ],
)
def test_what_is_no_course_is_not_taken_for_one(plain: Any) -> None:
    with pytest.raises(ValueError, match="not a course"):
        Course.from_state(plain)


# --- at home --------------------------------------------------------------------------------------


async def test_it_is_kept_in_the_home_and_read_without_a_node(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    problems: list[str] = []
    kept = HomeCourse(home, problems.append)
    assert (await kept.load()).points == ()
    assert offline_course(tmp_path) == {"points": [], "moves": []}
    course = walked(7)
    course.moved(move(3))
    await kept.save(course.to_state())
    assert (await kept.load()).to_state() == course.to_state()
    assert offline_course(tmp_path) == course.to_plain()
    assert problems == []


@pytest.mark.parametrize("how", ["torn", "no course", "empty"])
async def test_a_damaged_one_is_moved_aside_and_told(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    home.prepare()
    file = home.state_file("course")
    write_state(file, COURSE_KIND, COURSE_VERSION, {"points": 1} if how == "no course" else {})
    if how != "no course":
        file.write_bytes(file.read_bytes()[:-1] if how == "torn" else b"")
    assert peek_course(home).points == ()
    assert file.exists(), "whoever only looks moves nothing"
    problems: list[str] = []
    assert (await HomeCourse(home, problems.append).load()).points == ()
    (problem,) = problems
    assert "moved to course.state.corrupt-" in problem
    assert not file.exists()
    await HomeCourse(home, problems.append).save(walked(2).to_state())
    assert read_state(file, COURSE_KIND, COURSE_VERSION, 0.0).problem is None
