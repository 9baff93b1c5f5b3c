"""`Presence`: who is here, this member included, as its owner is told."""

from __future__ import annotations

from collections.abc import Callable

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Evaluation, PeerId
from openfl.core.telemetry import MemberView
from openfl.group import events as ev
from openfl.group.roster import Roster
from openfl.group.trickle import Trickle


class Presence:
    """`me`: this member, which is always here. `heartbeat`: starts anew when somebody arrives.
    `left_out(peer)`: why a member is not part of the model; "" when it is. `history(peer)`: whether
    it has one with this member; None when that is not known of anybody."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        heartbeat: Trickle,
        me: PeerId,
        left_out: Callable[[PeerId], str],
        history: Callable[[PeerId], bool | None],
    ) -> None:
        """This member is not here yet: see `start`."""
        self._replica = replica
        self._roster = roster
        self._heartbeat = heartbeat
        self._me = roster.me = me
        self._left_out = left_out
        self._history = history

    def start(self, now: float) -> None:
        """This member is here; that is no news."""
        self._roster.heard(self._me, now)
        self._roster.changes(now)

    def count(self, now: float) -> int:
        """How many members are here, this one included."""
        return sum(1 for _ in self._roster.present(now))

    def hears_others(self, now: float) -> bool:
        """Whether any other member was heard of lately; that one is connected does not count."""
        return self._roster.hears(now)

    def news(self, now: float) -> list[ev.Effect]:
        """Who came and who fell silent since the last call."""
        # Alive, though it may have published nothing for long: newcomers must not think it expired.
        self._replica.heard(self._me, now)
        self._roster.heard(self._me, now)
        arrived, gone = self._roster.changes(now)
        effects: list[ev.Effect] = []
        for peer in arrived:
            text = f"{ev.short(peer)} is in the group"
            effects.append(ev.Tell("info", "member-joined", text, {"peer": peer}))
        for peer in gone:
            text = f"{ev.short(peer)} is away; what it taught the group stays for now"
            effects.append(ev.Tell("info", "member-away", text, {"peer": peer}))
        if arrived:
            self._heartbeat.reset(now)
        return effects

    def said_myself(
        self, now: float, epoch: int, round_number: int, validation: Evaluation | None
    ) -> None:
        """This member's own line among the others, up to date."""
        self._roster.said(self._me, now, epoch, round_number, validation)

    def members(self, now: float) -> tuple[MemberView, ...]:
        """Present members, this one first, then by peer id."""
        rows = {state.peer_id: state.rows for state in self._replica.members()}
        views = [
            MemberView(
                peer_id=peer,
                round=entry.round,
                fit=entry.fit,
                rows=rows.get(peer, 0),
                age_seconds=max(0.0, now - entry.heard_at),
                me=peer == self._me,
                left_out=self._left_out(peer),
                history=None if peer == self._me else self._history(peer),
            )
            for peer, entry in self._roster.present(now)
        ]
        return tuple(sorted(views, key=lambda view: (not view.me, view.peer_id)))

    def fits(self, now: float, metric: str, with_own: bool) -> tuple[float | None, float | None]:
        """(best, median) fit by `metric` of the present members, or of the others among them."""
        return self._roster.fits(now, metric, None if with_own else self._me)
