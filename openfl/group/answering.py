"""`Answering`: what other members ask of this one. A page of a snapshot, or of what they miss."""

from __future__ import annotations

from collections.abc import Callable

from openfl.aggregation.replica import Replica
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
        request: wire.SnapshotRequest | wire.PullRequest
        if event.protocol == wire.SNAPSHOT_PROTOCOL:
            request = wire.decode_snapshot_request(event.payload)
            known, authors = request.known, None
        else:
            request = wire.decode_pull_request(event.payload)
            known, authors = request.wants, tuple(request.wants)
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
        page = self._replica.page(known, now, request.max_bytes, request.cursor, authors)
        invitations = self._admission.of(item.author for item in page.items)
        answer = wire.ItemsAnswer.of_page(page, self._replica.digest(), invitations)
        return ev.Respond(wire.encode_answer(answer))


def _refuse(code: str, text: str) -> ev.Respond:
    return ev.Respond(wire.encode_answer(wire.Refusal(code, text)))
