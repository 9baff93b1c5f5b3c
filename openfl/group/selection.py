"""`Selector`: which group a node should be in, judged on its own held-out data alone.

Pure state, like the session: no clock, no I/O, time counted in the node's own rounds. After each
round the driver asks `round_done` whether to look around. If so it probes the groups named (see
`probe`), compares their models with the current group's in pairs (`openfl.learning.comparison`)
and hands the findings to `decide`. What comes back is an order: stay, move, or found a group.

Theory of operation.

- *Greedy.* Whoever serves the held-out data better, by however little, is moved to. Margins and
  tests of significance freeze nodes in the wrong group: early differences are small, and each
  right move makes the next one clearer.
- *Dwell time* is the hysteresis instead: after a move the node stays for a time that grows with
  the number of its moves, so that moving dies out.
- *Consolidation.* A clearly larger group that is about as good is joined: groups that have become
  one merge. Always towards the larger, so there are no circles.
- *Founding.* A node that learns better alone than in a big group founds a new one, now and then, so
  that not all who think so do it at once. Others of like taste follow by the first rule.

Nothing that a group says of itself counts, but as a hint whom to look at first: gains are measured
here, sizes are numbers of signed contributions that were fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from openfl.contribution import GroupId
from openfl.learning.comparison import Comparison


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """Parameters of the policy; rounds are the node's own. See the module's text.

    enabled: False never moves by itself; looks go on when asked for. A move is possible
    `dwell_rounds * (1 + moves / 2)` rounds after the last. max_candidates: groups probed in a look.
    """

    enabled: bool = True
    founding: bool = True
    warm_up_rounds: int = 2
    look_probability: float = 0.5
    dwell_rounds: float = 2.0
    max_candidates: int = 8
    consolidate_after_rounds: int = 6
    consolidate_ratio: float = 1.5
    consolidate_gain: float = -0.005
    consolidate_z: float = -1.0
    found_after_rounds: int = 8
    found_min_members: int = 6
    found_probability: float = 0.1
    found_gain: float = 0.03
    found_z: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A group this node could join, as its card tells. members: as claimed."""

    group_id: GroupId
    name: str
    members: int


@dataclass(frozen=True, slots=True)
class Here:
    """Where the node is. members: contributors in its own replica, itself included."""

    group_id: GroupId
    name: str
    members: int


@dataclass(frozen=True, slots=True)
class Look:
    """An order to probe these groups, and to compare with training alone when `alone`."""

    groups: tuple[Candidate, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found. members: whose contributions were fetched, this node not counted.
    round: of this node, when it looked."""

    candidate: Candidate
    members: int
    comparison: Comparison
    round: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in one line for people. target: the group to move to."""

    action: Literal["stay", "move", "found"]
    why: str
    target: Candidate | None = None
    gain: float = 0.0


class Selector:
    """See the module's text. `moves`, `rounds_here` and `rounds` go on where a saved node was."""

    def __init__(
        self,
        settings: SelectionSettings,
        rng: np.random.Generator,
        *,
        moves: int = 0,
        rounds: int = 0,
        rounds_here: int = 0,
    ) -> None:
        self.settings = settings
        self.moves = moves
        self.rounds = rounds
        """Rounds done in any group."""
        self.rounds_here = rounds_here
        self.findings: dict[GroupId, Finding] = {}
        """The latest of each group that was looked at."""
        self.latest = Decision("stay", "no look at other groups yet")
        self._rng = rng

    @property
    def dwell_left(self) -> int:
        """Rounds until a move is possible."""
        if not self.moves:
            return 0
        needed = self.settings.dwell_rounds * (1 + self.moves / 2)
        return max(0, int(np.ceil(needed - self.rounds_here)))

    def round_done(self, here: Here, candidates: Sequence[Candidate]) -> Look | None:
        """Another round is over: whether to look around now, and at whom."""
        self.rounds += 1
        self.rounds_here += 1
        settings = self.settings
        # Always drawn, so that what one node sees does not change what chance brings it later.
        looks = self._rng.random() < settings.look_probability
        founds = self._rng.random() < settings.found_probability
        if not settings.enabled:
            return None
        if self.dwell_left:
            self.latest = replace(self.latest, action="stay", why=self._dwelling(here))
            return None
        alone = (
            founds
            and settings.founding
            and self.rounds >= settings.found_after_rounds
            and here.members >= settings.found_min_members
        )
        groups: tuple[Candidate, ...] = ()
        if looks and self.rounds >= settings.warm_up_rounds:
            groups = self.choose(here, candidates)
        return Look(groups, alone) if groups or alone else None

    def choose(self, here: Here, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Whom to look at: never tried or longest ago first, then the largest."""
        others = [c for c in candidates if c.group_id != here.group_id]

        def urgency(candidate: Candidate) -> tuple[int, int, str]:
            known = self.findings.get(candidate.group_id)
            return (-1 if known is None else known.round, -candidate.members, candidate.group_id)

        return tuple(sorted(others, key=urgency)[: self.settings.max_candidates])

    def decide(
        self, here: Here, found: Collection[Finding], alone: Comparison | None = None
    ) -> Decision:
        """What to do after a look. `alone`: the model of training alone against the group's."""
        for finding in found:
            self.findings[finding.candidate.group_id] = replace(finding, round=self.rounds)
        self.latest = self._decide(here, list(found), alone)
        return self.latest

    def _decide(self, here: Here, found: list[Finding], alone: Comparison | None) -> Decision:
        settings = self.settings
        best = max(found, key=lambda f: f.comparison.gain, default=None)
        if best is not None and best.comparison.gain > 0:
            why = f"{best.candidate.name} is {_percent(best.comparison.gain)} better here"
            return Decision("move", why, best.candidate, best.comparison.gain)
        if alone is not None and alone.gain >= settings.found_gain and alone.z > settings.found_z:
            why = f"training alone is {_percent(alone.gain)} better than {here.name}"
            return Decision("found", why, None, alone.gain)
        if self.rounds >= settings.consolidate_after_rounds:
            larger = [f for f in found if self._is_worth_merging(here, f)]
            target = max(larger, key=lambda f: (f.members, f.candidate.group_id), default=None)
            if target is not None:
                why = (
                    f"{target.candidate.name} is larger ({target.members} members, {here.name} has"
                    f" {here.members}) and about as good ({_percent(target.comparison.gain)})"
                )
                return Decision("move", why, target.candidate, target.comparison.gain)
        if best is None:
            return Decision("stay", "no other group was reached")
        gain = _percent(best.comparison.gain)
        return Decision("stay", f"{best.candidate.name}, the next best, is {gain} here")

    def _is_worth_merging(self, here: Here, finding: Finding) -> bool:
        comparison, settings = finding.comparison, self.settings
        return (
            finding.members >= settings.consolidate_ratio * here.members
            and comparison.gain > settings.consolidate_gain
            and comparison.z > settings.consolidate_z
        )

    def moved(self) -> None:
        """The node is in another group now, by its own decision."""
        self.moves += 1
        self.rounds_here = 0
        self.findings.clear()  # they compared with a group this node is no longer in

    def placed(self) -> None:
        """The node is in another group now because its owner said so."""
        self.rounds_here = 0
        self.findings.clear()

    def forget_all_but(self, known: Mapping[GroupId, object]) -> None:
        """Drop findings about groups that are no longer known."""
        for group_id in self.findings.keys() - known.keys():
            del self.findings[group_id]

    def _dwelling(self, here: Here) -> str:
        rounds = f"{self.dwell_left} round" + ("s" if self.dwell_left != 1 else "")
        return f"came {self.rounds_here} rounds ago, dwell time ends in {rounds}"


def _percent(gain: float) -> str:
    return f"{100 * gain:+.1f} %"
