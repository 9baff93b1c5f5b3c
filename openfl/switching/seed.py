"""What a move is ordered to do, and what a membership of the new group begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter, PeerId
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.group.settings import SessionStart
from openfl.switching.probe import Probe

MAX_NAME_BYTES = 64
SUFFIX_DIGITS = 4
"""Hex digits at the end of a founded group's name: see `founded_name`."""


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """To the group of `charter`. `text` tells the owner once it is done; `pin`: and stay there;
    `by_itself`: by the node's own decision."""

    charter: Charter
    action: Literal["switch", "move", "found"]
    text: str
    pin: bool = False
    by_itself: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """A replica that holds what members of a new group serve, which of them gave it, and the
    invitations they know."""

    replica: Replica
    given: ev.SnapshotGiven
    invitations: tuple[bytes, ...] = ()

    @classmethod
    def fetched(cls, probe: Probe, peer: PeerId) -> Seed:
        """What a probe got from `peer`; the probe must not be used any more."""
        return cls(probe.replica, ev.SnapshotGiven(peer), probe.admission.all())


@dataclass(frozen=True, slots=True)
class MembershipStart:
    """What a membership begins with. session: without the number of examples, which its task tells.
    snapshot: that the replica holds one already; None: the session is to get one."""

    replica: Replica
    session: SessionStart
    invitations: tuple[bytes, ...] = ()
    snapshot: ev.SnapshotGiven | None = None

    @classmethod
    def after(cls, old: GroupSession, seed: Seed, epoch: int) -> MembershipStart:
        """To take the place of `old`. Its epoch is at least `epoch`, and above that of any earlier
        membership of the new group that the seed knows of."""
        version = seed.replica.version_of(old.me)
        session = SessionStart(
            max(epoch, version.epoch + 1),
            round=old.round,
            # Whoever is done and is moved by its owner is to learn again.
            last_round=None if old.phase == "done" else old.last_round,
            history=tuple(old.history),
        )
        return cls(seed.replica, session, seed.invitations, seed.given)


def founded_name(old: str, token: bytes) -> str:
    """A name for a group founded by a node that leaves the group `old`: the same, and four new hex
    digits, of the first bytes of `token`.

    Two founders must not meet by chance in one group, so a real node takes the token from the
    system's randomness.
    """
    stem, dash, suffix = old.rpartition("-")
    digits = len(suffix) == SUFFIX_DIGITS and all(c in "0123456789abcdef" for c in suffix)
    if not dash or not digits:
        stem = old
    room = MAX_NAME_BYTES - 1 - SUFFIX_DIGITS
    stem = stem.encode()[:room].decode(errors="ignore").rstrip()
    return f"{stem or 'group'}-{token.hex()[:SUFFIX_DIGITS]}"
