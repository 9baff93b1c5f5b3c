"""`Chooser`: when a node looks at other groups, and what it makes of what it finds.

Pure state, like the policy (`Selector`) it asks. After each round the driver asks `round_done`
whether to look; then it runs the `Look`, asks `decide`, and carries out what was decided as a
`Move`. One thing at a time: from a look that is ordered until what came of it is `over` no other is
ordered. Rounds go on beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from openfl.core.contribution import Charter
from openfl.core.errors import GroupError
from openfl.group.session import GroupSession
from openfl.learning.comparison import Fit
from openfl.switching.directory import Directory
from openfl.switching.events import LookResult
from openfl.switching.policy import (
    Candidate,
    Decision,
    Finding,
    Here,
    LookOrder,
    SelectionSettings,
    Selector,
)
from openfl.switching.seed import MoveOrder, founded_name
from openfl.switching.standpoint import Standpoint, standpoint_of

LEAST_PAUSE_SECONDS = 0.5
"""Between two looks, however short the rounds are."""
MAX_REASONS = 3
UNCLEAR = 0.005
"""By so much a group may be better than what is not signed shows of it: that is rounded, and a
moment older."""


class Chooser:
    """See the module's text. `moves`, `rounds` and `rounds_here` go on where a saved node was."""

    def __init__(
        self,
        settings: SelectionSettings,
        rng: np.random.Generator,
        *,
        moves: int = 0,
        rounds: int = 0,
        rounds_here: int = 0,
        pinned: bool = False,
    ) -> None:
        self.selector = Selector(settings, rng, moves=moves, rounds=rounds, rounds_here=rounds_here)
        self.auto = settings.enabled
        """Whether the node ever moves by itself."""
        self.pinned = False
        self._busy = False
        self._over_at = -math.inf
        self.pin(pinned)

    def pin(self, pinned: bool) -> None:
        """Whether to stay in the present group whatever other groups offer."""
        self.pinned = pinned
        enabled = self.auto and not pinned
        self.selector.settings = replace(self.selector.settings, enabled=enabled)

    @property
    def next_look_at(self) -> float:
        """A look that was ordered begins then or later."""
        return self._over_at + LEAST_PAUSE_SECONDS

    def round_done(
        self, here: Here, candidates: tuple[Candidate, ...], fit: Fit | None, can_judge: bool
    ) -> LookOrder | None:
        """Another round is over: a look to run, if there is to be one. fit: of the model this node
        has now, by its own held-out data. can_judge: whether the node has data to compare groups
        by; without any a look could end in nothing."""
        order = self.selector.round_done(here, candidates, fit)
        if order is None or self._busy or not can_judge:
            return None
        self._busy = True
        return order

    def decide(self, here: Here, order: LookOrder, result: LookResult) -> Decision | None:
        """What to do after the look; None: nothing, and there is nothing to tell of it."""
        if not self.selector.settings.enabled:
            return None  # the owner has said otherwise meanwhile
        compared = (result.alone, result.circle)
        if not result.findings and not order.groups and compared == (None, None):
            return None
        reached = {finding.candidate.group_id for finding in result.findings}
        unreached = {group.group_id for group in order.groups} - reached
        why = _why_unreached(order, result)
        return self.selector.decide(
            here, result.findings, result.alone, unreached, why, result.circle, result.harmful
        )

    def standpoint(self, session: GroupSession, order: LookOrder) -> Standpoint:
        """What the look is to compare with."""
        settings = self.selector.settings
        standpoint = standpoint_of(
            session, settings.found_harmful_part, settings.found_circle, order.circle
        )
        return replace(standpoint, promising=partial(self._is_promising, here_of(session)))

    def _is_promising(self, here: Here, finding: Finding) -> bool:
        """Whether a finding that is not signed calls for a closer look: whatever the node would
        move for does."""
        return self.selector.expected_gain(here, finding) > -UNCLEAR

    def tried(self, finding: Finding) -> None:
        """Keep what the owner had this node find out of a group; nothing is decided by it."""
        group_id = finding.candidate.group_id
        self.selector.findings[group_id] = replace(finding, round=self.selector.rounds)

    def not_done(self, decision: Decision, error: str) -> Decision:
        """What was decided could not be done; the decision that this leaves."""
        self.selector.latest = replace(decision, action="stay", why=f"{decision.why}, but {error}")
        return self.selector.latest

    def arrived(self, order: MoveOrder) -> None:
        """The node is in another group now."""
        if order.by_itself:
            self.selector.moved()
        else:
            self.selector.placed()
            self.selector.latest = Decision("stay", "its owner put it there")
        self.pin(order.pin)

    def over(self, now: float) -> None:
        """The look is over, and so is what followed from it."""
        self._busy = False
        self._over_at = now


def here_of(session: GroupSession) -> Here:
    """Where a node is, by the session it has there."""
    charter = session.charter
    return Here(charter.group_id, charter.name, max(1, session.replica.member_count))


def move_order(
    decision: Decision,
    old: Charter,
    directory: Directory,
    found: Callable[[str], Charter],
    token: Callable[[int], bytes],
    now: float,
) -> MoveOrder:
    """What a decision to move or to found comes to, for a node in the group of `old`. found(name):
    the charter of a new group; token(count): random bytes, for its name. GroupError when no card
    tells of the group any more."""
    target = decision.target
    if target is None:
        charter = found(founded_name(old.name, token(2)))
        text = f"founded {charter.name}, left {old.name}: {decision.why}"
        return MoveOrder(charter, "found", text, by_itself=True)
    known = directory.charter(target.group_id, now)
    if known is None:
        raise GroupError(f"group {target.name} is not known any more")
    text = f"moved from {old.name} to {known.name}: {decision.why}"
    return MoveOrder(known, "move", text, by_itself=True)


def _why_unreached(order: LookOrder, result: LookResult) -> str:
    """Of each group that gave nothing to judge, why; the first few."""
    if not order.groups:
        return "none is known that this node could join"
    reasons = result.gave_nothing
    told = [f"{g.name}: {reasons[g.group_id]}" for g in order.groups if g.group_id in reasons]
    more = len(told) - MAX_REASONS
    return "; ".join([*told[:MAX_REASONS], *([f"and {more} more"] if more > 0 else [])])
