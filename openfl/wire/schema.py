"""From decoded CBOR to typed values: field types with their bounds, and one conversion function."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

import msgspec

from openfl.contribution import Evaluation, GroupId
from openfl.errors import DecodeError
from openfl.wire.cbor import Tagged
from openfl.wire.limits import LIMITS, MAX_UINT

T = TypeVar("T")

Uint = Annotated[int, msgspec.Meta(ge=0, le=MAX_UINT)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_UINT)]
Age = Annotated[int, msgspec.Meta(ge=0, le=LIMITS.max_age_seconds)]
GroupBytes = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
PeerBytes = Annotated[bytes, msgspec.Meta(min_length=38, max_length=38)]
Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
ReplicaDigest = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Envelope = Annotated[bytes, msgspec.Meta(min_length=1, max_length=LIMITS.max_envelope_bytes)]


class Real(float):
    """A float. Where msgspec's own would also take an integer, a message had two encodings."""


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An `Evaluation` on the wire."""

    metric: Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.max_metric_chars)]
    value: Real
    error: Real
    count: Uint


def convert(plain: Any, kind: type[T]) -> T:
    """`plain` as a `kind` (a msgspec Struct); DecodeError names the field that does not fit."""
    try:
        return msgspec.convert(plain, kind, dec_hook=_special)
    except msgspec.ValidationError as error:
        raise DecodeError(str(error)) from error


def _special(kind: type[Any], value: Any) -> Any:
    if kind is Tagged and isinstance(value, Tagged):
        return value
    if kind is Real and isinstance(value, float):
        return Real(value)
    wanted = "float" if kind is Real else "a typed array"
    raise msgspec.ValidationError(f"Expected {wanted}, got {type(value).__name__}")


def fit_from_wire(fit: Fit | None) -> Evaluation | None:
    if fit is None:
        return None
    require_printable(fit.metric, "a metric's name")
    if fit.error < 0:
        raise DecodeError("a standard error below 0")
    return Evaluation(fit.metric, float(fit.value), float(fit.error), fit.count)


def fit_to_wire(fit: Evaluation | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "metric": fit.metric,
        "value": float(fit.value),
        "error": float(fit.standard_error),
        "count": fit.count,
    }


def age_to_wire(age_seconds: float) -> int:
    """Whole seconds, rounded up: relayed ages only grow."""
    return min(max(0, math.ceil(age_seconds)), LIMITS.max_age_seconds)


def group_to_bytes(group_id: GroupId) -> bytes:
    return bytes.fromhex(group_id)


def group_from_bytes(data: bytes) -> GroupId:
    return GroupId(data.hex())


def require_printable(text: str, what: str) -> None:
    """Names end up on screens and in logs: no control characters, nothing invisible."""
    if not text.isprintable():
        raise DecodeError(f"{what} has characters that cannot be printed")
