"""`Tempo`: how often a member speaks, and how long it waits for others, under load and in large
groups.

Two things make a member slower than it was set: its own load (`Pace`), and that in a large group
each publishes more rarely (`Lottery`). Whatever waits for others must then wait longer.
"""

from __future__ import annotations

from openfl.group import events as ev
from openfl.group.fetcher import Fetcher
from openfl.group.lottery import turns_of
from openfl.group.pace import Pace
from openfl.group.roster import Roster
from openfl.group.settings import SessionSettings
from openfl.group.silence import Silence
from openfl.group.trickle import Trickle


class Tempo:
    """Sets the others' times; owns none of them."""

    def __init__(
        self,
        pace: Pace,
        heartbeat: Trickle,
        roster: Roster,
        fetcher: Fetcher,
        silence: Silence,
        settings: SessionSettings,
    ) -> None:
        self._pace = pace
        self._heartbeat = heartbeat
        self._roster = roster
        self._fetcher = fetcher
        self._silence = silence
        self._settings = settings

    def measured(self, load: ev.LoadMeasured, now: float, *, rounds: bool) -> list[ev.Effect]:
        """Follow this node's load. `rounds`: whether the member does any."""
        news = self._pace.measured(load, now, rounds=rounds)
        self._heartbeat.slow_down(self._pace.stretch)
        patience = self._pace.patience
        self._roster.patience = self._fetcher.patience = patience
        self._silence.stretch(patience)
        return news

    def stalled(self, seconds: float) -> None:
        """Nobody was silent; it was this node that did not listen."""
        self._roster.excuse(seconds)
        self._silence.excuse(seconds)

    def group_of(self, members: int) -> None:
        """Where members publish more rarely, heartbeats are as much rarer, and patience longer."""
        turns = turns_of(members, self._settings.target_publishers)
        self._heartbeat.turns = turns
        self._roster.presence_seconds = turns * self._settings.presence_seconds
