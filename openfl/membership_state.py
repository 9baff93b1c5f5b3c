"""What a node keeps on disk of its membership in a group, and how a session is made from it again.

The replica is saved as the signed envelopes it consists of and rebuilt by the same checks and
merges as if they came from the network: a damaged or forged file cannot put anything into it.
Ages are those at the time of saving: a node that slept for a week does not forget the members it
knew because of its own sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.replica import Completeness, Replica, ReplicaLimits
from openfl.contribution import Charter, PeerId
from openfl.errors import RemoteError
from openfl.group.validation import validate_delta
from openfl.network.base import Sealer
from openfl.wire import messages as wire

STATE_KIND = "membership"
STATE_VERSION = 1

PrivateState = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class SavedMembership:
    """A membership at one moment. items: (kind, envelope, age in seconds); complete: (author,
    epoch, after, upto, age in seconds), see `openfl.aggregation.replica`."""

    charter: Charter
    epoch: int
    round: int
    history: tuple[float, ...]
    items: tuple[tuple[str, bytes, float], ...]
    complete: tuple[tuple[str, int, int, int, float], ...]
    private: PrivateState = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        replica: Replica,
        epoch: int,
        round_number: int,
        history: tuple[float, ...],
        private: PrivateState,
        now: float,
    ) -> SavedMembership:
        """The membership whose replica this is, now."""
        page = replica.page({}, now, max_bytes=1 << 62)
        return cls(
            charter=replica.charter,
            epoch=epoch,
            round=round_number,
            history=history,
            items=tuple((i.kind, i.envelope, i.age_seconds) for i in page.items),
            complete=tuple(
                (c.author, c.epoch, c.after, c.upto, c.age_seconds) for c in page.complete
            ),
            private=private,
        )

    def to_plain(self) -> dict[str, Any]:
        """Values that `openfl.store.write_state` takes."""
        return {
            "charter": self.charter.to_plain(),
            "epoch": self.epoch,
            "round": self.round,
            "history": list(self.history),
            "items": [list(item) for item in self.items],
            "complete": [list(statement) for statement in self.complete],
            "private": {
                name: {"dtype": a.dtype.str, "shape": list(a.shape), "data": a.tobytes()}
                for name, a in self.private.items()
            },
        }

    @classmethod
    def from_plain(cls, plain: Any) -> SavedMembership:
        """The inverse; ValueError when it is not such a state."""
        try:
            private = {
                str(name): np.frombuffer(entry["data"], dtype=np.dtype(entry["dtype"])).reshape(
                    entry["shape"]
                )
                for name, entry in plain["private"].items()
            }
            if any(array.dtype.hasobject for array in private.values()):
                raise ValueError("arrays of objects")
            return cls(
                charter=wire.charter_from_plain(plain["charter"]),
                epoch=int(plain["epoch"]),
                round=int(plain["round"]),
                history=tuple(float(value) for value in plain["history"]),
                items=tuple((str(k), bytes(e), float(age)) for k, e, age in plain["items"]),
                complete=tuple(
                    (str(author), int(epoch), int(after), int(upto), float(age))
                    for author, epoch, after, upto, age in plain["complete"]
                ),
                private=private,
            )
        except (KeyError, TypeError, ValueError, AttributeError, RemoteError) as error:
            raise ValueError(f"not a saved membership: {error}") from error

    def rebuild(self, sealer: Sealer, limits: ReplicaLimits, now: float) -> tuple[Replica, int]:
        """(the replica, how many items were refused)."""
        replica = Replica(self.charter, limits)
        refused = 0
        for kind, envelope, age in self.items:
            try:
                if kind == "leave":
                    author, body = sealer.open(wire.LEAVE_TYPE, envelope)
                    replica.leave(author, wire.decode_leave(body).epoch, envelope, now)
                    continue
                author, body = sealer.open(wire.DELTA_TYPE, envelope)
                delta = wire.decode_delta(body)
                validate_delta(delta, self.charter)
                replica.merge(author, delta, envelope, now, age)
            except RemoteError:
                refused += 1
        for name, epoch, after, upto, age in self.complete:
            replica.mark_complete(Completeness(PeerId(name), epoch, after, upto, age))
        return replica, refused
