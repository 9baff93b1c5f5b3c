"""`Answering`: what others ask of this member. A page of a snapshot, of what they miss, or of the
model's summary."""

from __future__ import annotations

from collections.abc import Callable

from openfl.aggregation.replica import Replica
from openfl.aggregation.summary import summary_page
from openfl.aggregation.version_vector import NOTHING
from openfl.core.contribution import PeerId
from openfl.core.errors import InvalidContribution
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.checks import PeerRates
from openfl.wire import messages as wire


class Answering:
    """`rates`: shared with the gossip of the same peers. `count(name)` counts what was refused."""

    def __init__(
        self,
        replica: Replica,
        admission: Admission,
        rates: PeerRates,
        count: Callable[[str], None],
    ) -> None:
        self._replica = replica
        self._admission = admission
        self._rates = rates
        self._count = count

    def answer(self, event: ev.RequestReceived, now: float) -> ev.Respond:
        """A page or a refusal. RemoteError (a malformed request) goes to the driver."""
        request: wire.SnapshotRequest | wire.PullRequest | wire.SummaryRequest
        if event.protocol == wire.SNAPSHOT_PROTOCOL:
            request = wire.decode_snapshot_request(event.payload)
        elif event.protocol == wire.SUMMARY_PROTOCOL:
            request = wire.decode_summary_request(event.payload)
        else:
            request = wire.decode_pull_request(event.payload)
        group_id = self._replica.charter.group_id
        if request.group_id != group_id:
            return _refuse("unknown-group", f"this node is in group {group_id}")
        if not self._rates.messages.allow(event.peer, now):
            self._count("request-rate")
            return _refuse("busy", "too many requests")
        if request.invitation:
            self._admission.learn(request.invitation, event.peer)
        if not self._admission.admits(event.peer):
            self._count("not-invited")
            return _refuse("not-invited", "this group is closed: show a valid invitation")
        if isinstance(request, wire.SummaryRequest):
            return ev.Respond(wire.encode_summary_answer(self._summary(request, event.peer)))
        return ev.Respond(wire.encode_answer(self._items(request, now)))

    def _items(
        self, request: wire.SnapshotRequest | wire.PullRequest, now: float
    ) -> wire.ItemsAnswer:
        if isinstance(request, wire.SnapshotRequest):
            known, authors = request.known, None
        else:
            known, authors = request.wants, tuple(request.wants)
        page = self._replica.page(known, now, request.max_bytes, request.cursor, authors)
        invitations = self._admission.of(item.author for item in page.items)
        return wire.ItemsAnswer.of_page(page, self._replica.digest(), invitations)

    def _summary(self, request: wire.SummaryRequest, asker: PeerId) -> wire.SummaryAnswer:
        """The plain mean, which is what a newcomer would have; without what the asker taught the
        group in an earlier membership, for that would serve it better than the group does."""
        replica = self._replica
        taught = replica.version_of(asker) != NOTHING
        members = replica.member_count - taught
        digest = replica.digest()
        if request.have == digest and request.cursor is None:
            return wire.SummaryAnswer(members, (), None, digest)
        model = replica.view_without((asker,)) if taught else replica.view()
        try:
            page = summary_page(model, request.max_bytes, request.cursor)
        except KeyError as error:
            raise InvalidContribution(f"a cursor in a table {error} of no group here") from None
        return wire.SummaryAnswer(members, page.blocks, page.cursor, digest)


def _refuse(code: str, text: str) -> ev.Respond:
    return ev.Respond(wire.encode_answer(wire.Refusal(code, text)))
