"""The phases of a session as one table: what each means, what leads from one to the next, and which
events are heard in which.

`GroupSession` goes by these tables, and `phases_markdown` draws docs/architecture.md's from them
(`make docs-phases`). A member that has left keeps the phase it had: what reads it afterwards (the
next membership, the owner's view) asks how far it got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from openfl.core.telemetry import Phase
from openfl.group import events as ev

Cause = Literal["joined", "enough-members", "rounds-done"]
Where = Phase | Literal["left"]


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """One phase. meaning: for people. joined: it asks for deltas it misses, and looks out for
    silence; before, the snapshot brings what is missing. rounds: it trains or evaluates at its own
    pace. keeps: what comes is saved as it comes; where rounds go on, they end with saving."""

    meaning: str
    joined: bool
    rounds: bool
    keeps: bool


@dataclass(frozen=True, slots=True)
class EventRow:
    """One kind of event. heard: the phases in which the session heeds it. otherwise: what follows
    from it in the others."""

    heard: tuple[Where, ...]
    otherwise: str = "nothing"


PHASES: Mapping[Phase, PhaseRow] = MappingProxyType(
    {
        "joining": PhaseRow(
            "gets the group's model, or finds nobody to get it from",
            joined=False,
            rounds=False,
            keeps=False,
        ),
        "waiting": PhaseRow(
            "relays and serves; its rounds have not begun", joined=True, rounds=False, keeps=True
        ),
        "learning": PhaseRow(
            "trains at its own pace; nobody waits for anybody",
            joined=True,
            rounds=True,
            keeps=False,
        ),
        "done": PhaseRow(
            "has done its rounds; evaluates, relays and serves",
            joined=True,
            rounds=True,
            keeps=True,
        ),
    }
)
FIRST: Phase = "joining"

CAUSES: Mapping[Cause, str] = MappingProxyType(
    {
        "joined": "a snapshot is merged or was given, or there is nobody to get one from",
        "enough-members": "`auto_start` is on, and `wait_for_members` are present",
        "rounds-done": "the last of its `rounds` is trained",
    }
)

TRANSITIONS: Mapping[tuple[Phase, Cause], Phase] = MappingProxyType(
    {
        ("joining", "joined"): "waiting",
        ("waiting", "enough-members"): "learning",
        ("learning", "rounds-done"): "done",
    }
)

_MEMBER: tuple[Where, ...] = tuple(PHASES)

EVENTS: Mapping[type[ev.Event], EventRow] = MappingProxyType(
    {
        ev.GossipReceived: EventRow(_MEMBER, "the verdict *ignore*"),
        ev.RequestReceived: EventRow((*_MEMBER, "left")),
        ev.AnswerReceived: EventRow(_MEMBER),
        ev.RequestFailed: EventRow(_MEMBER, "it is counted"),
        ev.MembersReachable: EventRow(_MEMBER),
        ev.DiscoveryEnded: EventRow(_MEMBER),
        ev.SnapshotGiven: EventRow(("joining",)),
        ev.TrainingFinished: EventRow(("learning",)),
        ev.EvaluationFinished: EventRow(("waiting", "learning", "done", "left")),
        ev.TimerFired: EventRow(_MEMBER),
        ev.LoadMeasured: EventRow(_MEMBER),
        ev.Stalled: EventRow(_MEMBER),
        ev.LeaveRequested: EventRow(_MEMBER),
    }
)


class PhaseTracker:
    """Where one session is in the tables."""

    def __init__(self) -> None:
        self.phase: Phase = FIRST
        self.left = False
        """Whether the member has left the group for good; its phase stays what it was."""

    @property
    def row(self) -> PhaseRow:
        """What holds in the phase it is in."""
        return PHASES[self.phase]

    def hears(self, event: ev.Event) -> bool:
        """Whether the session does anything with such an event where it is."""
        return ("left" if self.left else self.phase) in EVENTS[type(event)].heard

    def follow(self, cause: Cause) -> None:
        """Go on to the next phase. ValueError when nothing leads on from here by this cause."""
        following = TRANSITIONS.get((self.phase, cause))
        if following is None:
            raise ValueError(f"{cause!r} leads nowhere from phase {self.phase!r}")
        self.phase = following

    def leave(self) -> None:
        """The member has left for good."""
        self.left = True


def phases_markdown() -> str:
    """The tables as Markdown: a drawing of the phases, then phases, causes and events."""
    lines = [
        "```text",
        _drawing(),
        "```",
        "",
        "| phase | a member in it | pulls | rounds | saves |",
    ]
    lines.append("|---|---|---|---|---|")
    for phase, row in PHASES.items():
        saves = "as it comes" if row.keeps else "after a round" if row.rounds else "no"
        lines.append(
            f"| `{phase}` | {row.meaning} | {_yes(row.joined)} | {_yes(row.rounds)} | {saves} |"
        )
    lines += ["", "| leads on | when |", "|---|---|"]
    lines += [f"| `{cause}` | {when} |" for cause, when in CAUSES.items()]
    lines += ["", "| event | heard in | elsewhere |", "|---|---|---|"]
    for event, heard in EVENTS.items():
        elsewhere = "" if set(heard.heard) == {*PHASES, "left"} else heard.otherwise
        lines.append(f"| `{event.__name__}` | {_places(heard.heard)} | {elsewhere} |")
    return "\n".join(lines) + "\n"


def _drawing() -> str:
    phase, drawn = FIRST, str(FIRST)
    for (start, cause), end in TRANSITIONS.items():
        if start != phase:
            raise ValueError("the drawing is for phases that follow one another")
        phase, drawn = end, f"{drawn} --{cause}--> {end}"
    return f"{drawn}\n\nany of these --LeaveRequested--> left"


def _places(heard: tuple[Where, ...]) -> str:
    if heard == _MEMBER:
        return "every phase"
    if heard == (*_MEMBER, "left"):
        return "every phase, after leaving"
    return ", ".join("after leaving" if place == "left" else f"`{place}`" for place in heard)


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
