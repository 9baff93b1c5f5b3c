"""`Selector`: which group a node should be in, judged on its own data alone.

Pure state, like the session: no clock, no I/O, time counted in the node's own rounds. After each
round the driver asks `round_done` whether to look around. If so it probes the groups named (see
`probe`), compares their models with the current group's in pairs (`openfl.learning.comparison`)
and hands the findings to `decide`. What comes back is an order: stay, move, or found a group.

Theory of operation.

- *Expected gain.* What is measured of a group is noise and truth. Groups of like people hardly
  differ, so a large gain that is measured badly is mostly noise: it is drawn to what groups of such
  sizes usually differ by, the more the less sure it is (`openfl.switching.expected_gain`). A
  node moves to whatever it expects to gain by, however little: margins and tests of significance
  would freeze nodes in the wrong group. A larger group is expected to be better, so equal fragments
  of a group merge, and always towards the larger.
- *Dwell time* is the hysteresis: after a move the node stays for a time that grows with the
  number of its moves, so that moving dies out.
- *Founding by circle.* In a group of two tastes members of the other one do harm here, which the
  screening of members notices (`openfl.aggregation.member_judge`). When these are many, and the
  model of the others is clearly better on data that neither trained nor screened anybody, those
  others are a group of their own that is not founded yet. It is founded, or joined where one of
  just these members is found; by few at a time, or all would found one each.
- *Patience.* The more often a look has ended in staying, the rarer the looks; news make them usual
  again. So a settled network costs little.
- *Promises.* A move is made on a promise: how well the group's model will serve this node. A
  group whose model then serves clearly worse than that of the group left for it has broken it, by
  bad luck or by showing strangers a better model than its members get. The node looks around at
  once, whatever the dwell time, and does not come back for a time that doubles with each broken
  promise.

Nothing that a group says of itself counts, but as a hint whom to look at first: gains are measured
here, sizes are numbers of signed contributions that were fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal

import numpy as np

from openfl.core.contribution import GroupId
from openfl.learning.comparison import Comparison, Fit
from openfl.switching.distrusted import Distrusted
from openfl.switching.expected_gain import MIN_ERROR, GainPrior
from openfl.switching.told import gain_told, percent


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """Parameters of the policy; rounds are the node's own. See the module's text.

    enabled: False never moves by itself; looks go on when asked for. A move is possible
    `dwell_rounds * (1 + moves / 2)` rounds after the last. max_candidates: groups probed in a look.
    patient_looks: after so many looks that end in staying, looks become half as probable, after as
    many more a quarter, down to the part rarest_look of look_probability; a move, a group not tried
    before, or a fit that gets clearly worse makes them usual again.
    prior: what true gains between groups are usually like. smaller_margin: what a smaller group
    must be expected to be better by. found_*: chance a round of a look at the own circle, at most
    that of two members of the group; the part of the members that must do harm (which is what is
    asked for mainly: of like people hardly any seem to), how many others there must be, by which
    part and how surely these are better, on how many held-out examples at least. broken_promise,
    sure: by which part the metric must be worse than in the group left for this one, and by how
    many standard errors; any fit that gets worse by so much is news. distrust_rounds: before such a
    group is looked at again; twice as many each further time.
    """

    enabled: bool = True
    founding: bool = True
    warm_up_rounds: int = 2
    look_probability: float = 0.5
    patient_looks: int = 4
    rarest_look: float = 1 / 16
    dwell_rounds: float = 2.0
    max_candidates: int = 8
    prior: GainPrior = field(default_factory=GainPrior)
    smaller_margin: float = 0.005
    found_after_rounds: int = 8
    found_min_members: int = 6
    found_probability: float = 0.1
    found_harmful_part: float = 0.25
    found_circle: int = 2
    found_gain: float = 0.03
    found_z: float = 1.0
    found_examples: int = 5
    broken_promise: float = 0.02
    sure: float = 2.0
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
    """To probe these groups, and to compare the own group with training alone when `alone`, with
    the circle of those members that do good here when `circle`."""

    groups: tuple[Candidate, ...]
    alone: bool = False
    circle: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found. members: whose contributions were fetched, this node not counted. kin:
    they are members that did this node good where it is. round: of this node, when it looked.
    signed: False when what a member said of its group's model was enough to stay; then members is
    what that one said, and kin is not known."""

    candidate: Candidate
    members: int
    comparison: Comparison
    kin: bool = False
    round: int = 0
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in one line for people. target: the group to move to. gain: that is
    expected of it."""

    action: Literal["stay", "move", "found"]
    why: str
    target: Candidate | None = None
    gain: float = 0.0


ALONE_Z = 2.5
"""To found a group for that, where nobody's influence is known, in standard errors."""
MAX_TRIED = 4096
"""Groups remembered for having been looked at; the one looked at longest ago makes room."""


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
        self._promise: tuple[GroupId, Fit] | None = None
        """What this node moved to, and how the model of the group it left had fitted."""
        self._distrusted = Distrusted(settings.distrust_rounds)
        self._stays = 0
        """Looks in a row that ended in staying."""
        self._fit: Fit | None = None
        """After the last round."""
        self._best: Fit | None = None
        """The best in this group so far."""
        self._fleeing = False
        self._other_kinds = settings.prior.other_kinds(0, 0)

    @property
    def dwell_left(self) -> int:
        """Rounds until a move is possible."""
        if not self.moves:
            return 0
        needed = self.settings.dwell_rounds * (1 + self.moves / 2)
        return max(0, int(np.ceil(needed - self.rounds_here)))

    def round_done(
        self, here: Here, candidates: Sequence[Candidate], fit: Fit | None = None
    ) -> LookOrder | None:
        """Another round is over: whether to look around now, and at whom.

        fit: of the model this node has now, on its own held-out data; what a move promised is
        measured by it.
        """
        self.rounds += 1
        self.rounds_here += 1
        settings = self.settings
        # Always drawn, so that what one node sees does not change what chance brings it later.
        draw = self._rng.random()
        # About as many founders a round from any group, or all of a large one would be founders.
        chance = min(settings.found_probability, 2 / max(here.members, 1))
        founds = self._rng.random() < chance
        self._fit = fit
        if not settings.enabled:
            return None
        was_fleeing, self._fleeing = self._fleeing, self._is_broken(here, fit)
        if self._fleeing and not was_fleeing:
            self._distrusted.broke_promise(here.group_id, self.rounds)
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
        circle = (
            founds
            and settings.founding
            and self.rounds >= settings.found_after_rounds
            and here.members >= settings.found_min_members
        )
        groups: tuple[Candidate, ...] = ()
        if (looks and self.rounds >= settings.warm_up_rounds) or circle:
            groups = self.choose(here, candidates)
        return LookOrder(groups, circle=circle) if groups or circle else None

    def _look_probability(
        self, here: Here, candidates: Sequence[Candidate], fit: Fit | None
    ) -> float:
        settings = self.settings
        if any(c.group_id not in self._tried for c in candidates if c.group_id != here.group_id):
            self._stays = 0
        if fit is not None and fit.evaluation.count:
            if self._best is None or fit.evaluation.value < self._best.evaluation.value:
                self._best = fit
            elif self._is_clearly_worse(fit, self._best):
                self._stays, self._best = 0, fit
        rarer = 0.5 ** (self._stays // settings.patient_looks)
        return settings.look_probability * max(settings.rarest_look, rarer)

    def _is_clearly_worse(self, fit: Fit, before: Fit) -> bool:
        part, error = fit.worse_than(before)
        return part > max(self.settings.broken_promise, self.settings.sure * error)

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
        circle: Comparison | None = None,
        harmful: tuple[int, int] = (0, 0),
    ) -> Decision:
        """What to do after a look. alone: training alone against the group's model. unreached:
        groups that were to be looked at, but gave nothing to judge; why_unreached: why that was so,
        for people. circle: the model of those members that do good here against that of all.
        harmful: how many of how many members judged did harm."""
        self._other_kinds = self.settings.prior.other_kinds(*harmful)
        for finding in found:
            self.findings[finding.candidate.group_id] = replace(finding, round=self.rounds)
            self._note_tried(finding.candidate.group_id)
        for group_id in unreached:
            self.findings.pop(group_id, None)
            self._note_tried(group_id)
        trusted = [f for f in found if not self.is_distrusted(f.candidate.group_id)]
        self.latest = self._decide(here, trusted, alone, circle, why_unreached)
        self._stays = self._stays + 1 if self.latest.action == "stay" else 0
        if self._fleeing and self.latest.action == "stay" and (trusted or alone is not None):
            self._fleeing, self._promise = False, None  # what it left for this is no better now
        return self.latest

    def expected_gain(self, here: Here, finding: Finding) -> float:
        """The gain to be expected of a move there (`GainPrior.expected`). This node is counted
        where it is, as those do who look at its group from there: of two nodes that look at each
        other's group in the same state at most one moves."""
        found = finding.comparison
        return self.settings.prior.expected(
            found.gain, found.standard_error, finding.members, here.members, self._other_kinds
        )

    def is_distrusted(self, group_id: GroupId) -> bool:
        """Whether the group broke a promise to this node not long ago."""
        return self._distrusted.is_distrusted(group_id, self.rounds)

    def _note_tried(self, group_id: GroupId) -> None:
        self._tried.pop(group_id, None)
        self._tried[group_id] = self.rounds
        if len(self._tried) > MAX_TRIED:
            oldest = next(iter(self._tried))
            del self._tried[oldest]
            self.findings.pop(oldest, None)

    def _is_broken(self, here: Here, fit: Fit | None) -> bool:
        """Whether the group is worse than what was left for it; if so it is distrusted."""
        promise = self._promise
        if promise is None or fit is None or promise[0] != here.group_id:
            return False
        return bool(fit.evaluation.count) and self._is_clearly_worse(fit, promise[1])

    def _decide(
        self,
        here: Here,
        found: list[Finding],
        alone: Comparison | None,
        circle: Comparison | None,
        why_unreached: str,
    ) -> Decision:
        ranked = [self._ranked(here, finding) for finding in found]
        best = max(ranked, key=lambda r: (r.above, r.finding.members, r.group_id), default=None)
        if best is not None and best.is_better:
            why = best.told(here.name)
            if self._fleeing:
                why += ", which does not hold what it promised"
            return Decision("move", why, best.finding.candidate, best.expected)
        if self._fleeing:
            if alone is not None and alone.gain > 0:
                why = f"{here.name} does not hold what it promised; training alone is better"
                return Decision("found", why, None, alone.gain)
            why = f"{here.name} does not hold what it promised, but nothing better is known"
            return Decision("stay", why)
        if circle is not None and self._is_worth_founding(circle):
            return self._with_circle(here, found, circle)
        if alone is not None and alone.z > ALONE_Z and self._is_worth_founding(alone):
            why = f"training alone is {percent(alone.gain)} better than {here.name}"
            return Decision("found", why, None, alone.gain)
        if best is None:
            why = f": {why_unreached}" if why_unreached else ""
            return Decision("stay", f"no other group was reached{why}")
        return Decision("stay", best.told(here.name))

    def _ranked(self, here: Here, finding: Finding) -> _Ranked:
        expected = self.expected_gain(here, finding)
        there = (finding.members, finding.candidate.group_id)
        larger = there > (here.members, here.group_id)
        return _Ranked(finding, expected, 0.0 if larger else self.settings.smaller_margin, larger)

    def _is_worth_founding(self, circle: Comparison) -> bool:
        settings = self.settings
        return (
            circle.count >= settings.found_examples
            and circle.gain >= settings.found_gain
            and circle.z > settings.found_z
        )

    def _with_circle(self, here: Here, found: list[Finding], circle: Comparison) -> Decision:
        """Where those who do good here are already, or a new group for them."""
        better = f"without members that do harm here {here.name} is {percent(circle.gain)} better"
        kin = [f for f in found if f.kin]
        target = max(kin, key=lambda f: (f.members, f.candidate.group_id), default=None)
        if target is None:
            return Decision("found", better, None, circle.gain)
        why = f"{target.candidate.name} is of the others, and {better}"
        return Decision("move", why, target.candidate, circle.gain)

    def moved(self) -> None:
        """The node is in another group now, by its own decision, which is `latest`."""
        target, fled, left = self.latest.target, self._fleeing, self._fit
        if target is not None and target.group_id in self.findings:
            # As compared: whom to leave out has to be found out anew here.
            left = self.findings[target.group_id].comparison.left or left
        self._arrived()
        self.moves += not fled
        if target is not None and left is not None and left.evaluation.count:
            self._promise = (target.group_id, left)

    def placed(self) -> None:
        """The node is in another group now because its owner said so."""
        self._arrived()

    def _arrived(self) -> None:
        self.rounds_here = 0
        self._promise = None
        self._fleeing = False
        self._stays, self._best = 0, None
        self.findings.clear()  # they compared with a group this node is no longer in

    def _dwelling(self, here: Here) -> str:
        rounds = f"{self.dwell_left} round" + ("s" if self.dwell_left != 1 else "")
        return f"came {self.rounds_here} rounds ago, dwell time ends in {rounds}"


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A finding with the gain that is expected of it, and what must be expected at least."""

    finding: Finding
    expected: float
    needed: float
    larger: bool

    @property
    def above(self) -> float:
        """What is not signed moves nobody."""
        above = self.expected - self.needed
        return above if self.finding.signed else min(above, -MIN_ERROR)

    @property
    def is_better(self) -> bool:
        """Groups between which nothing tells become one."""
        return self.above > 0 or (self.above == 0 and self.larger)

    @property
    def group_id(self) -> GroupId:
        return self.finding.candidate.group_id

    def told(self, than: str) -> str:
        """For people."""
        found, name = self.finding.comparison, self.finding.candidate.name
        return gain_told(name, than, self.expected, found)
