"""What a node keeps on disk of its membership in a group, and how a session is made from it again.

The replica is saved as the signed envelopes it consists of and rebuilt by the same checks and
merges as if they came from the network: a damaged or forged file cannot put anything into it.
Ages are those at the time of saving: a node that slept for a week does not forget the members it
knew because of its own sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.replica import Completeness, Replica, ReplicaLimits
from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import InvalidContribution, RemoteError
from openfl.group.validation import validate_delta
from openfl.network.base import Sealer
from openfl.wire import messages as wire

STATE_KIND = "membership"
STATE_VERSION = 1

PrivateState = Mapping[str, NDArray[np.generic]]

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _Array(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[_Count]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.generic]) -> _Array:
        return cls(array.dtype.str, list(array.shape), array.tobytes())

    def array(self) -> NDArray[np.generic]:
        """ValueError when it is not an array of numbers."""
        try:
            dtype = np.dtype(self.dtype)
        except (TypeError, SyntaxError) as error:
            raise ValueError(str(error)) from error
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in the file."""

    charter: dict[str, Any]
    epoch: _Count
    round: _Count
    history: tuple[float, ...]
    items: tuple[tuple[str, bytes, _Seconds], ...]
    complete: tuple[tuple[str, _Count, _Count, _Count, _Seconds], ...]
    private: dict[str, _Array]
    invitations: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedMembership:
    """A membership at one moment. items: (kind, envelope, age in seconds); complete: (author,
    epoch, after, upto, age in seconds), see `openfl.aggregation.replica`; invitations: of a closed
    group."""

    charter: Charter
    epoch: int
    round: int
    history: tuple[float, ...]
    items: tuple[tuple[str, bytes, float], ...]
    complete: tuple[tuple[str, int, int, int, float], ...]
    private: PrivateState = field(default_factory=dict)
    invitations: tuple[bytes, ...] = ()

    @classmethod
    def of(
        cls,
        replica: Replica,
        epoch: int,
        round_number: int,
        history: tuple[float, ...],
        private: PrivateState,
        now: float,
        invitations: tuple[bytes, ...] = (),
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
            invitations=invitations,
        )

    def to_plain(self) -> dict[str, Any]:
        """Values that `openfl.storage.home.write_state` takes."""
        plain: dict[str, Any] = {
            "charter": self.charter.to_plain(),
            "epoch": self.epoch,
            "round": self.round,
            "history": list(self.history),
            "items": [list(item) for item in self.items],
            "complete": [list(statement) for statement in self.complete],
            "private": {
                name: msgspec.structs.asdict(_Array.of(array))
                for name, array in self.private.items()
            },
        }
        if self.invitations:
            plain["invitations"] = list(self.invitations)
        return plain

    @classmethod
    def from_plain(cls, plain: Any) -> SavedMembership:
        """The inverse; ValueError when it is not such a state."""
        try:
            state = msgspec.convert(plain, type=_State, builtin_types=(bytes,))
            return cls(
                charter=wire.charter_from_plain(state.charter),
                epoch=state.epoch,
                round=state.round,
                history=state.history,
                items=state.items,
                complete=state.complete,
                private={name: saved.array() for name, saved in state.private.items()},
                invitations=state.invitations,
            )
        except (ValueError, OverflowError, RemoteError) as error:
            raise ValueError(f"not a saved membership: {error}") from error

    def rebuild(self, sealer: Sealer, limits: ReplicaLimits, now: float) -> tuple[Replica, int]:
        """(the replica, how many items were refused)."""
        replica = Replica(self.charter, limits)
        refused = 0
        for kind, envelope, age in self.items:
            try:
                if kind == "leave":
                    author, body = sealer.open(wire.LEAVE_TYPE, envelope)
                    leave = wire.decode_leave(body)
                    if leave.group_id != self.charter.group_id:
                        raise InvalidContribution(f"a leave of group {leave.group_id}")
                    replica.leave(author, leave.epoch, envelope, now, age)
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
