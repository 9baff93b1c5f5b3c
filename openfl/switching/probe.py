"""`Probe`: a group's model seen from outside, to be judged on one's own data.

A probe fetches what members of a group serve to newcomers, a snapshot of signed deltas, into a
replica of its own, without joining: nothing is published, nobody is told. What it has fetched is
kept, so that the next look at the group asks only for what is new since. No claim of the group is
believed: not its size, not its fit; only the deltas that carry their authors' signatures.

Sans-IO like the session. The driver repeats: send `request()` to a member, hand its answer to
`answer`, until that returns True.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from openfl.aggregation.paging import Cursor
from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import Charter, GroupId, PeerId
from openfl.core.errors import InvalidContribution, RemoteError
from openfl.core.model_view import DenseModel
from openfl.group.admission import Admission
from openfl.group.reader import Reader, StrictReader
from openfl.network.base import Sealer
from openfl.wire import messages as wire


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """max_bytes: most that one look may fetch of one group. max_kept: groups whose replicas are
    kept for the next look."""

    max_bytes: int = 8 << 20
    max_kept: int = 8
    page_bytes: int = 512 << 10
    request_timeout_seconds: float = 5.0
    limits: ReplicaLimits = field(default_factory=ReplicaLimits)


class Probe:
    """See the module's text. One group, any number of looks, one at a time."""

    def __init__(
        self,
        charter: Charter,
        sealer: Sealer,
        settings: ProbeSettings,
        reader: Reader,
        admission: Admission,
    ) -> None:
        self.admission = admission
        """Who may be a member, with the invitations that came with what was fetched."""
        self.replica = Replica(charter, settings.limits)
        self.fetched_bytes = 0
        """By the look under way, or the last one."""
        self._sealer = sealer
        self._settings = settings
        self._reader = reader
        self._known = self.replica.version_vector()
        self._cursor: Cursor | None = None

    @property
    def charter(self) -> Charter:
        """Of the group that is looked at."""
        return self.replica.charter

    def begin(self, now: float) -> None:
        """A new look: ask for what is not known yet."""
        self.replica.expire(now)
        self._known = self.replica.version_vector()
        self._cursor = None
        self.fetched_bytes = 0

    def request(self) -> bytes:
        """What to ask a member on `wire.SNAPSHOT_PROTOCOL` (answers are at most
        `wire.LIMITS.max_answer_bytes`)."""
        left = max(1, self._settings.max_bytes - self.fetched_bytes)
        return wire.encode_snapshot_request(
            wire.SnapshotRequest(
                self.charter.group_id,
                self._known,
                min(self._settings.page_bytes, left),
                self._cursor,
                self.admission.own,
            )
        )

    def answer(self, payload: bytes, now: float) -> bool:
        """Take in an answer; True when the snapshot is complete, else ask again.

        RemoteError when it is refused, malformed, forged, or more than a look may fetch. What came
        before stays, for its authors signed it.
        """
        self.fetched_bytes += len(payload)
        answer = wire.decode_items_answer(payload)
        if isinstance(answer, wire.Refusal):
            raise RemoteError(f'who was asked refused: "{answer.text}"')
        for invitation in answer.invitations:
            self.admission.learn(invitation)
        for item in answer.items:
            self._merge(item, now)
        for statement in answer.complete:
            if not self.admission.admits(statement.author):
                continue
            self.replica.heard(statement.author, now, statement.age_seconds)
            self.replica.mark_complete(statement)
        self._cursor = answer.cursor
        if answer.cursor is None:
            return True
        if self.fetched_bytes >= self._settings.max_bytes or not answer.items:
            raise RemoteError(f"a snapshot of more than {self._settings.max_bytes:,} bytes")
        return False

    def view(self, without: Collection[PeerId] = ()) -> DenseModel:
        """The group's model: the mean of all its members' contributions, but for `without`."""
        return self.replica.view_without(without)

    def _merge(self, item: wire.AnswerItem, now: float) -> None:
        if item.kind == "leave":
            author, body = self._sealer.open(wire.LEAVE_TYPE, item.envelope)
            if not self.admission.admits(author):
                return
            leave = wire.decode_leave(body)
            self._require_group(leave.group_id)
            self.replica.leave(author, leave.epoch, item.envelope, now, item.age_seconds)
            return
        author, body = self._sealer.open(wire.DELTA_TYPE, item.envelope)
        if not self.admission.admits(author):
            return
        delta = self._reader.delta(body)
        self._require_group(delta.group_id)
        self._reader.validate(delta, self.charter)
        self.replica.heard(author, now, item.age_seconds)
        self.replica.merge(author, delta, item.envelope, now, item.age_seconds)

    def _require_group(self, group_id: GroupId) -> None:
        if group_id != self.charter.group_id:
            raise InvalidContribution(f"something of group {group_id} was sent to this probe")


class Probes:
    """The probes a node keeps: of the groups it looked at last. `admission`: who may be a member
    of a group; by default everybody, or, of a closed group, its founder alone."""

    def __init__(
        self,
        sealer: Sealer,
        settings: ProbeSettings | None = None,
        reader: Reader | None = None,
        admission: Callable[[Charter], Admission] | None = None,
    ) -> None:
        self.settings = settings if settings is not None else ProbeSettings()
        self._sealer = sealer
        self._reader = reader if reader is not None else StrictReader()
        self._admission = admission
        self._kept: OrderedDict[GroupId, Probe] = OrderedDict()

    def take(self, charter: Charter) -> Probe:
        """The probe of this group, with what it knows from earlier looks. It is the caller's until
        it is given back by `keep`; meanwhile others get one of their own."""
        kept = self._kept.pop(charter.group_id, None)
        if kept is not None:
            return kept
        admission = (
            Admission(charter, self._sealer, lambda: 0.0)
            if self._admission is None
            else self._admission(charter)
        )
        return Probe(charter, self._sealer, self.settings, self._reader, admission)

    def invitation(self, charter: Charter) -> bytes:
        """This node's own to the group; empty when it has none, or needs none."""
        return b"" if self._admission is None else self._admission(charter).own

    def keep(self, probe: Probe) -> None:
        """For the next look; the group looked at longest ago makes room."""
        self._kept.pop(probe.charter.group_id, None)
        self._kept[probe.charter.group_id] = probe
        while len(self._kept) > self.settings.max_kept:
            self._kept.popitem(last=False)
