"""`Upkeep`: what a member sees to from time to time, whether or not anything was heard.

Members that were silent too long leave the model; what came between rounds is saved; the owner
hears once when this node's own invitation is no longer good.
"""

from __future__ import annotations

from openfl.aggregation.replica import Replica
from openfl.aggregation.version_vector import VersionVector
from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.missing_deltas import MissingDeltas
from openfl.group.presence import Presence


class Upkeep:
    """`me`: this member, which never expires. `every_seconds`: the pause between two times."""

    def __init__(
        self,
        me: PeerId,
        replica: Replica,
        missing: MissingDeltas,
        presence: Presence,
        admission: Admission,
        every_seconds: float,
    ) -> None:
        self.next_wake = float("inf")
        self._me = me
        self._replica = replica
        self._missing = missing
        self._presence = presence
        self._admission = admission
        self._every_seconds = every_seconds
        self._told_uninvited = False
        self._kept: VersionVector = {}
        """What was known when it was last saved without a round."""

    def start(self, now: float) -> None:
        """The first time is a pause from now."""
        self.next_wake = now + self._every_seconds

    def advance(self, now: float, *, keep: bool) -> list[ev.Effect]:
        """Do what is due. `keep`: save what came since the last time. Rounds end with
        saving; a member that does none must not lose what only it still has."""
        if now < self.next_wake:
            return []
        self.next_wake = now + self._every_seconds
        effects = self._expire(now)
        if keep:
            effects += self._keep_what_came()
        effects += self._presence.news(now)
        return effects + self._tell_uninvited()

    def _expire(self, now: float) -> list[ev.Effect]:
        effects: list[ev.Effect] = []
        gone = self._replica.expire(now, keep=(self._me,))
        for author in gone:
            self._missing.forget(author)
            text = f"{ev.short(author)} was silent too long: taken out of the model"
            effects.append(ev.Tell("info", "member-expired", text, {"peer": author}))
        if gone:
            effects.append(ev.Save())
        return effects

    def _keep_what_came(self) -> list[ev.Effect]:
        known = self._replica.version_vector()
        if known == self._kept:
            return []
        self._kept = known
        return [ev.Save()]

    def _tell_uninvited(self) -> list[ev.Effect]:
        uninvited = self._admission.problem()
        if uninvited is None or self._told_uninvited:
            return []
        self._told_uninvited = True
        name = self._replica.charter.name
        text = f"members of {name} no longer listen to this node: {uninvited}"
        return [ev.Tell("warning", "not-invited", text)]
