"""`Pace`: the interval between a member's rounds: the one that was set, or as much longer as the
load demands.

The method is additive increase, multiplicative decrease of the *rate* (Chiu, Jain, Analysis of the
increase and decrease algorithms for congestion avoidance in computer networks, 1989), which leads
many nodes that share one processor to a fair part of it without a word between them. The signal is
not loss but a queue that does not drain, as in CoDel (Nichols, Jacobson, Controlling queue delay,
2012): what has come and is not handled must not be older than half an interval. An event loop that
comes to rest has handled all there was; one that does not may be near the end of its queue, or far
behind: what is unread tells. (How late a pause ends says nothing: in a loop that was 17 s behind it
was 0.03 s.) Between the two bounds nothing changes, so that it comes to rest itself. The rate grows
by a fixed part of the set rate, but never by more than a quarter of itself: from far below that
would overshoot each time.

What others say decides nothing here: only what this node measures of itself.
"""

from __future__ import annotations

import math
from collections import deque

from openfl.group import events as ev

BEHIND_LIMIT = 0.5
SMALLEST_LIMIT_SECONDS = 0.25
"""How old in parts of the interval, and in any case, what is not handled yet may be."""
WAITING_LIMIT = 64
"""Frames that may wait for a peer to take them: a quarter of what a queue holds."""
WELL = 0.4
"""Below this part of each limit, all the time, a member is well, and shortens its interval."""

SMALLEST_GROWTH = 1.05
LARGEST_GROWTH = 1.5
"""Of the interval, at once."""
RECOVERY_STEP = 1 / 16
"""Of the set rate, added at once; 11 steps from a third of it back to the whole."""
LARGEST_RECOVERY = 1 / 4
"""Of the rate that is kept."""

MAX_STRETCH = 30.0
LONGEST_SECONDS = 300.0
"""The interval is never made longer than either, unless it was set so."""
SHORTEST_LOOK_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 10.0
"""A decision takes an interval of measurements, within these bounds; and to lengthen it again, the
longer one must have been kept once, to have its effect."""

TOLD_FROM = 1.5
"""Part of the set interval from which its owner is told, and of the told one, to be told again."""
RESTORED_BELOW = 1.1
TELL_AGAIN_SECONDS = 30.0
MAX_PATIENCE = 3.0
"""How many times as long a loaded member waits for others: they may be as loaded, or have spoken
and not been read."""

LENGTHENED = "interval-lengthened"
RESTORED = "interval-restored"


class Pace:
    """`set_seconds`: the interval that the owner wants. All times are the caller's `now`."""

    def __init__(self, set_seconds: float) -> None:
        """As set, until there is a reason."""
        self.interval = set_seconds
        """Seconds from the beginning of a round to that of the next."""
        self._set = set_seconds
        self._longest = max(set_seconds, min(MAX_STRETCH * set_seconds, LONGEST_SECONDS))
        self._since: float | None = None
        """From when the measurements count that the next decision goes by."""
        self._lengthened_at = float("-inf")
        self._most_behind = 0.0
        self._most_waiting = 0
        self._trainings: deque[float] = deque(maxlen=3)
        self._cause = ""
        self._told: float | None = None
        """The interval that the owner was told of; None: none but the set one."""
        self._told_at = float("-inf")

    @property
    def stretch(self) -> float:
        """How many times as long the interval is as it was set, at least 1."""
        return self.interval / self._set

    @property
    def patience(self) -> float:
        """How many times as long to wait for others, 1 to `MAX_PATIENCE`."""
        return min(self.stretch, MAX_PATIENCE)

    @property
    def behind_limit_seconds(self) -> float:
        """How old what is not handled yet may be."""
        return max(BEHIND_LIMIT * self.interval, SMALLEST_LIMIT_SECONDS)

    @property
    def kept(self) -> float:
        """The interval as it is kept: not shorter than the training takes."""
        return max(self.interval, self._training)

    @property
    def _training(self) -> float:
        """Seconds that training takes at least: one slow time is no reason."""
        full = len(self._trainings) == self._trainings.maxlen
        return min(self._trainings) if full else 0.0

    def measured(self, load: ev.LoadMeasured, now: float, *, rounds: bool) -> list[ev.Effect]:
        """Take in a measurement, and decide when there are enough. `rounds`: whether the member
        does any; before that, what weighs on it is not its own."""
        if self._since is None or not rounds:
            self._begin(now)
            return []
        self._most_behind = max(self._most_behind, load.most_behind_seconds)
        self._most_waiting = max(self._most_waiting, load.waiting)
        look = min(max(self.interval, SHORTEST_LOOK_SECONDS), LONGEST_LOOK_SECONDS)
        if now - self._since < look:
            return []
        behind = self._parts(load.behind_seconds, load.waiting)
        most = self._parts(self._most_behind, self._most_waiting)
        self._begin(now)
        cause = max(behind, key=lambda name: behind[name])
        if behind[cause] > 1 and now - self._lengthened_at >= self.interval:
            self._cause, self._lengthened_at = cause, now
            growth = min(LARGEST_GROWTH, max(SMALLEST_GROWTH, math.sqrt(behind[cause])))
            self.interval = min(self._longest, self.interval * growth)
        elif max(most.values()) < WELL:
            self.interval = max(self._set, 1 / self._next_rate())
        return self._news(now)

    def _parts(self, behind_seconds: float, waiting: int) -> dict[str, float]:
        """The load in parts of what may be, by what it is of."""
        return {
            "the processor is the limit": behind_seconds / self.behind_limit_seconds,
            "the network is the limit": waiting / WAITING_LIMIT,
        }

    def trained(self, seconds: float, now: float) -> list[ev.Effect]:
        """A training has taken so long, from the order to the result."""
        self._trainings.append(seconds)
        return self._news(now)

    def _begin(self, now: float) -> None:
        self._since = now
        self._most_behind, self._most_waiting = 0.0, 0

    def _next_rate(self) -> float:
        rate = 1 / self.interval
        return rate + min(RECOVERY_STEP / self._set, LARGEST_RECOVERY * rate)

    # --- what the owner is told -------------------------------------------------------------------

    def _news(self, now: float) -> list[ev.Effect]:
        """What to tell: when it begins, when it has changed much, and when it is over."""
        kept, told = self.kept, self._told
        if told is None:
            if kept < TOLD_FROM * self._set:
                return []
            return [self._lengthened(self._set, now)]
        if kept <= RESTORED_BELOW * self._set:
            self._told = None
            text = f"interval {told:.1f} -> {self._set:.1f} s: as it is set"
            data = {"interval_seconds": self._set, "set_seconds": self._set}
            return [ev.Tell("info", RESTORED, text, data)]
        if max(kept / told, told / kept) < TOLD_FROM or now - self._told_at < TELL_AGAIN_SECONDS:
            return []
        return [self._lengthened(told, now)]

    def _lengthened(self, before: float, now: float) -> ev.Tell:
        kept = self.kept
        self._told, self._told_at = kept, now
        cause = self._cause if kept == self.interval else "training takes that long"
        return ev.Tell(
            "warning",
            LENGTHENED,
            f"interval {before:.1f} -> {kept:.1f} s: {cause}",
            {"interval_seconds": round(kept, 3), "set_seconds": self._set, "cause": cause},
        )
