"""Who is left out of the model, and why: the default rule's judgement of members, as pure state.

Three questions are asked of each member, cheapest first. Each has its own memory, and a member is
left out while any of them says so.

*Size.* s = sqrt(sum h |x - y|^2 / (sum n * d)), over the member's rows x with precision h and
evidence n, against the model y of width d. For honest members s is a matter of how well the model
fits their data, whatever their size; a member with s above `norm_factor` times the members' median
is *gross*.

*Weight.* Claimed evidence is a member's power, and a claim costs nothing. A member that claims more
than `heavy_factor` times the median must first prove itself: it stays outside until its influence
is seen to be good, here and by others, as far as these tell what is so here. Once it is inside, the
model is what it says, and against that others look good or bad by chance.

*Influence.* Merging is linear, so the model without one member is cheap. The judge compares the
errors on its own training examples under both, its own register withdrawn from both
(`openfl.aggregation.withdrawal`): d = loss without the member - loss with it. With S1 <- decay S1 +
sum d and S2 <- decay S2 + sum d^2, z = S1 / sqrt(S2), within +-`MAX_Z` (S2 counts for more where d
is spread over few examples). The same examples speak in every round, so by chance alone z is as
large as the square root of the rounds that it remembers; a member is *harmful* when z falls below
`exclude_below` times that. Outside it is judged as if it came in, and returns when z is above half
of what it left with.

*Together.* Where a whole circle of members learns something else, each of them alone pulls the
model but little out of its place, and without any one of them the others hold it there. So those
that look harmful are also judged together (`openfl.group.case`), and stay out as long as the model
is worse with all of them.

*Opinions.* One member's data says little when it has few examples. So members tell each other their
z, and when a judge knows enough opinions (`MIN_JUDGES`, its own included, those of members that are
left out not counted) it also goes by their median, in which lying judges are a minority and cannot
move much. It does so as far as opinions tell members apart at all, and as far as they have told
this judge's own (`openfl.aggregation.hearsay`): where all learn the same, a member is harmful below
`pool_exclude_below`; who differs from the others is left to its own data. Whoever does the judge's
own data good (z above `sure`) stays, whatever others say.

*History.* Identities cost nothing, so whoever makes many of them would be the majority that medians
take for honest. A member has a *history* with this judge when it was judged in a round, does the
judge's own data good (z > 0) and is not left out. Of the opinions of members without one, at most
half as many count as there are of members with one, the judge's own included; and once there are
`MIN_MEMBERS` of the latter, this one included, sizes and weights are compared with their medians
alone. That is no proof of honesty (who copies good work does good), and before there is any history
nothing can tell the two apart.

Everybody judges for itself, and the registers of a member that is left out stay and are passed on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from openfl.aggregation.hearsay import Hearsay, Opinions
from openfl.aggregation.member_stack import MemberStack
from openfl.core.contribution import ModelView, PeerId

GROSS = "steps too large"
HEAVY = "claims much evidence, unproven"
HARMFUL = "harms predictions here"

MIN_MEMBERS = 4
"""Below this many members a median says nothing: sizes and weights are not judged."""
MIN_JUDGES = 4
MAX_JUDGES = 64
"""Whose opinions are kept: a median over more is not better."""
RETURN_FACTOR = 0.8
"""A gross member is let in again only well below the bound, so that it does not flicker."""
MAX_Z = 5.0
MAX_REPETITION = 1.5
"""Of `repetition`, so much is asked of the own data at most: a little less than is safe, or small
groups of small members would notice little."""
FEW_EXAMPLES = 20.0
"""Influence that is spread over so few examples has its z divided by sqrt(2)."""
PROVEN_Z = 1.0
"""With which a member proves itself as long as hardly anybody's opinion is known."""
PROVEN_GROWTH = 2.0
"""A member that proved itself must do so again when it claims so many times the evidence."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """See the module's text."""

    norm_factor: float = 3.0
    heavy_factor: float = 10.0
    decay: float = 0.7
    exclude_below: float = -2.0
    readmit_at: float = 0.0
    pool_exclude_below: float = -0.75
    pool_readmit_at: float = 0.0
    sure: float = 2.0


@dataclass(frozen=True, slots=True)
class Size:
    """step: s of the module's text, infinite or NaN never. evidence: summed over rows."""

    step: float
    evidence: float
    rows: int


@dataclass(frozen=True, slots=True)
class Influence:
    """Over the judge's examples in one round: the sums of d, of d^2 and of |d|. together: whether
    it is one of those that clearly do harm together."""

    total: float
    squares: float
    sizes: float = math.inf
    together: bool = False

    @property
    def z(self) -> float:
        """How sure it is that the influence is good, cautiously."""
        squares = self.cautious_squares
        return self.total / math.sqrt(squares) if squares > 0 else 0.0

    @property
    def examples(self) -> float:
        """Over how many examples the influence is spread: (sum |d|)^2 / sum d^2. All of equal size
        count in full; a few large ones count as few."""
        return self.sizes**2 / self.squares if self.squares > 0 else math.inf

    @property
    def cautious_squares(self) -> float:
        """The sum of d^2, more where few examples speak: one rating alone would be sure of
        anything."""
        return self.squares * (1 + FEW_EXAMPLES / self.examples)


def measure(stacks: Mapping[str, MemberStack], model: ModelView) -> list[Size]:
    """How far each of the members (the same ones in every table's stack) is from the model."""
    members = max((stack.members for stack in stacks.values()), default=0)
    distance, weight, evidence = np.zeros(members), np.zeros(members), np.zeros(members)
    count = np.zeros(members, dtype=np.intp)
    for table, stack in stacks.items():
        if not len(stack.keys):
            continue
        owners = stack.owners()
        away = stack.values - model.rows(table, stack.keys)
        away *= away
        far = np.einsum("rc,rc->r", away, stack.precision)
        claimed = np.bincount(owners, weights=stack.evidence, minlength=members)
        distance += np.bincount(owners, weights=far, minlength=members)
        evidence += claimed
        weight += claimed * stack.values.shape[1]
        count += stack.counts
    steps = np.sqrt(np.divide(distance, weight, out=np.zeros(members), where=weight > 0))
    found = zip(steps.tolist(), evidence.tolist(), count.tolist(), strict=True)
    return [Size(*numbers) for numbers in found]


def bound(norm_factor: float, median: float, rows: int) -> float:
    """The step size beyond which a member of so many rows is gross. A handful of rows may differ
    more from the median by chance."""
    return norm_factor * median * (1 + 2 / math.sqrt(max(rows, 1)))


@dataclass(slots=True)
class _Standing:
    gross: bool = False
    heavy: bool = False
    harmful: bool = False
    together: bool = False
    """Whether it is one of several that do harm together."""
    proven: float = 0.0
    """The evidence with which it last was seen to do good."""
    size: Size | None = None
    total: float = 0.0
    squares: float = 0.0
    judged: bool = False
    rounds: float = 0.0
    """Rounds judged, the past decayed."""

    def add(self, influence: Influence, decay: float) -> None:
        """One more round. The past weighs no more than it would had it been of today's size, and no
        reputation is beyond `MAX_Z`: or a member that once did great harm, such as an honest one
        that was misled in its first round, would be out for ages, and one with great merits could
        do harm for as long."""
        self.total *= decay
        self.squares *= decay
        self.rounds = decay * self.rounds + 1
        squares = influence.cautious_squares
        most = squares / (1 - decay)
        if 0 < most < self.squares:
            self.total *= math.sqrt(most / self.squares)
            self.squares = most
        self.total += influence.total
        self.squares += squares
        edge = MAX_Z * math.sqrt(self.squares)
        self.total = max(-edge, min(edge, self.total))

    @property
    def repetition(self) -> float:
        """The standard deviation of z by chance alone: 1 at first, and more when the same examples
        were asked again."""
        return math.sqrt(self.rounds)

    @property
    def z(self) -> float:
        return self.total / math.sqrt(self.squares) if self.squares > 0 else 0.0

    @property
    def reason(self) -> str:
        if self.gross:
            return GROSS
        if self.heavy:
            return HEAVY
        return HARMFUL if self.harmful or self.together else ""


class MemberJudge:
    """One judge's view of the other members. The judge itself is never asked about."""

    def __init__(self, settings: JudgeSettings | None = None) -> None:
        """Nobody is known yet; `settings`: those of the text above when None."""
        self.settings = settings if settings is not None else JudgeSettings()
        self._members: dict[PeerId, _Standing] = {}
        self._opinions: dict[PeerId, dict[PeerId, float]] = {}
        self._median_step = 0.0
        self._median_evidence = 0.0

    @property
    def left_out(self) -> dict[PeerId, str]:
        """Who is left out -> why."""
        return {peer: s.reason for peer, s in sorted(self._members.items()) if s.reason}

    @property
    def out_together(self) -> frozenset[PeerId]:
        """Who is left out because several do harm together."""
        return frozenset(peer for peer, s in self._members.items() if s.together)

    def reason(self, peer: PeerId) -> str:
        """Why this member is left out; "" when it is not."""
        standing = self._members.get(peer)
        return "" if standing is None else standing.reason

    def z(self, peer: PeerId) -> float:
        """The member's standing by influence: positive does good."""
        standing = self._members.get(peer)
        return 0.0 if standing is None else standing.z

    def has_history(self, peer: PeerId) -> bool:
        """See the module's text."""
        standing = self._members.get(peer)
        return standing is not None and standing.judged and standing.z > 0 and not standing.reason

    def _comparable(self, members: Iterable[PeerId]) -> list[PeerId]:
        """Whose medians count: those of members with a history, once they are enough."""
        everybody = list(members)
        known = [peer for peer in everybody if self.has_history(peer)]
        return known if len(known) + 1 >= MIN_MEMBERS else everybody

    def keep_only(self, members: set[PeerId]) -> None:
        """Forget everybody else."""
        for peer in self._members.keys() - members:
            del self._members[peer]
        for judge in self._opinions.keys() - members:
            del self._opinions[judge]

    # --- what others say --------------------------------------------------------------------------

    def opinion(self, peer: PeerId) -> float | None:
        """The z to tell others; None when the member was not judged yet."""
        standing = self._members.get(peer)
        return standing.z if standing is not None and standing.judged else None

    def told(self, judge: PeerId, opinions: Mapping[PeerId, float]) -> None:
        """What another member says of members, in addition to what it said before. Whoever has not
        contributed yet is no judge."""
        if judge not in self._members:
            return
        known = self._opinions.pop(judge, {})
        known.update((peer, z) for peer, z in opinions.items() if peer in self._members)
        self._opinions[judge] = known  # the last to speak is the last to make room
        while len(self._opinions) > MAX_JUDGES:
            # Strangers first: any number of them can speak as often as they like.
            strangers = (judge for judge in self._opinions if not self.has_history(judge))
            del self._opinions[next(strangers, next(iter(self._opinions)))]

    # --- size and weight --------------------------------------------------------------------------

    def weigh(self, claims: Mapping[PeerId, float], own: float) -> None:
        """Judge weights by claimed evidence; `own` is the judge's."""
        if len(claims) + 1 < MIN_MEMBERS:
            self._median_evidence = 0.0
            for standing in self._members.values():
                standing.heavy = False
            return
        comparable = [claims[peer] for peer in self._comparable(claims)]
        self._median_evidence = statistics.median([*comparable, own])
        for peer, claim in claims.items():
            self._judge_weight(self._of(peer), claim)

    def compare(self, sizes: Mapping[PeerId, Size]) -> None:
        """Judge the sizes of all members' steps against their median.

        Never against the judge's own: whoever learns alone has no steps left to make, so comparing
        with those would leave out everybody with other data, and keep them out for good.
        """
        for peer, size in sizes.items():
            self._of(peer).size = size
        measured = {p: s.size.step for p, s in self._members.items() if s.size is not None}
        if len(measured) + 1 < MIN_MEMBERS:
            self._median_step = 0.0
            for standing in self._members.values():
                standing.gross = False
            return
        steps = [measured[peer] for peer in self._comparable(measured)]
        self._median_step = statistics.median(steps)
        for peer in sizes:
            self._judge_size(self._of(peer))

    def heard(self, peer: PeerId, size: Size) -> None:
        """A member has spoken: judge it alone, against the medians of the last round."""
        standing = self._of(peer)
        standing.size = size
        if self._median_step > 0:
            self._judge_size(standing)
        if self._median_evidence > 0:
            self._judge_weight(standing, size.evidence)

    def _judge_size(self, standing: _Standing) -> None:
        assert standing.size is not None
        limit = bound(self.settings.norm_factor, self._median_step, standing.size.rows)
        if standing.gross:
            standing.gross = standing.size.step > RETURN_FACTOR * limit
        else:
            standing.gross = standing.size.step > limit

    def _judge_weight(self, standing: _Standing, claim: float) -> None:
        usual = self.settings.heavy_factor * self._median_evidence
        standing.heavy = claim > max(usual, PROVEN_GROWTH * standing.proven)

    # --- influence --------------------------------------------------------------------------------

    def asks_influence(self, peer: PeerId) -> bool:
        """Whether it is worth asking how this member would do: gross ones are out anyway."""
        standing = self._members.get(peer)
        return standing is None or not standing.gross

    def is_stranger(self, peer: PeerId) -> bool:
        """Whether this member's influence was never judged and would be asked for."""
        standing = self._members.get(peer)
        return standing is None or not (standing.judged or standing.gross)

    def judge_influence(self, found: Mapping[PeerId, Influence]) -> None:
        """What members' influence was in one round."""
        judged: dict[PeerId, _Standing] = {}
        for peer, influence in found.items():
            if not (math.isfinite(influence.total) and math.isfinite(influence.squares)):
                continue
            standing = judged[peer] = self._of(peer)
            standing.add(influence, self.settings.decay)
            standing.judged = True
            standing.together = influence.together
        opinions = {peer: self._opinions_of(peer, standing) for peer, standing in judged.items()}
        told = {peer: of for peer, of in opinions.items() if len(of.all) >= MIN_JUDGES}
        hearsay = Hearsay.of(list(told.values()))
        for peer, standing in judged.items():
            standing.harmful = self._is_harmful(standing, told.get(peer), hearsay)
            good = self._does_good(standing, told.get(peer), hearsay)
            if standing.heavy and good and standing.size is not None:
                standing.proven = standing.size.evidence
                standing.heavy = False

    def _does_good(self, standing: _Standing, opinions: Opinions | None, hearsay: Hearsay) -> bool:
        if opinions is None:
            return standing.z > PROVEN_Z
        believed = _pooled(standing.z, hearsay.believed(opinions), hearsay)
        return standing.z > 0 and believed >= 0

    def _is_harmful(self, standing: _Standing, opinions: Opinions | None, hearsay: Hearsay) -> bool:
        settings, z = self.settings, standing.z
        leaves_at = settings.exclude_below * min(MAX_REPETITION, standing.repetition)
        returns_at = settings.readmit_at
        if opinions is not None:
            if z > settings.sure:
                return False
            z = _pooled(z, hearsay.believed(opinions), hearsay)
            leaves_at = _pooled(leaves_at, settings.pool_exclude_below, hearsay)
            returns_at = _pooled(returns_at, settings.pool_readmit_at, hearsay)
        return z < (returns_at if standing.harmful else leaves_at)

    def _opinions_of(self, peer: PeerId, standing: _Standing) -> Opinions:
        known = [standing.z]
        of_strangers: list[float] = []
        for judge, about in self._opinions.items():
            if judge != peer and peer in about and not self.reason(judge):
                (known if self.has_history(judge) else of_strangers).append(about[peer])
        if len(known) > 1:
            known += of_strangers[-(len(known) // 2) :]
        return Opinions(standing.z, standing.repetition, known)

    def _of(self, peer: PeerId) -> _Standing:
        standing = self._members.get(peer)
        if standing is None:
            standing = self._members[peer] = _Standing()
        return standing


def _pooled(own: float, others: float, hearsay: Hearsay) -> float:
    """What holds for the judge alone and what holds among all, as far as these agree."""
    return own + hearsay.agreement * (others - own)
