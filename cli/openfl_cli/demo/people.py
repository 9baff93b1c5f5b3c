"""`openfl-node demo --people`: one person a node, put into groups at random.

People's tastes are not sorted into communities, and one person has few ratings to tell groups apart
by. So what counts is that nodes that choose for themselves end no worse than all together.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

from openfl.config import load_config
from openfl.core.errors import DataError
from openfl_cli.demo.references import AS_GOOD, Reference, behind, named
from openfl_cli.demo.tastes import NO_TASTE, Listeners
from openfl_cli.demo.two_acts import HELD_OUT, ActsEnd, ActSettings, still_moving, too_soon

USUAL = ActSettings(
    nodes=12,
    groups=3,
    first_rounds=8,
    calm_rounds=12,
    most_rounds=60,
    seed=1,
    node_settings=HELD_OUT,
)
KEEN_FRACTION = 0.25
"""People are drawn from so many of those who rated most."""
FEWEST_RATINGS = 10
"""So that two can be held out twice."""


def write_people(file: Path, homes: Sequence[Path], seed: int) -> tuple[list[Listeners], str]:
    """Write the ratings of one person into each home; (who they are, the scale of the file).

    They are drawn by the seed from the quarter of the people who rated most. DataError when the
    file cannot be used, or has too few people with `FEWEST_RATINGS` ratings.
    """
    from openfl.simulation.in_one_place import ratings_in

    ratings, scale = ratings_in(load_config(None, {}, {}), file)
    counts = [0] * len(ratings.users)
    for user in ratings.user_index.tolist():
        counts[user] += 1
    order = sorted(range(len(counts)), key=lambda user: (-counts[user], ratings.users[user]))
    keen = order[: max(len(homes), int(len(order) * KEEN_FRACTION))]
    keen = [user for user in keen if counts[user] >= FEWEST_RATINGS]
    if len(keen) < len(homes):
        raise DataError(
            f"{file}: {len(homes)} people with {FEWEST_RATINGS} ratings or more are needed, one a"
            f" node, and there are {len(keen)}: take fewer --nodes or another file"
        )
    chosen = random.Random(seed).sample(keen, len(homes))
    rows: dict[int, list[tuple[str, str]]] = {user: [] for user in chosen}
    for user, song, value in zip(
        ratings.user_index.tolist(), ratings.song_index.tolist(), ratings.values, strict=True
    ):
        if user in rows:
            rows[user].append((ratings.songs[song], f"{value:.7g}"))
    shards = []
    for home, user in zip(homes, chosen, strict=True):
        name = ratings.users[user]
        with (home / "ratings.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("user_id", "song_id", "rating"))
            writer.writerows((name, *row) for row in rows[user])
        shards.append(Listeners((name,), counts[user], NO_TASTE))
    return shards, scale


def problems(end: ActsEnd, found: Sequence[Reference]) -> list[str]:
    """Why switching did not serve these people, a line each; empty when it did: they ended no worse
    than with one model for all, and nobody was moving any more."""
    if None in end.before:
        return [too_soon(end)]
    failures = []
    together = behind(end.after, named(found, "one_model"))
    if together is None:
        failures.append("a node did not answer at the end")
    elif together > AS_GOOD:
        failures.append(
            f"one model for all would serve them better: they ended {100 * together:.1f} % worse"
        )
    if not end.calm:
        failures.append(still_moving(end))
    return failures


def verdict(end: ActsEnd, found: Sequence[Reference]) -> str:
    """Of nodes without problems: whether switching served them, in one sentence. It did when they
    would not have been better off where they were, nor alone, either."""
    groups = len(set(end.groups))
    elsewhere = (behind(end.after, named(found, key)) for key in ("stayed", "alone"))
    served = all(part is not None and part <= AS_GOOD for part in elsewhere)
    said = "Switching served them" if served else "They ended no worse than together"

    def against(key: str) -> str:
        part = behind(end.after, named(found, key))
        assert part is not None
        if abs(part) < AS_GOOD / 10:
            return "as good as"
        return f"{100 * abs(part):.1f} % {'worse' if part > 0 else 'better'} than"

    return (
        f"{said}: {len(end.shards)} people ended in {groups} group{'s' if groups > 1 else ''},"
        f" {against('one_model')} one model for all,"
        f" {against('stayed')} where chance put them, {against('alone')} alone."
    )
