"""`Switcher`: looks of the owner and its own, one after the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import trio
from trio.testing import wait_all_tasks_blocked

from openfl.node.switcher import Switcher
from openfl.storage.base import Standing
from openfl.switching.policy import Candidate, LookOrder, SelectionSettings


class Looks:
    """Looks that take until `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.from_where: list[Any] = []

    async def look(self, here: Any, order: LookOrder) -> Any:
        self.from_where.append(here)
        await self.go_on.wait()
        return SimpleNamespace(findings=(), gave_nothing={})


async def test_a_look_that_waited_for_another_is_not_taken_from_a_group_that_was_left() -> None:
    place: list[Any] = [SimpleNamespace(session=SimpleNamespace(charter=None))]
    looks = Looks()
    host: Any = SimpleNamespace(place=lambda: place[0])
    switcher = Switcher(
        host,
        looks,  # type: ignore[arg-type]
        SelectionSettings(),
        np.random.default_rng(0),
        lambda: 0.0,
        lambda *_: None,
        Standing(),
    )
    chooser: Any = switcher._chooser
    chooser.standpoint = lambda session, order: session
    order = LookOrder((Candidate("b", "jazz", 1),))
    async with trio.open_nursery() as nursery:
        async with switcher._one_look:
            nursery.start_soon(switcher._look_around, order)
            await wait_all_tasks_blocked()
            place[0] = SimpleNamespace(session=SimpleNamespace(charter=None))
        looks.go_on.set()
    assert looks.from_where == []
