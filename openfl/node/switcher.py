"""`Switcher`: when a node looks at other groups, what it makes of that, and what it tells of it.

The policy is `openfl.switching.policy`, the looking `openfl.node.scout`; what is ordered is done
by the node (`Host`), in one transaction. After each round the switcher asks the policy whether to
look around; a look goes on beside the rounds. Every decision becomes one line for people.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import trio

from openfl.core.contribution import Charter, GroupId, ModelView
from openfl.core.errors import UserError
from openfl.core.telemetry import DecisionView, SwitchingView
from openfl.learning.comparison import Comparison
from openfl.node.membership import Membership
from openfl.node.scout import Scout
from openfl.storage.base import Standing
from openfl.switching.policy import (
    Candidate,
    Decision,
    Finding,
    Here,
    Look,
    SelectionSettings,
    Selector,
)

LEAST_PAUSE_SECONDS = 0.5
"""Between two looks, however short the rounds are."""
MAX_DECISIONS = 20
MAX_REASONS = 3
MAX_NAME_BYTES = 64

Tell = Callable[[Literal["debug", "info", "warning", "error"], str, str, dict[str, Any]], None]


class Host(Protocol):
    """The node, as its switcher sees it."""

    def place(self) -> Membership | None:
        """Where it is."""

    def alone_model(self) -> ModelView | None:
        """What it learned without any group; None while that is not known."""

    async def move(self, target: Candidate, why: str) -> None:
        """Join that group instead. A UserError says why it stays where it was."""

    async def found(self, why: str) -> None:
        """Found a group and be its first member; UserError as for `move`."""


class Switcher:
    """See the module's text. `tell(level, kind, message, data)` tells the owner."""

    def __init__(
        self,
        host: Host,
        scout: Scout,
        settings: SelectionSettings,
        rng: np.random.Generator,
        unix_time: Callable[[], float],
        tell: Tell,
        standing: Standing,
    ) -> None:
        self.selector = Selector(
            settings,
            rng,
            moves=standing.moves,
            rounds=standing.rounds,
            rounds_here=standing.rounds_here,
        )
        self._host = host
        self._scout = scout
        self._auto = settings.enabled
        self._unix_time = unix_time
        self._tell = tell
        self._look: Look | None = None
        self._look_wanted = trio.Event()
        self._looked_at = -float("inf")
        self._decisions: deque[DecisionView] = deque(maxlen=MAX_DECISIONS)
        self._pinned = False
        self.pin(standing.pinned)

    # --- what the node says -----------------------------------------------------------------------

    def round_done(self) -> None:
        """Another round of training is over, in the group that the node is in now."""
        place = self._host.place()
        if place is None:
            return
        here = _here(place)
        candidates = self._scout.candidates(here.group_id)
        fit = place.session.validation
        look = self.selector.round_done(here, candidates, fit)
        # Groups are compared on held-out data. Without any a look could end in nothing.
        if look is not None and self._look is None and fit is not None:
            self._look = look
            self._look_wanted.set()

    def pin(self, pinned: bool) -> None:
        """Whether to stay in the present group whatever other groups offer."""
        self._pinned = pinned
        enabled = self._auto and not pinned
        self.selector.settings = replace(self.selector.settings, enabled=enabled)

    def arrived(self, action: str, text: str, pinned: bool, by_itself: bool) -> None:
        """The node is in another group now."""
        self.note(action, text)
        if by_itself:
            self.selector.moved()
        else:
            self.selector.placed()
            self.selector.latest = Decision("stay", "its owner put it there")
        self.pin(pinned)

    def note(self, action: str, text: str) -> None:
        """Keep a decision among the last ones."""
        self._decisions.append(DecisionView(self._unix_time(), action, text))

    # --- what others may know ---------------------------------------------------------------------

    def standing(self) -> Standing:
        """To be kept on disk; owed leaves are the node's to add."""
        selector = self.selector
        return Standing(selector.moves, selector.rounds, selector.rounds_here, self._pinned)

    def finding(self, group_id: GroupId) -> Finding | None:
        """What came of the last look at a group, since the node is where it is."""
        return self.selector.findings.get(group_id)

    def view(self) -> SwitchingView:
        """Its settings, moves and decisions, for telemetry."""
        return SwitchingView(
            auto=self._auto,
            pinned=self._pinned,
            moves=self.selector.moves,
            dwell_rounds=self.selector.dwell_left,
            why=self._why(),
            decisions=tuple(self._decisions),
        )

    def _why(self) -> str:
        place = self._host.place()
        if place is None:
            return "not in a group yet"
        name = place.session.charter.name
        if self._pinned:
            return f"pinned to {name} by its owner"
        if not self._auto:
            return f"in {name}: moving by itself is switched off"
        if place.session.validation is None and place.session.round:
            return f"in {name}: there is no held-out data to judge other groups by"
        return f"{_VERBS[self.selector.latest.action]} {name}: {self.selector.latest.why}"

    # --- looking around ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Look around whenever the policy says so, until cancelled."""
        while True:
            await self._look_wanted.wait()
            self._look_wanted = trio.Event()
            look = self._look
            if look is not None:
                await trio.sleep_until(self._looked_at + LEAST_PAUSE_SECONDS)
                await self._look_around(look)
                self._looked_at = trio.current_time()
            self._look = None

    async def _look_around(self, look: Look) -> None:
        place = self._host.place()
        if place is None:
            return
        # All members' mean on both sides: the model with its harmful members left out, which
        # this node really uses, is made for it alone, and no other group's could be compared with
        # it before joining.
        charter, model = place.session.charter, place.session.replica.view()
        findings = await self._scout.look(charter, model, look.groups)
        reached = {finding.candidate.group_id for finding in findings}
        unreached = {group.group_id for group in look.groups} - reached
        alone = await self._compare_alone(charter, model) if look.alone else None
        if self._host.place() is not place or not self.selector.settings.enabled:
            return  # the owner has said otherwise meanwhile
        if not findings and not look.groups and alone is None:
            return
        decision = self.selector.decide(
            _here(place), findings, alone, unreached, self._why_unreached(look)
        )
        await self._do(decision, charter)

    def _why_unreached(self, look: Look) -> str:
        """Of each group that gave nothing to judge, why; the first few."""
        reasons = self._scout.gave_nothing
        told = [f"{g.name}: {reasons[g.group_id]}" for g in look.groups if g.group_id in reasons]
        if not look.groups:
            return "none is known that this node could join"
        more = len(told) - MAX_REASONS
        return "; ".join([*told[:MAX_REASONS], *([f"and {more} more"] if more > 0 else [])])

    async def _compare_alone(self, charter: Charter, model: ModelView) -> Comparison | None:
        alone = self._host.alone_model()
        if alone is None:
            return None
        return await self._scout.compare(charter, model, charter, alone)

    async def _do(self, decision: Decision, old: Charter) -> None:
        data = {"gain": decision.gain, "why": decision.why}
        try:
            if decision.action == "stay":
                text = f"stayed in {old.name}: {decision.why}"
                self.note("stay", text)
                self._tell("info", "stayed", text, data)
            elif decision.target is not None:
                await self._host.move(decision.target, decision.why)
            else:
                await self._host.found(decision.why)
        except UserError as error:
            why = f"{decision.why}, but {error}"
            self.selector.latest = replace(decision, action="stay", why=why)
            text = f"stayed in {old.name}: {why}"
            self.note("failed", text)
            self._tell("warning", "not-moved", text, data)


_VERBS = {"stay": "stayed in", "move": "moved to", "found": "founded"}


def _here(place: Membership) -> Here:
    replica = place.session.replica
    return Here(replica.charter.group_id, replica.charter.name, max(1, replica.member_count))


def founded_name(old: str) -> str:
    """A name for a group founded by a node that leaves `old`: the same, and four new hex digits.

    From the system's randomness: two founders must not meet by chance in one group.
    """
    stem, dash, suffix = old.rpartition("-")
    if not dash or len(suffix) != 4 or not all(c in "0123456789abcdef" for c in suffix):
        stem = old
    room = MAX_NAME_BYTES - 5
    stem = stem.encode()[:room].decode(errors="ignore").rstrip()
    return f"{stem or 'group'}-{secrets.token_hex(2)}"
