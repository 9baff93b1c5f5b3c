"""`Admission`: who may be a member of a group. An open group takes everybody.

A closed group's charter names its founder, and whoever is not the founder needs an invitation: a
signed envelope in which the founder names the group, the guest and a date of expiry. Members carry
their own invitation in heartbeats and requests, and pages of deltas come with those of their
authors, so that everybody can check everybody, whoever relays; nobody is asked, and the founder
need not be there. Wall clocks are compared with the date of expiry, so a clock that is wrong by an
hour admits or refuses somebody an hour too early or too late.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import InvalidContribution, InvalidSignature, RemoteError
from openfl.network.base import Sealer
from openfl.wire import messages as wire

MAX_INVITATIONS = 8192
"""Of one group; when there are more, the one heard of longest ago is forgotten. Only the founder
can make any, so that nobody else can push them out."""


class Admission:
    """The invitations to one group, verified. `unix_time` is asked whenever one may have expired.

    `invitations`: known from before; those that do not verify for this group are passed over.
    """

    def __init__(
        self,
        charter: Charter,
        sealer: Sealer,
        unix_time: Callable[[], float],
        invitations: Iterable[bytes] = (),
    ) -> None:
        self.founder = charter.founder
        self._charter = charter
        self._sealer = sealer
        self._me = sealer.peer_id
        self._unix_time = unix_time
        self._known: OrderedDict[PeerId, tuple[wire.Invitation, bytes]] = OrderedDict()
        for envelope in invitations:
            try:
                self.learn(envelope)
            except RemoteError:
                continue

    @property
    def own(self) -> bytes:
        """This member's own invitation, to be shown to others; empty when there is none."""
        known = self._known.get(self._me)
        return b"" if known is None else known[1]

    def admits(self, peer: PeerId) -> bool:
        """Whether the peer has the right to be a member now."""
        if self.founder is None or peer == self.founder:
            return True
        known = self._known.get(peer)
        return known is not None and self._unix_time() < known[0].expires_at

    def learn(self, envelope: bytes, guest: PeerId | None = None) -> None:
        """Take in an invitation, of `guest` if that is given; one that has expired is no fault.

        InvalidSignature, InvalidContribution or DecodeError when it is not what it should be.
        """
        if self.founder is None:
            return  # nobody needs one
        if guest is not None and guest in self._known and self._known[guest][1] == envelope:
            return  # the same as ever: no signature is verified twice
        if len(envelope) > wire.LIMITS.max_invitation_bytes:
            raise InvalidSignature("an invitation that is too large")
        issuer, body = self._sealer.open(wire.INVITATION_TYPE, envelope)
        invitation = wire.decode_invitation(body)
        if issuer != self.founder:
            raise InvalidSignature("an invitation that is not signed by the group's founder")
        if invitation.group_id != self._charter.group_id:
            raise InvalidContribution("an invitation to another group")
        if guest is not None and invitation.guest != guest:
            raise InvalidContribution("an invitation of somebody else")
        before = self._known.pop(invitation.guest, None)
        if before is not None and before[0].expires_at > invitation.expires_at:
            invitation, envelope = before
        self._known[invitation.guest] = (invitation, envelope)
        if len(self._known) > MAX_INVITATIONS:
            self._known.popitem(last=False)

    def of(self, peers: Iterable[PeerId]) -> tuple[bytes, ...]:
        """The invitations of these peers, as far as they are known and have any."""
        return tuple(self._known[p][1] for p in sorted(set(peers)) if p in self._known)

    def all(self) -> tuple[bytes, ...]:
        """Every invitation known, to be kept on disk."""
        return self.of(self._known)

    def problem(self) -> str | None:
        """Why this node itself may not be a member; None when it may."""
        if self.admits(self._me):
            return None
        known = self._known.get(self._me)
        founder = self.founder
        if known is not None:
            day = datetime.fromtimestamp(min(known[0].expires_at, 2**33), UTC).date()
            return f"it is closed and the invitation expired on {day}; ask {founder} for another"
        return (
            f"it is closed and its founder {founder} has not invited this node; ask for"
            f" `openfl-node invite {self._me}` and start with --invitation FILE"
        )
