"""What the nodes of a demo are measured against: models trained in one place on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl.config import load_config

AS_GOOD = 0.005
"""Nodes are served as well as by another model while their mean error is at most so much larger."""


@dataclass(frozen=True)
class Reference:
    """key: for JSON. text: for people. errors: of each node's test ratings, by node."""

    key: str
    text: str
    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the nodes."""
        return sum(self.errors) / len(self.errors)


def assignments(settings: Sequence[str]) -> dict[str, str]:
    """`("data.split_seed=1",)` as a layer of configuration."""
    pairs = (setting.partition("=") for setting in settings)
    return {key: value for key, _, value in pairs}


def references(
    homes: Sequence[Path],
    settings: Sequence[str],
    first_groups: Sequence[str],
    communities: Sequence[int] | None = None,
) -> list[Reference]:
    """Best known grouping first. settings: "section.key=value", as the nodes have them.
    communities: of each node; None when nobody knows of any."""
    from openfl.simulation.in_one_place import InOnePlace

    place = InOnePlace(
        load_config(None, {}, assignments(settings)), [home / "ratings.csv" for home in homes]
    )
    nodes = range(len(homes))
    found = []
    if communities is not None:
        served = place.served(communities)
        found.append(Reference("communities", "a model for each community", served))
    return [
        *found,
        Reference("one_model", "one model for all", place.served([0 for _ in nodes])),
        Reference("stayed", "a model for each group of the start", place.served(first_groups)),
        Reference("alone", "a model for each node", place.served(nodes)),
    ]


def named(found: Sequence[Reference], key: str) -> Reference:
    """KeyError when it is not among them."""
    for reference in found:
        if reference.key == key:
            return reference
    raise KeyError(key)


def mean(errors: Sequence[float | None]) -> float | None:
    """Over the nodes; None when one of them is unknown."""
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known and len(known) == len(errors) else None


def behind(errors: Sequence[float | None], reference: Reference) -> float | None:
    """By which part the nodes' mean error is larger than with the reference; negative: smaller.
    None when an error is unknown."""
    ended = mean(errors)
    return None if ended is None else ended / reference.mean - 1
