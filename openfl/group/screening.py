"""`Screening`: the model that a session works with: by its rule, without the members left out.

It joins a replica to the judgement in `openfl.aggregation.member_judge`. Sizes and weights
are judged here, on the session's side, whenever a member speaks and before each round, so that no
model with a gross member in it is handed out. Influence needs the task's private data: a `Case`
goes out with `Train`, is judged where the training runs, and what was found comes back with
`TrainingFinished`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.aggregation.member_judge import Influence, JudgeSettings, MemberJudge, measure
from openfl.aggregation.member_stack import MemberStack
from openfl.aggregation.replica import Replica
from openfl.aggregation.rules import find_rule
from openfl.core.contribution import ModelView, PeerId
from openfl.core.model_view import DenseModel
from openfl.group import events as ev
from openfl.group.case import Case

MAX_JUDGED = 128
"""Most members judged in one round; in larger groups they take turns."""
MAX_PASSES = 3
"""A gross member distorts the model that the others are measured against: so measure again."""
QUIET_LOOKS = 10
"""A member's coming and going is told at most once in so many rounds (or looks beside rounds)."""


@dataclass(frozen=True, slots=True)
class AggregationSettings:
    """rule: a name in `openfl.aggregation.rules`; ConfigError when there is none such. norm_factor,
    influence: of the default rule. hostile_fraction: the part of the members that trimmed-mean and
    Krum are to withstand."""

    rule: str = "screened-mean"
    norm_factor: float = 3.0
    influence: bool = True
    hostile_fraction: float = 0.2

    def __post_init__(self) -> None:
        find_rule(self.rule)


class Screening:
    """`me`: the judge. `count(name)` counts whenever somebody is newly left out."""

    def __init__(
        self,
        replica: Replica,
        settings: AggregationSettings,
        me: PeerId,
        count: Callable[[str], None],
    ) -> None:
        self._replica = replica
        self._settings = settings
        self._me = me
        self._count = count
        self._rule = find_rule(settings.rule)
        self._judges_members = self._rule.screens
        self._judge = MemberJudge(JudgeSettings(norm_factor=settings.norm_factor))
        self._tables = tuple(table.name for table in replica.charter.tables)
        self._cached: tuple[object, DenseModel] | None = None
        self._unmeasured: set[PeerId] = set()
        """Who has spoken since sizes were looked at: measured together, once somebody asks."""
        self._last: ModelView | None = None
        """The model of the last round: what members that speak are measured against."""
        self._judges_influence = settings.influence
        self._asked = False
        """Whether the case handed out last has anybody in it."""
        self._turn = 0
        self._looks = 0
        self._out: frozenset[PeerId] = frozenset()
        self._told: dict[PeerId, tuple[int, str]] = {}

    @property
    def left_out(self) -> Mapping[PeerId, str]:
        """Who is left out -> why."""
        self._measure_speakers()
        return self._judge.left_out if self._judges_members else {}

    def reason(self, peer: PeerId) -> str:
        """Why this member is left out; "" when it is not."""
        self._measure_speakers()
        return self._judge.reason(peer) if self._judges_members else ""

    def has_history(self, peer: PeerId) -> bool | None:
        """Whether this member has done this one's own data good; None when nobody is judged by it.
        See `openfl.aggregation.member_judge`."""
        return (
            self._judge.has_history(peer)
            if self._judges_members and self._judges_influence
            else None
        )

    def model(self) -> DenseModel:
        """The model now; the same object until something changes."""
        if self._rule.running and not self.left_out:
            return self._replica.view()
        out = tuple(self.left_out)
        key = (self._replica.generation, out)
        if self._cached is None or self._cached[0] != key:
            view = self._rule.view(self._replica, self._settings.hostile_fraction, out)
            self._cached = (key, view)
        return self._cached[1]

    def heard(self, author: PeerId) -> None:
        """The author's registers have changed."""
        if self._judges_members and self._last is not None and author != self._me:
            self._unmeasured.add(author)

    def look(self) -> tuple[DenseModel, Case | None]:
        """The model to work with now, and who is to be judged meanwhile. Before each round, and
        before each evaluation beside rounds."""
        self._looks += 1
        if not self._judges_members:
            return self.model(), None
        others = [m.peer_id for m in self._replica.members() if m.peer_id != self._me]
        self._forget_all_but(set(others))
        turn = self._whose_turn(others)
        self._unmeasured.difference_update(turn)
        stacks = self._stacks(turn)
        if self._judges_influence:
            self._judge.weigh(dict(zip(turn, _claims(stacks), strict=True)), self._own_claim())
        for _ in range(MAX_PASSES):
            before, self._last = self.left_out, self.model()
            self._judge.compare(dict(zip(turn, measure(stacks, self._last), strict=True)))
            if self.left_out.keys() == before.keys():
                break
        model = self._last = self.model()
        self._count_changes()
        if not self._judges_influence or not turn:
            return model, None
        return model, self._case(turn, stacks)

    def has_strangers(self) -> bool:
        """Whether there are members whose influence was never judged, though it could be."""
        return (
            self._judges_influence
            and self._judges_members
            and any(
                state.peer_id != self._me and self._judge.is_stranger(state.peer_id)
                for state in self._replica.members()
            )
        )

    def judged(self, found: Mapping[PeerId, Influence]) -> None:
        """What came of the case handed out last."""
        if self._judges_members and self._asked and not found:
            self._judges_influence = False  # the task is none, so nobody could ever prove itself
            self._judge.weigh({}, 0.0)
        elif self._judges_members:
            known = {m.peer_id for m in self._replica.members()}
            self._judge.judge_influence({peer: i for peer, i in found.items() if peer in known})
            self._count_changes()

    def opinion(self, peer: PeerId) -> float | None:
        """What to tell others of this member's influence on our data; None when unknown."""
        return self._judge.opinion(peer) if self._judges_members else None

    def told(self, judge: PeerId, opinions: Mapping[PeerId, float]) -> None:
        """What another member says of members' influence on its data."""
        if self._judges_members and self._judges_influence:
            self._judge.told(judge, opinions)

    def news(self) -> list[ev.Tell]:
        """Who was left out or let in again, for the owner."""
        effects = []
        left_out = self.left_out
        for peer in sorted(left_out.keys() | self._told.keys()):
            said_at, said = self._told.get(peer, (-QUIET_LOOKS, ""))
            reason = left_out.get(peer, "")
            if bool(reason) == bool(said) or self._looks - said_at < QUIET_LOOKS:
                continue
            self._told[peer] = (self._looks, reason)
            if reason:
                text = f"{ev.short(peer)} is left out of the model: {reason}"
                data = {"peer": peer, "reason": reason}
                effects.append(ev.Tell("warning", "left-out", text, data))
            else:
                text = f"{ev.short(peer)} is part of the model again"
                effects.append(ev.Tell("info", "readmitted", text, {"peer": peer}))
        return effects

    # --- inside -----------------------------------------------------------------------------------

    def _forget_all_but(self, members: set[PeerId]) -> None:
        self._judge.keep_only(members)
        for peer in self._told.keys() - members:
            del self._told[peer]

    def _count_changes(self) -> None:
        out = frozenset(self.left_out)
        for _ in out - self._out:
            self._count("member-left-out")
        self._out = out

    def _measure_speakers(self) -> None:
        """Judge the sizes of those who have spoken. Nobody is told a model before."""
        if not self._unmeasured or self._last is None:
            return
        speakers = sorted(self._unmeasured)
        self._unmeasured.clear()
        for peer, size in zip(speakers, measure(self._stacks(speakers), self._last), strict=True):
            self._judge.heard(peer, size)

    def _stacks(self, members: Sequence[PeerId]) -> dict[str, MemberStack]:
        return {name: self._replica.member_stack(members, name) for name in self._tables}

    def _own_claim(self) -> float:
        return sum(_claims(self._stacks([self._me])))

    def _whose_turn(self, others: list[PeerId]) -> list[PeerId]:
        if len(others) <= MAX_JUDGED:
            return others
        start = self._turn % len(others)
        self._turn += MAX_JUDGED
        return (others + others)[start : start + MAX_JUDGED]

    def _case(self, members: list[PeerId], stacks: Mapping[str, MemberStack]) -> Case:
        out = self.left_out
        asked = [n for n, peer in enumerate(members) if self._judge.asks_influence(peer)]
        inside = [n for n in asked if members[n] not in out]
        outside = [n for n in asked if members[n] in out]
        sums = self._replica.sums_without((*out, self._me))
        self._asked = bool(asked)
        return Case(
            self._replica.model_of(sums),
            self.model(),
            sums,
            [members[n] for n in inside],
            {name: stack.only(inside) for name, stack in stacks.items()},
            [members[n] for n in outside],
            {name: stack.only(outside) for name, stack in stacks.items()},
            self._judge.out_together,
        )


def _claims(stacks: Mapping[str, MemberStack]) -> list[float]:
    """The evidence that each member claims over all tables."""
    claims = np.zeros(max((stack.members for stack in stacks.values()), default=0))
    for stack in stacks.values():
        claims += np.bincount(stack.owners(), stack.evidence, minlength=len(claims))
    return claims.tolist()
