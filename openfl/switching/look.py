"""`Look` and `FirstLook`: what other groups are worth to this node, as pure state machines.

Nothing is joined and nothing is published. A look is bounded in every direction: groups at once,
members asked, seconds, bytes of one group, and bytes a minute over all, so that a node that looks
around is no nuisance to those it looks at.

Most looks find that the other groups serve this node worse, and that is clear from far less than
their members' signed contributions. So a look at a group has two steps. A member is asked for a
summary, the rows of the group's model, unsigned. Only when the group may be better by it, or who is
in it matters, is its snapshot fetched, signed, and compared: nothing that was not signed moves a
node. Whoever makes a group look worse than it is could as well have served half a snapshot; whoever
makes it look better is found out by the second step, and not believed at the next look.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.core.contribution import Charter, GroupId, PeerId
from openfl.learning.comparison import Comparison
from openfl.switching.directory import Directory
from openfl.switching.events import (
    AloneCompared,
    CircleCompared,
    Compare,
    CompareAlone,
    CompareCircle,
    Compared,
    Fetched,
    FetchEnd,
    FetchEvent,
    FirstLookResult,
    LookEffect,
    LookEvent,
    LookResult,
    NotFetched,
    Served,
    Summarized,
    TimerFired,
)
from openfl.switching.policy import Candidate, Finding, LookOrder
from openfl.switching.probe import Probe, Probes
from openfl.switching.snapshot_fetch import SnapshotFetch
from openfl.switching.standpoint import Acquaintances, Standpoint
from openfl.switching.summary import Summary, SummaryReader

MAX_AT_ONCE = 3
"""Groups that are looked at beside each other."""
RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 160.0
"""A group of which nobody answered is not looked at again for so long, doubling each time."""
FIRST_LOOK_SECONDS = 10.0
"""Until a new node begins somewhere, whoever has not answered."""
FIRST_LOOK_MORE_SECONDS = 2.0
"""How long others are waited for once one group's contributions have come."""
FIRST_LOOK_GROUPS = 8
OVERSTATED_GAIN = 0.01
"""When a group was by so much, and a standard error, worse than its summary said, its summaries are
not asked for any more."""


@dataclass(frozen=True, slots=True)
class LookSettings:
    """bytes_per_group: by one look. bytes_per_minute: what all looks together may fetch, and what
    is saved up at most."""

    bytes_per_group: int = 8 << 20
    bytes_per_minute: float = 16 << 20


@dataclass(frozen=True, slots=True)
class _Failures:
    """In a row, of one group; not to be looked at again before `until`."""

    count: int
    until: float


class LookMemory:
    """What is kept from one look to the next: probes of groups, when to try those again of which
    nobody answered, and how much may still be fetched. `problem(charter)`: why this node cannot
    join such a group."""

    def __init__(
        self,
        me: PeerId,
        directory: Directory,
        probes: Probes,
        problem: Callable[[Charter], str | None],
        rng: np.random.Generator,
        settings: LookSettings,
    ) -> None:
        self.me = me
        self.rng = rng
        self.acquaintances = Acquaintances()
        self._directory = directory
        self._probes = probes
        self._problem = problem
        self._settings = settings
        self._unreached: dict[GroupId, _Failures] = {}
        self._summaries: OrderedDict[GroupId, Summary] = OrderedDict()
        """Of the groups that were looked at last."""
        self._overstated: set[GroupId] = set()
        self._bytes_left = settings.bytes_per_minute
        self._bytes_counted_at = -math.inf

    def candidates(self, here: GroupId, now: float) -> tuple[Candidate, ...]:
        """Groups but `here` that this node could join, as their cards tell."""
        known = [k.card for k in self._directory.listed(now)]
        ids = {card.charter.group_id for card in known}
        self._unreached = {g: failed for g, failed in self._unreached.items() if g in ids}
        self._overstated &= ids
        never = _Failures(0, now)
        return tuple(
            Candidate(
                card.charter.group_id,
                card.charter.name,
                card.members,
                self._directory.standing(card.charter.group_id),
            )
            for card in known
            if card.charter.group_id != here
            and now >= self._unreached.get(card.charter.group_id, never).until
            and self._problem(card.charter) is None
        )

    def charters(self) -> dict[GroupId, Charter]:
        """Of every group that a card tells of."""
        cards = (known.card for known in self._directory.all_cards())
        return {card.charter.group_id: card.charter for card in cards}

    def fetch(self, charter: Charter) -> SnapshotFetch:
        """Asks for what earlier looks at the group have not brought."""
        return SnapshotFetch(charter, self._probes, self._directory, self.me, self.rng, self._spent)

    def summarize(self, charter: Charter) -> SnapshotFetch:
        """Asks for a summary, unless those of the group were found to overstate it."""
        if charter.group_id in self._overstated:
            return self.fetch(charter)
        probing = self._probes.settings
        reader = SummaryReader(
            charter,
            self._summaries.get(charter.group_id),
            max_bytes=probing.max_bytes,
            page_bytes=probing.page_bytes,
            max_rows=probing.limits.max_rows,
            invitation=self._probes.invitation(charter),
        )
        return SnapshotFetch(
            charter, self._probes, self._directory, self.me, self.rng, self._spent, reader
        )

    def keep_summary(self, group_id: GroupId, summary: Summary) -> None:
        """For the next look at the group, which may find that nothing has changed."""
        self._summaries.pop(group_id, None)
        if summary.replica:
            self._summaries[group_id] = summary
        while len(self._summaries) > self._probes.settings.max_kept:
            self._summaries.popitem(last=False)

    def overstated(self, group_id: GroupId) -> None:
        """Its summary made the group look better than it is."""
        self._overstated.add(group_id)

    def keep(self, probe: Probe) -> None:
        """For the next look at its group."""
        self._probes.keep(probe)

    def contributors(self, probe: Probe) -> int:
        """Whose signed contributions the probe has, this node not counted."""
        return sum(state.peer_id != self.me for state in probe.replica.members())

    def gave_nothing(self, group_id: GroupId, now: float) -> None:
        """Nobody served a snapshot of this group."""
        count = self._unreached.get(group_id, _Failures(0, 0.0)).count + 1
        pause = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0 ** (count - 1))
        self._unreached[group_id] = _Failures(count, now + pause)

    def gave_something(self, group_id: GroupId) -> None:
        """Somebody did."""
        self._unreached.pop(group_id, None)

    def may_fetch(self, now: float) -> bool:
        """Whether the bytes of the last minute leave anything."""
        most = self._settings.bytes_per_minute
        if math.isfinite(self._bytes_counted_at):
            earned = (now - self._bytes_counted_at) * most / 60
            self._bytes_left = min(most, self._bytes_left + earned)
        self._bytes_counted_at = now
        return self._bytes_left > 0

    def _spent(self, count: int) -> None:
        self._bytes_left -= count


class _Fetches:
    """The fetches under way, by group."""

    def __init__(self) -> None:
        self._under_way: dict[GroupId, SnapshotFetch] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, fetch: SnapshotFetch, now: float) -> list[LookEffect]:
        self._under_way[fetch.charter.group_id] = fetch
        return [*fetch.start(now)]

    def handle(self, event: FetchEvent, now: float) -> tuple[list[LookEffect], FetchEnd | None]:
        """(effects, what the fetch that the event is of has come to, if it has ended)."""
        effects: list[LookEffect] = []
        ended: FetchEnd | None = None
        for effect in self._under_way[event.group_id].handle(event, now):
            if isinstance(effect, FetchEnd):
                ended = effect
                del self._under_way[event.group_id]
            else:
                effects.append(effect)
        return effects, ended


@dataclass(frozen=True, slots=True)
class _Comparing:
    """members: whose contributions were fetched; when they were not (signed), as was claimed. kin:
    see `Finding`."""

    members: int
    signed: bool
    kin: bool


class Look:
    """What the groups of `order` are worth, against the group that the node is in; and what
    training alone and the own circle are, where that was ordered. `LookResult` is the last
    effect."""

    next_wake = math.inf
    """There is no timer: whatever is asked for is reported by its own deadline."""

    def __init__(self, memory: LookMemory, here: Standpoint, order: LookOrder) -> None:
        self.here = here
        self.order = order
        self._memory = memory
        self._fetches = _Fetches()
        self._waiting: deque[Charter] = deque()
        self._comparing: dict[GroupId, _Comparing] = {}
        self._charters: dict[GroupId, Charter] = {}
        self._closer: deque[Charter] = deque()
        """Of which what is signed is to be fetched, too."""
        self._told: dict[GroupId, Comparison] = {}
        """What the summaries of these showed."""
        self._candidates = {candidate.group_id: candidate for candidate in order.groups}
        self._findings: dict[GroupId, Finding] = {}
        self._gave_nothing: dict[GroupId, str] = {}
        self._alone_due = order.alone or here.unjudged
        self._circle_due = order.circle and here.circle is not None
        self._alone: Comparison | None = None
        self._circle: Comparison | None = None

    def start(self, now: float) -> list[LookEffect]:
        """Begin; to be called once."""
        self._charters = charters = self._memory.charters()
        for group_id in self._candidates:
            if group_id not in charters:
                self._gave_nothing[group_id] = "it is not known any more"
            elif not self._memory.may_fetch(now):
                self._gave_nothing[group_id] = "enough was fetched for this minute"
            else:
                self._waiting.append(charters[group_id])
        return self._go_on(now)

    def handle(self, event: LookEvent, now: float) -> list[LookEffect]:
        """What follows from `event`."""
        match event:
            case Compared():
                self._on_compared(event)
                return self._go_on(now)
            case AloneCompared():
                self._alone = event.comparison
                return self._go_on(now)
            case CircleCompared():
                self._on_circle_compared(event.comparison)
                return self._go_on(now)
            case TimerFired():
                return []
        effects, ended = self._fetches.handle(event, now)
        if ended is None:
            return effects
        return [*effects, *self._on_fetch_ended(ended, now), *self._go_on(now)]

    def _on_fetch_ended(self, ended: FetchEnd, now: float) -> list[LookEffect]:
        group_id = ended.group_id
        if isinstance(ended, NotFetched):
            self._memory.gave_nothing(group_id, now)
            self._gave_nothing[group_id] = ended.reason
            return []
        self._memory.gave_something(group_id)
        if isinstance(ended, Summarized):
            self._memory.keep_summary(group_id, ended.summary)
            signed, kin = False, False
            members, model = ended.summary.members, ended.summary.model
        else:
            self._memory.keep(ended.probe)
            peers = [state.peer_id for state in ended.probe.replica.members()]
            signed, kin = True, self._memory.acquaintances.are_kin(peers)
            members = self._memory.contributors(ended.probe)
            model = ended.probe.view(without=(self._memory.me,))
        if not members:
            self._gave_nothing[group_id] = "nobody else has taught it anything"
            return []
        self._comparing[group_id] = _Comparing(members, signed, kin)
        return [Compare(self.here.charter, self.here.others, model.charter, model)]

    def _on_compared(self, event: Compared) -> None:
        group_id, compared = event.group_id, event.comparison
        what = self._comparing.pop(group_id)
        if compared is None:
            self._gave_nothing[group_id] = "this node has no data to compare by"
            return
        candidate = self._candidates[group_id]
        finding = Finding(candidate, what.members, compared, what.kin, signed=what.signed)
        if not what.signed and self.here.promising(finding):
            self._look_closer(group_id, compared)
            return
        told = self._told.get(group_id)
        if told is not None and told.gain - compared.gain > (
            OVERSTATED_GAIN + compared.standard_error
        ):
            self._memory.overstated(group_id)
        self._findings[group_id] = finding

    def _on_circle_compared(self, circle: Comparison | None) -> None:
        """Who else is in the other groups matters now; that is known of what is signed alone."""
        self._circle = circle
        if circle is not None and circle.gain > circle.standard_error:
            for group_id, finding in [*self._findings.items()]:
                if not finding.signed:
                    del self._findings[group_id]
                    self._look_closer(group_id, finding.comparison)

    def _look_closer(self, group_id: GroupId, told: Comparison) -> None:
        self._told[group_id] = told
        self._closer.append(self._charters[group_id])

    def _go_on(self, now: float) -> list[LookEffect]:
        """Look at the next groups; when there are none left, come to the end."""
        effects: list[LookEffect] = []
        while len(self._fetches) + len(self._comparing) < MAX_AT_ONCE:
            if self._closer:
                effects += self._fetches.begin(self._memory.fetch(self._closer.popleft()), now)
            elif self._waiting:
                effects += self._fetches.begin(self._memory.summarize(self._waiting.popleft()), now)
            else:
                break
        if len(self._fetches) or self._comparing:
            return effects
        here = self.here
        if self._alone_due and here.others is not None:
            self._alone_due = False
            return [CompareAlone(here.charter, here.others)]
        if self._circle_due and here.others is not None and here.circle is not None:
            self._circle_due = False
            return [CompareCircle(here.charter, here.others, here.circle)]
        found = [self._findings[g] for g in self._candidates if g in self._findings]
        harmful = self._memory.acquaintances.harmful()
        return [LookResult(tuple(found), self._gave_nothing, self._alone, self._circle, harmful)]


class FirstLook:
    """What those of `groups` that answer serve, for a node that is in no group yet. What cards
    claim decides at most whom to ask; half of those asked are drawn from all. `FirstLookResult` is
    the last effect; what was fetched is not kept, for the membership fetches what is new itself."""

    def __init__(self, memory: LookMemory, groups: Sequence[Candidate]) -> None:
        self.next_wake = math.inf
        self._groups = groups
        self._memory = memory
        self._fetches = _Fetches()
        self._served: list[Served] = []

    def start(self, now: float) -> list[LookEffect]:
        """Begin; to be called once."""
        self.next_wake = now + FIRST_LOOK_SECONDS
        charters = self._memory.charters()
        effects: list[LookEffect] = []
        for candidate in self._to_ask():
            if candidate.group_id in charters:
                effects += self._fetches.begin(
                    self._memory.fetch(charters[candidate.group_id]), now
                )
        return effects if len(self._fetches) else [self._result()]

    def handle(self, event: LookEvent, now: float) -> list[LookEffect]:
        """What follows from `event`. ValueError: nothing is compared before there is a group."""
        match event:
            case TimerFired():
                return [self._result()]
            case Compared() | AloneCompared() | CircleCompared():
                raise ValueError(f"{type(event).__name__} is not what a first look is for")
        effects, ended = self._fetches.handle(event, now)
        if isinstance(ended, Fetched):
            members = self._memory.contributors(ended.probe)
            self._served.append(Served(ended.probe.charter, members))
            if members:
                self.next_wake = min(self.next_wake, now + FIRST_LOOK_MORE_SECONDS)
        if not len(self._fetches):
            effects.append(self._result())
        return effects

    def _to_ask(self) -> list[Candidate]:
        order = sorted(self._groups, key=lambda c: (-c.standing, -c.members, c.group_id))
        best, rest = order[: FIRST_LOOK_GROUPS // 2], order[FIRST_LOOK_GROUPS // 2 :]
        drawn = self._memory.rng.permutation(len(rest))[: FIRST_LOOK_GROUPS - len(best)]
        return [*best, *(rest[place] for place in drawn.tolist())]

    def _result(self) -> FirstLookResult:
        order = sorted(self._served, key=lambda s: (-s.members, s.charter.group_id))
        return FirstLookResult(tuple(order))
