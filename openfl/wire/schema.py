"""From decoded CBOR to typed values: field types with their bounds, and one conversion function."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

import msgspec

from openfl.core.contribution import Evaluation, GroupId
from openfl.core.errors import DecodeError
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
    """A float on the wire. (msgspec takes an integer for a plain `float`, and a message would then
    have two encodings.)"""


class NotNegative(Real):
    """A `Real` of at least 0."""


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An `Evaluation` on the wire."""

    metric: Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.max_metric_chars)]
    value: Real
    error: NotNegative
    count: Uint


def convert(plain: Any, kind: type[T]) -> T:
    """`plain` as a `kind` (a msgspec Struct); DecodeError names the field that does not fit."""
    try:
        # Without builtin_types a text in the place of bytes is taken for their base64.
        return msgspec.convert(plain, kind, dec_hook=_convert_own, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise DecodeError(str(error)) from error


def _convert_own(kind: type[Any], value: Any) -> Any:
    if kind is Tagged and isinstance(value, Tagged):
        return value
    if issubclass(kind, Real):
        if type(value) is not float or (kind is NotNegative and value < 0):
            what = "a float >= 0" if kind is NotNegative else "a float"
            raise msgspec.ValidationError(f"Expected {what}, got {value!r:.40}")
        return kind(value)
    raise msgspec.ValidationError(f"Expected a typed array, got {type(value).__name__}")


def fit_from_wire(fit: Fit | None) -> Evaluation | None:
    """An `Evaluation`; DecodeError for a name that cannot be printed or a negative error."""
    if fit is None:
        return None
    require_printable(fit.metric, "a metric's name")
    if fit.error < 0:
        raise DecodeError("a standard error that is negative")
    return Evaluation(fit.metric, float(fit.value), float(fit.error), fit.count)


def fit_to_wire(fit: Evaluation | None) -> dict[str, Any] | None:
    """A plain value; ValueError for a metric's name that no peer would accept: a bug of the task
    that made it."""
    if fit is None:
        return None
    if not 1 <= len(fit.metric) <= LIMITS.max_metric_chars or not fit.metric.isprintable():
        raise ValueError(
            f"a metric's name has 1 to {LIMITS.max_metric_chars} printable characters,"
            f" not {fit.metric!r:.80}"
        )
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
    """The 16 bytes of a group id."""
    return bytes.fromhex(group_id)


def group_from_bytes(data: bytes) -> GroupId:
    """The group id that 16 bytes are: 32 hexadecimal digits."""
    return GroupId(data.hex())


def require_printable(text: str, what: str) -> None:
    """Names end up on screens and in logs: no control characters, nothing invisible."""
    if not text.isprintable():
        raise DecodeError(f"{what} has characters that cannot be printed")
