"""`openfl-node demo --communities`: nodes put into groups at random sort themselves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from openfl_cli.demo.crew import name_of
from openfl_cli.demo.references import AS_GOOD, Reference, behind, named
from openfl_cli.demo.two_acts import HELD_OUT, ActsEnd, ActSettings, still_moving, too_soon

COMMUNITIES = 3
USUAL = ActSettings(
    nodes=9,
    groups=COMMUNITIES,
    first_rounds=8,
    calm_rounds=8,
    most_rounds=60,
    seed=1,
    node_settings=(*HELD_OUT, "data.rating_scale=0.5-5"),
)


def purity(communities: Sequence[int], groups: Sequence[str]) -> float:
    """The fraction of nodes that belong to the most frequent community of their group."""
    members: dict[str, Counter[int]] = {}
    for community, group in zip(communities, groups, strict=True):
        members.setdefault(group, Counter())[community] += 1
    return sum(max(counts.values()) for counts in members.values()) / len(groups)


def tastes(end: ActsEnd) -> list[int]:
    """The community of each node."""
    return [shard.community for shard in end.shards]


def may_end(
    communities: Sequence[int],
    found: Sequence[Reference],
    groups: Sequence[str],
    errors: Sequence[float | None],
) -> bool:
    """Whether each community has a group of its own, or all are in one that serves them as well:
    then the demo ends when nobody moves any more."""
    if len(set(groups)) == 1:
        own = behind(errors, named(found, "communities"))
        return own is not None and own <= AS_GOOD
    return len(set(groups)) == len(set(communities)) and purity(communities, groups) == 1


def problems(end: ActsEnd, found: Sequence[Reference]) -> list[str]:
    """Why the nodes did not sort themselves out, a line each; empty when they did: each community
    is in a group of its own, or all are in one that serves them as well as that would. found: with
    the reference "communities"."""
    if None in end.before:
        return [too_soon(end)]
    own = behind(end.after, named(found, "communities"))
    groups, communities = len(set(end.groups)), len(set(tastes(end)))
    failures = []
    if groups == 1:
        if own is None or own > AS_GOOD:
            worse = "" if own is None else f": {100 * own:.1f} % worse"
            failures.append(f"one group for all serves less well than one a community{worse}")
    elif (mixed := purity(tastes(end), end.groups)) < 1:
        failures.append(f"communities are mixed: purity {mixed:.2f}")
    elif groups != communities:
        failures.append(f"{communities} communities are in {groups} groups")
    if not end.calm:
        failures.append(still_moving(end))
    for number, (before, after) in enumerate(zip(end.before, end.after, strict=True)):
        # One that began among its own has nothing to gain.
        if before is None or after is None or after > before * (1 + AS_GOOD):
            failures.append(f"{name_of(number)} is served less well than before")
    return failures


def verdict(end: ActsEnd) -> str:
    """What was reached by nodes without problems, in one sentence."""
    when = f"{end.sorted_rounds} rounds ({end.sorted_seconds:.0f} s) after the nodes were let go"
    if len(set(end.groups)) == 1:
        return f"All are in one group, {when}, and it serves them as well as one a community would."
    pairs = zip(end.before, end.after, strict=True)
    better = sum(a is not None and b is not None and a < b for b, a in pairs)
    return (
        f"Every community has found its group, {when}; {better} of {len(end.after)} nodes are"
        " served better than before."
    )
