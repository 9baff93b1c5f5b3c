"""What is told of a run: one record for each round interval, and a summary at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from openfl.core.contribution import Evaluation
from openfl.core.telemetry import json_plain

ROOT_MEAN_SQUARE = "rmse"
"""The metric that is pooled by its squares; others are means over examples."""


@dataclass(frozen=True, slots=True)
class Fits:
    """The held-out metric over nodes. pooled: over all held-out examples of all nodes; mean, median
    and worst: over the nodes' own. NaN when nobody has held-out data."""

    pooled: float
    mean: float
    median: float
    worst: float

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> Fits:
        """Over nodes that have held-out examples; NaN everywhere when none has."""
        counted = [e for e in evaluations if e.count]
        if not counted:
            return cls(math.nan, math.nan, math.nan, math.nan)
        values = np.array([e.value for e in counted])
        counts = np.array([e.count for e in counted], dtype=np.float64)
        if counted[0].metric == ROOT_MEAN_SQUARE:
            pooled = math.sqrt(float((values**2 * counts).sum() / counts.sum()))
        else:
            pooled = float((values * counts).sum() / counts.sum())
        return cls(pooled, float(values.mean()), float(np.median(values)), float(values.max()))


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """The group `round` intervals after all first members had begun.

    time: virtual seconds since then. rounds_done: mean over members. validation, test: of honest
    members by the model each of them has now. against_central: pooled test metric over that of
    central training (on all honest nodes' data) on the same data, less 1. published_bytes:
    signed deltas, mean over nodes that ever were there; exact. network_bytes: an estimate, one
    copy a receiver. members: nodes that are there; groups: the same by group. merged: deltas of
    others merged so far, over all nodes. refused: what was refused or failed so far.

    With several groups also: purity, the part of the honest nodes that are in a group whose most
    common community is theirs; moves and foundings so far; directory_bytes: cards heard, and
    probe_bytes: requests and answers of looks, means over nodes so far.
    """

    round: int
    time: float
    rounds_done: float
    validation: Fits
    test: Fits
    against_central: float
    published_bytes: float
    network_bytes: int
    members: int
    groups: dict[str, int]
    merged: int
    refused: int
    purity: float = math.nan
    moves: int = 0
    directory_bytes: float = 0.0
    probe_bytes: float = 0.0
    metric: str = ROOT_MEAN_SQUARE

    @property
    def several(self) -> bool:
        """Whether this is a run of several groups."""
        return len(self.groups) > 1 or self.moves > 0

    def to_plain(self) -> dict[str, Any]:
        """JSON values: numbers that are not known are None."""
        found: dict[str, Any] = json_plain({"kind": "round", **asdict(self)})
        return found


@dataclass(frozen=True, slots=True)
class Grouping:
    """What came of several groups. mean: of the test metric over honest nodes, each by its
    own model.

    oracle, together, random: what it would be by models trained centrally: one for each community,
    one for all, one for each of as many random groups as there are communities. last_move: the
    round interval of it. sizes: members by group at the end.
    """

    mean: float
    oracle: float
    together: float
    random: float
    purity: float
    moves: int
    founded: int
    last_move: int | None
    sizes: dict[str, int]
    directory_bytes: float
    probe_bytes: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended.

    metric: what is measured on held-out data; lower is better. central: pooled, of central training
    (validation, test) over the data of all honest nodes, by the node tasks' own evaluation.
    first_within: first round with the pooled test metric within 1 % of central; None when there is
    none. published_until: mean bytes a node until then. trace: digest of everything that happened.
    wire: how messages were handled.
    """

    scenario: str
    seed: int
    nodes: int
    engine: str
    wire: str
    rounds: int
    central: dict[str, float]
    final: float
    against_central: float
    first_within: int | None
    published_until: float | None
    published_bytes: float
    deliveries: int
    faults: dict[str, int]
    trace: str
    grouping: Grouping | None = None
    metric: str = ROOT_MEAN_SQUARE

    def to_plain(self) -> dict[str, Any]:
        """The JSON object of `simulate --json` at the end of a run."""
        found: dict[str, Any] = json_plain({"kind": "summary", **asdict(self)})
        return found
