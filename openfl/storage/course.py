"""`HomeCourse`: the course of a node's life, in `state/course.state`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from openfl.core.course import Course
from openfl.storage.home import Home
from openfl.storage.state_files import peek_state, read_state, set_aside, write_state

COURSE_KIND = "course"
COURSE_VERSION = 1


class HomeCourse:
    """A `KeptCourse` in a home folder. `tell(problem)`: told of a file of no use, moved aside."""

    def __init__(self, home: Home, tell: Callable[[str], None]) -> None:
        self._path = home.state_file("course")
        self._tell = tell

    async def load(self) -> Course:
        """See `KeptCourse`."""
        course, problem = await trio.to_thread.run_sync(_read, self._path)
        if problem is not None:
            self._tell(f"{problem}; the course begins anew")
        return course

    async def save(self, plain: dict[str, Any]) -> None:
        """See `KeptCourse`."""
        await trio.to_thread.run_sync(write_state, self._path, COURSE_KIND, COURSE_VERSION, plain)


def _read(path: Path) -> tuple[Course, str | None]:
    found = read_state(path, COURSE_KIND, COURSE_VERSION, time.time())
    if found.content is None:
        return Course(), found.problem
    try:
        return Course.from_state(found.content), None
    except ValueError as error:
        return Course(), set_aside(path, "corrupt", f"holds {error}", time.time()).problem


def peek_course(home: Home) -> Course:
    """The course kept in a home, which may be another process's; an empty one when the file is of
    no use."""
    try:
        plain = peek_state(home.state_file("course"), COURSE_KIND, COURSE_VERSION)
        return Course() if plain is None else Course.from_state(plain)
    except ValueError:
        return Course()
