"""`Switcher`: runs what `Chooser` decides on trio, and tells the owner of it.

After each round it asks the chooser whether to look around; a look goes on beside the rounds. What
is decided is done by the node (`Host`), in one transaction. Every decision becomes one line for
people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import trio

from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import GroupError, UserError
from openfl.core.telemetry import DecisionView, SwitchingView
from openfl.learning.own_losses import JudgesByOwn
from openfl.node.membership import Membership
from openfl.node.switch_driver import LookDriver
from openfl.storage.base import Standing
from openfl.switching.chooser import Chooser, here_of
from openfl.switching.policy import (
    Candidate,
    Decision,
    Finding,
    LookOrder,
    SelectionSettings,
)
from openfl.switching.seed import MoveOrder

MAX_DECISIONS = 20


Tell = Callable[[Literal["debug", "info", "warning", "error"], str, str, dict[str, Any]], None]


class Host(Protocol):
    """The node, as its switcher sees it."""

    def place(self) -> Membership | None:
        """Where it is."""

    async def move(self, decision: Decision) -> None:
        """Be in the group that was decided on instead, or found one. A UserError says why it stays
        where it was."""


class Switcher:
    """See the module's text. `tell(level, kind, message, data)` tells the owner."""

    def __init__(
        self,
        host: Host,
        looks: LookDriver,
        settings: SelectionSettings,
        rng: np.random.Generator,
        unix_time: Callable[[], float],
        tell: Tell,
        standing: Standing,
    ) -> None:
        self._chooser = Chooser(
            settings,
            rng,
            moves=standing.moves,
            rounds=standing.rounds,
            rounds_here=standing.rounds_here,
            pinned=standing.pinned,
        )
        self._host = host
        self._looks = looks
        self._unix_time = unix_time
        self._tell = tell
        self._order: LookOrder | None = None
        self._look_wanted = trio.Event()
        self._one_look = trio.Lock()
        self._decisions: deque[DecisionView] = deque(maxlen=MAX_DECISIONS)

    # --- what the node says -----------------------------------------------------------------------

    def round_done(self) -> None:
        """Another round of training is over, in the group that the node is in now."""
        place = self._host.place()
        if place is None:
            return
        here = here_of(place.session)
        candidates = self._looks.candidates(here.group_id)
        session = place.session
        self._looks.judged(session.opinions())
        order = self._chooser.round_done(here, candidates, session.fit, _can_judge(place))
        if order is not None:
            self._order = order
            self._look_wanted.set()

    def pin(self, pinned: bool) -> None:
        """Whether to stay in the present group whatever other groups offer."""
        self._chooser.pin(pinned)

    def arrived(self, order: MoveOrder) -> None:
        """The node is in another group now."""
        self.note(order.action, order.text)
        self._chooser.arrived(order)

    def note(self, action: str, text: str) -> None:
        """Keep a decision among the last ones."""
        self._decisions.append(DecisionView(self._unix_time(), action, text))

    # --- what others may know ---------------------------------------------------------------------

    def standing(self) -> Standing:
        """To be kept on disk; owed leaves are the node's to add."""
        selector = self._chooser.selector
        return Standing(selector.moves, selector.rounds, selector.rounds_here, self._chooser.pinned)

    @property
    def rounds(self) -> int:
        """Rounds that this node has done, in any group."""
        return self._chooser.selector.rounds

    def finding(self, group_id: GroupId) -> Finding | None:
        """What came of the last look at a group, since the node is where it is."""
        return self._chooser.selector.findings.get(group_id)

    def view(self) -> SwitchingView:
        """How it stands with other groups, for people."""
        selector = self._chooser.selector
        return SwitchingView(
            auto=self._chooser.auto,
            pinned=self._chooser.pinned,
            moves=selector.moves,
            dwell_rounds=selector.dwell_left,
            why=self._why(),
            decisions=tuple(self._decisions),
        )

    def _why(self) -> str:
        place = self._host.place()
        if place is None:
            return "not in a group yet"
        name = place.session.charter.name
        if self._chooser.pinned:
            return f"pinned to {name} by its owner"
        if not self._chooser.auto:
            return f"in {name}: moving by itself is switched off"
        if not _can_judge(place) and place.session.round:
            return f"in {name}: there is no held-out data to judge other groups by"
        latest = self._chooser.selector.latest
        return f"{_VERBS[latest.action]} {name}: {latest.why}"

    # --- looking around ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Look around whenever the policy says so, until cancelled."""
        while True:
            await self._look_wanted.wait()
            self._look_wanted = trio.Event()
            order, self._order = self._order, None
            if order is not None:
                await trio.sleep_until(self._chooser.next_look_at)
                await self._look_around(order)
                self._chooser.over(trio.current_time())

    async def _look_around(self, order: LookOrder) -> None:
        ordered_at = self._host.place()
        async with self._one_look:
            place = self._host.place()
            if place is None or place is not ordered_at:
                return  # the owner has said otherwise while another look was waited for
            charter = place.session.charter
            result = await self._looks.look(self._chooser.standpoint(place.session, order), order)
        if self._host.place() is not place:
            return  # the owner has said otherwise meanwhile
        decision = self._chooser.decide(here_of(place.session), order, result)
        if decision is not None:
            await self._do(decision, charter)

    async def try_group(self, candidate: Candidate) -> None:
        """Look at this group now, because the owner asks; `finding` has what came of it, and
        nothing is decided by it. GroupError: why nothing came of it."""
        order = LookOrder((candidate,))
        async with self._one_look:
            place = self._host.place()
            if place is None:
                raise GroupError("this node is in no group yet that others could be compared with")
            result = await self._looks.look(self._chooser.standpoint(place.session, order), order)
        if self._host.place() is not place:
            raise GroupError(f"this node has moved while {candidate.name} was tried: try it again")
        if not result.findings:
            why = result.gave_nothing.get(candidate.group_id, "it gave nothing to judge")
            raise GroupError(f"group {candidate.name} could not be tried: {why}")
        self._chooser.tried(result.findings[0])

    async def _do(self, decision: Decision, old: Charter) -> None:
        data = {"gain": decision.gain, "why": decision.why}
        try:
            if decision.action == "stay":
                text = f"stayed in {old.name}: {decision.why}"
                self.note("stay", text)
                self._tell("info", "stayed", text, data)
            else:
                await self._host.move(decision)
        except UserError as error:
            text = f"stayed in {old.name}: {self._chooser.not_done(decision, str(error)).why}"
            self.note("failed", text)
            self._tell("warning", "not-moved", text, data)


def _can_judge(place: Membership) -> bool:
    """Whether the node has data to compare groups by."""
    return place.session.fit is not None or isinstance(place.trainer.task, JudgesByOwn)


_VERBS = {"stay": "stayed in", "move": "moved to", "found": "founded"}
