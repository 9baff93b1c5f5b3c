"""`measure`: how well the nodes of a run do at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from openfl.core.contribution import Evaluation, ModelView
from openfl.simulation.courses import Courses
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import ROOT_MEAN_SQUARE, Fits, RoundRecord


def measure(
    number: int,
    time: float,
    members: Sequence[SimulatedMember],
    view: Callable[[SimulatedMember], ModelView],
    central: Mapping[int, Evaluation],
    of: Collection[int],
    courses: Courses | None = None,
) -> RoundRecord:
    """The record of the interval `number`, as far as members tell it; see `RoundRecord`. view: the
    model that a member has now; central: how central training does for each node, by index; of: the
    indices of the nodes that are judged. courses: is told where each node is and how it does."""
    present = [member for member in members if member.alive]
    judged = [m for m in present if m.honest and m.session is not None and m.index in of]
    views = [(m, view(m)) for m in judged]
    tested = [m.task.evaluate(model, "test") for m, model in views]
    test = Fits.of(tested)
    reference = Fits.of([central[m.index] for m in judged])
    ever = [m for m in members if m.was_there]
    if courses is not None:
        courses.note_places(number, members)
        by_node = {m.index: e.value for m, e in zip(judged, tested, strict=True) if e.count}
        courses.note_values(by_node)
        courses.note_teachers(members)
    return RoundRecord(
        round=number,
        time=time,
        rounds_done=float(np.mean([m.session.round for m in present if m.session] or [0])),
        validation=Fits.of([m.task.evaluate(model) for m, model in views]),
        test=test,
        against_central=test.pooled / reference.pooled - 1,
        published_bytes=float(np.mean([m.published_bytes for m in ever] or [0])),
        network_bytes=0,
        members=len(present),
        groups=dict(sorted(Counter(m.charter.name for m in present).items())),
        merged=0,
        refused=0,
        metric=tested[0].metric if tested else ROOT_MEAN_SQUARE,
    )
