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

- *Patience.* The more often a look has ended in staying, the rarer the looks; news make them usual
  again. So a settled network costs little.
- *Promises.* A move is made on a promise: how well the group's model will serve this node. A
  group whose model then serves worse than what was left for it has broken it, by bad luck or by
  showing strangers a better model than its members get. The node looks around at once, whatever
  the dwell time, and does not come back for a time that doubles with each broken promise.

Nothing that a group says of itself counts, but as a hint whom to look at first: gains are measured
here, sizes are numbers of signed contributions that were fetched.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np

from openfl.core.contribution import Evaluation, GroupId
from openfl.learning.comparison import Comparison


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """Parameters of the policy; rounds are the node's own. See the module's text.

    enabled: False never moves by itself; looks go on when asked for. A move is possible
    `dwell_rounds * (1 + moves / 2)` rounds after the last. max_candidates: groups probed in a look.
    patient_looks: after so many looks that end in staying, looks become half as probable, after as
    many more a quarter, down to the part rarest_look of look_probability; a move, a group not tried
    before, or a fit that gets worse by `broken_promise` makes them usual again.
    broken_promise: by which part the metric must be worse than in the group left for this one.
    distrust_rounds: before such a group is looked at again; twice as many each further time.
    """

    enabled: bool = True
    founding: bool = True
    warm_up_rounds: int = 2
    look_probability: float = 0.5
    patient_looks: int = 4
    rarest_look: float = 1 / 16
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
    broken_promise: float = 0.02
    distrust_rounds: int = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A group this node could join. members: as its card claims. standing: of whoever tells of it,
    as this node has seen itself (`openfl.switching.directory.Standing`)."""

    group_id: GroupId
    name: str
    members: int
    standing: int = 0


@dataclass(frozen=True, slots=True)
class Here:
    """Where the node is. members: contributors in its own replica, itself included."""

    group_id: GroupId
    name: str
    members: int


@dataclass(frozen=True, slots=True)
class LookOrder:
    """To probe these groups, and to compare with training alone when `alone`."""

    groups: tuple[Candidate, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found. members: whose contributions were fetched, this node not counted.
    round: of this node, when it looked. signed: False when no contributions were fetched, for what
    a member said of its group's model was enough to see that it is no better; members is what that
    one said, and nothing may be done because of such a finding but to stay."""

    candidate: Candidate
    members: int
    comparison: Comparison
    round: int = 0
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in one line for people. target: the group to move to."""

    action: Literal["stay", "move", "found"]
    why: str
    target: Candidate | None = None
    gain: float = 0.0


@dataclass(slots=True)
class _Promise:
    """What this node moved for. left: the metric in the group it left, when it left."""

    group_id: GroupId
    left: float


@dataclass(slots=True)
class _Distrust:
    until_round: int
    times: int


MAX_DISTRUSTED = 512
"""Groups remembered for broken promises; the one that is free again first makes room."""


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
        self._secret = rng.spawn(1)[0].bytes(16)  # spawned: what rng draws stays the same
        self._tried: dict[GroupId, int] = {}
        """The round of the latest try to look at each group, whether it was reached or not."""
        self._promise: _Promise | None = None
        self._distrusted: dict[GroupId, _Distrust] = {}
        self._stays = 0
        """Looks in a row that ended in staying."""
        self._best = math.inf
        """The best fit in this group so far."""
        self._fleeing = False

    @property
    def dwell_left(self) -> int:
        """Rounds until a move is possible."""
        if not self.moves:
            return 0
        needed = self.settings.dwell_rounds * (1 + self.moves / 2)
        return max(0, int(np.ceil(needed - self.rounds_here)))

    def round_done(
        self, here: Here, candidates: Sequence[Candidate], fit: Evaluation | None = None
    ) -> LookOrder | None:
        """Another round is over: whether to look around now, and at whom.

        fit: of the model this node has now, by its own held-out data; what a move promised is
        measured by it.
        """
        self.rounds += 1
        self.rounds_here += 1
        settings = self.settings
        # Always drawn, so that what one node sees does not change what chance brings it later.
        draw = self._rng.random()
        founds = self._rng.random() < settings.found_probability
        if not settings.enabled:
            return None
        was_fleeing, self._fleeing = self._fleeing, self._is_broken(here, fit)
        if self._fleeing and not was_fleeing:
            self._distrust(here.group_id)
            # It was talked into this move, so it does not count: a liar could keep nodes from
            # moving.
            self.moves = max(0, self.moves - 1)
        if self._fleeing:
            # At once, also at nobody: perhaps training alone is better than this.
            return LookOrder(self.choose(here, candidates), alone=settings.founding)
        looks = draw < self._look_probability(here, candidates, fit)
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
        return LookOrder(groups, alone) if groups or alone else None

    def _look_probability(
        self, here: Here, candidates: Sequence[Candidate], fit: Evaluation | None
    ) -> float:
        settings = self.settings
        if any(c.group_id not in self._tried for c in candidates if c.group_id != here.group_id):
            self._stays = 0
        if fit is not None and fit.count:
            self._best = min(self._best, fit.value)
            if fit.value > self._best + settings.broken_promise * abs(self._best):
                self._stays, self._best = 0, fit.value
        rarer = 0.5 ** (self._stays // settings.patient_looks)
        return settings.look_probability * max(settings.rarest_look, rarer)

    def choose(self, here: Here, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Whom to look at. Half of the places are for the best of those known, so that no flood of
        new groups can hide them; the others for those tried longest ago or never. Of these come
        first the ones of whose members this node has seen most itself; then chance decides, for
        what a card claims is free."""
        others = [
            c
            for c in candidates
            if c.group_id != here.group_id and not self.is_distrusted(c.group_id)
        ]
        known = [c for c in others if c.group_id in self.findings]
        known.sort(key=lambda c: (-self.findings[c.group_id].comparison.gain, c.group_id))
        best = known[: max(1, self.settings.max_candidates // 2)]

        def urgency(candidate: Candidate) -> tuple[int, int, bytes]:
            tried = self._tried.get(candidate.group_id, -1)
            return (tried, -candidate.standing, self._lot(candidate.group_id))

        rest = sorted((c for c in others if c not in best), key=urgency)
        return tuple((best + rest)[: self.settings.max_candidates])

    def _lot(self, group_id: GroupId) -> bytes:
        """In an order of this node's own, which nobody can make a group's id for."""
        return blake2b(group_id.encode(), key=self._secret, digest_size=8).digest()

    def decide(
        self,
        here: Here,
        found: Collection[Finding],
        alone: Comparison | None = None,
        unreached: Collection[GroupId] = (),
        why_unreached: str = "",
    ) -> Decision:
        """What to do after a look. `alone`: the model of training alone against the group's.
        unreached: groups that were to be looked at, but gave nothing to judge; why_unreached: why
        that was so, for people."""
        for finding in found:
            self.findings[finding.candidate.group_id] = replace(finding, round=self.rounds)
            self._tried[finding.candidate.group_id] = self.rounds
        for group_id in unreached:
            self.findings.pop(group_id, None)
            self._tried[group_id] = self.rounds
        trusted = [f for f in found if not self.is_distrusted(f.candidate.group_id)]
        self.latest = self._decide(here, trusted, alone, why_unreached)
        self._stays = self._stays + 1 if self.latest.action == "stay" else 0
        if self._fleeing and self.latest.action == "stay" and (trusted or alone is not None):
            self._fleeing, self._promise = False, None  # what it left for this is no better now
        return self.latest

    def is_distrusted(self, group_id: GroupId) -> bool:
        """Whether the group broke a promise to this node not long ago."""
        distrust = self._distrusted.get(group_id)
        return distrust is not None and self.rounds < distrust.until_round

    def _is_broken(self, here: Here, fit: Evaluation | None) -> bool:
        """Whether the group is worse than what was left for it; if so it is distrusted."""
        promise = self._promise
        if promise is None or fit is None or promise.group_id != here.group_id or not fit.count:
            return False
        return fit.value > promise.left + self.settings.broken_promise * abs(promise.left)

    def _distrust(self, group_id: GroupId) -> None:
        times = self._distrusted[group_id].times if group_id in self._distrusted else 0
        # Bounded: 2 ** 20 times any number of rounds is for ever.
        rounds = self.settings.distrust_rounds * 2 ** min(times, 20)
        self._distrusted[group_id] = _Distrust(self.rounds + rounds, times + 1)
        if len(self._distrusted) > MAX_DISTRUSTED:
            del self._distrusted[min(self._distrusted, key=self._free_again)]

    def _free_again(self, group_id: GroupId) -> tuple[int, str]:
        return self._distrusted[group_id].until_round, group_id

    def _decide(
        self, here: Here, found: list[Finding], alone: Comparison | None, why_unreached: str
    ) -> Decision:
        settings = self.settings
        best = max(found, key=lambda f: f.comparison.gain, default=None)
        if best is not None and best.comparison.gain > 0:
            why = (
                f"{best.candidate.name} is {_percent(best.comparison.gain)} better than {here.name}"
            )
            if self._fleeing:
                why += ", which does not hold what it promised"
            return Decision("move", why, best.candidate, best.comparison.gain)
        if self._fleeing:
            if alone is not None and alone.gain > 0:
                why = f"{here.name} does not hold what it promised; training alone is better"
                return Decision("found", why, None, alone.gain)
            why = f"{here.name} does not hold what it promised, but nothing better is known"
            return Decision("stay", why)
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
            why = f": {why_unreached}" if why_unreached else ""
            return Decision("stay", f"no other group was reached{why}")
        worse = f"{-100 * best.comparison.gain:.1f} % worse"
        return Decision("stay", f"{best.candidate.name}, the next best, is {worse}")

    def _is_worth_merging(self, here: Here, finding: Finding) -> bool:
        comparison, settings = finding.comparison, self.settings
        return (
            finding.members >= settings.consolidate_ratio * here.members
            and comparison.gain > settings.consolidate_gain
            and comparison.z > settings.consolidate_z
        )

    def moved(self) -> None:
        """The node is in another group now, by its own decision, which is `latest`."""
        target = self.latest.target
        finding = None if target is None else self.findings.get(target.group_id)
        fled = self._fleeing
        self._arrived()
        if not fled:
            self.moves += 1
        if finding is not None:
            left = finding.comparison.current.value
            self._promise = _Promise(finding.candidate.group_id, left)

    def placed(self) -> None:
        """The node is in another group now because its owner said so."""
        self._arrived()

    def _arrived(self) -> None:
        self.rounds_here = 0
        self._promise = None
        self._fleeing = False
        self._stays, self._best = 0, math.inf
        self.findings.clear()  # they compared with a group this node is no longer in

    def forget_all_but(self, known: Mapping[GroupId, object]) -> None:
        """Drop findings about groups that are no longer known."""
        for group_id in self.findings.keys() - known.keys():
            del self.findings[group_id]
        for group_id in self._tried.keys() - known.keys():
            del self._tried[group_id]

    def _dwelling(self, here: Here) -> str:
        rounds = f"{self.dwell_left} round" + ("s" if self.dwell_left != 1 else "")
        return f"came {self.rounds_here} rounds ago, dwell time ends in {rounds}"


def _percent(gain: float) -> str:
    return f"{100 * gain:+.1f} %"
