"""A group's model as a safetensors file: rows, evidence and the charter, nothing private.

Any framework can read it. Tensors `<table>.keys` (uint64[n]), `<table>.rows` (float32[n, width])
and `<table>.evidence` (float64[n]); metadata `charter` (JSON), `group_id`, and a digest over all of
it, since the format itself would not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from openfl.contribution import Charter, ModelView
from openfl.errors import StateError
from openfl.model_view import DenseModel, DenseTable

FORMAT = "openfl-model-1"
MAX_MODEL_BYTES = 1 << 30
_PARTS = {"keys": np.uint64, "rows": np.float32, "evidence": np.float64}


def encode_model(charter: Charter, model: ModelView) -> bytes:
    """The bytes of a model file: every row that has evidence."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for schema in charter.tables:
        keys = np.ascontiguousarray(model.keys(schema.name), dtype=np.uint64)
        rows = np.ascontiguousarray(model.rows(schema.name, keys), dtype=np.float32)
        evidence = np.ascontiguousarray(model.evidence(schema.name, keys), dtype=np.float64)
        for part, array in (("keys", keys), ("rows", rows), ("evidence", evidence)):
            tensors[f"{schema.name}.{part}"] = array
    text = json.dumps(charter.to_plain(), sort_keys=True, separators=(",", ":"))
    metadata = {
        "format": FORMAT,
        "charter": text,
        "group_id": charter.group_id,
        "digest": _digest(text, tensors),
    }
    return save_tensors(tensors, metadata)


def save_model(
    path: Path, charter: Charter, model: ModelView, write: Callable[[Path, bytes], None]
) -> None:
    """Write a model file; `write` replaces a file atomically (`openfl.store.atomic_write`)."""
    write(path, encode_model(charter, model))


def load_model(path: Path | str) -> DenseModel:
    """The model in a file, with its charter. StateError: missing, unreadable or damaged."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise StateError(f"{path}: larger than any model file ({MAX_MODEL_BYTES} bytes)")
        data = path.read_bytes()
    except FileNotFoundError:
        raise StateError(f"{path}: no such model file") from None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return decode_model(data)
    except StateError as error:
        raise StateError(f"{path}: not a usable model file: {error}") from error


def decode_model(data: bytes) -> DenseModel:
    """The model that `encode_model` encoded. StateError says what is wrong with `data`."""
    try:
        tensors = load_tensors(data)
        header_bytes = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"it is damaged, or of another kind ({error})") from error
    return _checked(metadata, tensors)


def _checked(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[np.generic]]) -> DenseModel:
    if metadata.get("format") != FORMAT:
        raise StateError(f"its format is {metadata.get('format', 'missing')}, not {FORMAT}")
    text = metadata.get("charter", "")
    if metadata.get("digest") != _digest(text, tensors):
        raise StateError("its content does not match its digest")
    try:
        charter = msgspec.convert(json.loads(text), type=Charter, strict=True)
    except (ValueError, RecursionError) as error:
        raise StateError(f"its charter cannot be read ({error})") from error
    if charter.group_id != metadata.get("group_id"):
        raise StateError("its charter does not match its group id")
    expected = {f"{schema.name}.{part}" for schema in charter.tables for part in _PARTS}
    if set(tensors) != expected:
        raise StateError("its tables are not those of its charter")
    tables: dict[str, DenseTable] = {}
    for schema in charter.tables:
        parts: dict[str, Any] = {part: tensors[f"{schema.name}.{part}"] for part in _PARTS}
        if any(parts[part].dtype != kind for part, kind in _PARTS.items()):
            raise StateError(f"table {schema.name} holds another type of numbers")
        table = DenseTable(**parts)
        if not (np.isfinite(table.rows).all() and (table.evidence > 0).all()):
            raise StateError(f"table {schema.name} holds impossible values")
        tables[schema.name] = table
    try:
        return DenseModel(charter, tables)
    except ValueError as error:
        raise StateError(str(error)) from error


def _digest(charter: str, tensors: Mapping[str, NDArray[np.generic]]) -> str:
    state = hashlib.blake2b(charter.encode(), digest_size=32)
    for name in sorted(tensors):
        array = tensors[name]
        state.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()
