"""Several groups at the beginning of a run, and what came of them at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.core.contribution import Charter
from openfl.core.errors import DataError
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import Catalogue, Ratings
from openfl.learning.rating.task import MatrixFactorization
from openfl.simulation.communities import Tastes, assign, most_common, purity
from openfl.simulation.dealing import favourite_genres, only
from openfl.simulation.engine import Engine
from openfl.simulation.groups_world import GroupsWorld, group_name
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import Grouping
from openfl.simulation.scenario import Scenario

CENTRAL_ROUNDS = 60


def tastes_of_nodes(
    ratings: Ratings, catalogue: Catalogue, known: Tastes | None, hands: Sequence[Ratings]
) -> list[int]:
    """Each node's taste: that of most of its users, by community or else by favourite genre; the
    same for all when the data tells neither."""
    if known is None:
        try:
            known = favourite_genres(ratings, catalogue)
        except DataError:
            known = np.zeros(len(ratings.users), dtype=np.int64)
    taste = dict(zip(ratings.users, known.tolist(), strict=True))
    return [most_common(taste[user] for user in hand.users) for hand in hands]


def first_charters(
    scenario: Scenario, charter_named: Callable[[str], Charter], tastes: Sequence[int]
) -> list[Charter]:
    """The charter of each node's first group."""
    groups, rng = scenario.groups, np.random.default_rng([scenario.run.seed, 13])
    numbers = assign(groups.assignment, groups.count, tastes, rng)
    charters = {n: charter_named(group_name(scenario, n + 1)) for n in sorted(set(numbers))}
    return [charters[n] for n in numbers]


@dataclass(frozen=True, slots=True)
class References:
    """Mean test RMSE over honest nodes by models trained centrally; see `Grouping`."""

    oracle: float
    together: float
    random: float


def references(
    scenario: Scenario,
    ratings: Ratings,
    hands: Sequence[Ratings],
    members: Sequence[SimulatedMember],
    tastes: Sequence[int],
) -> References:
    """How well other groupings of the honest nodes would do."""
    honest = [member for member in members if member.honest]
    charter = members[0].charter
    own = [tastes[member.index] for member in honest]
    rng = np.random.default_rng([scenario.run.seed, 14])
    shuffled = assign("random", max(2, len(set(own))), own, rng)

    def mean_of(groups: Sequence[Hashable]) -> float:
        values = []
        for group in dict.fromkeys(groups):
            inside = [m for m, g in zip(honest, groups, strict=True) if g == group]
            names = {user for m in inside for user in hands[m.index].users}
            data = only(ratings, np.array([user in names for user in ratings.users]))
            task = MatrixFactorization.from_charter(charter, data)
            alone = train_alone(task, np.random.default_rng(0), max_rounds=CENTRAL_ROUNDS)
            values += [member.task.evaluate(alone.model, "test") for member in inside]
        return float(np.mean([value.value for value in values if value.count] or [np.nan]))

    return References(mean_of(own), mean_of([0] * len(own)), mean_of(shuffled))


def grouping_of(engine: Engine, driver: GroupsWorld, found: References) -> Grouping:
    """What came of the groups of a run that is over."""
    last = engine.records[-1]
    honest = [member for member in engine.state.present() if member.honest]
    sizes = Counter(member.charter.name for member in engine.state.present())
    return Grouping(
        mean=last.test.mean,
        oracle=found.oracle,
        together=found.together,
        random=found.random,
        purity=purity(
            [member.charter.group_id for member in honest],
            [driver.tastes[member.index] for member in honest],
        ),
        moves=len(engine.state.moves),
        founded=sum(chooser.founded for chooser in driver.choosers),
        last_move=max((number for number, *_ in engine.state.moves), default=None),
        sizes=dict(sorted(sizes.items())),
        directory_bytes=last.directory_bytes,
        probe_bytes=last.probe_bytes,
    )
