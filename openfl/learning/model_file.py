"""A group's model as a safetensors file: rows, evidence and the charter, nothing private.

Any framework can read it. Tensors `<table>.keys` (uint64[n]), `<table>.rows` (float32[n, width])
and `<table>.evidence` (float64[n]); metadata `charter` (JSON), `group_id`, and a digest over all of
it, since the format itself would not notice a flipped bit.

An exported model also says which songs its rows are, where known: `<table>.names` (uint8[n]) is a
JSON list (UTF-8) with an entry a row of that table, in the order of its keys: null, or [id,
title, artist] of which the last two may be null.

A model file is a stranger's message: sizes are checked before anything is read, and its charter by
the very function that checks charters from the network (`openfl.wire.charters`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from openfl.core.contribution import Charter, ModelView, TableSchema, is_key_of, item_key
from openfl.core.errors import DecodeError, StateError
from openfl.core.files import open_named
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.factorization.ratings import Catalogue, Song
from openfl.wire.charters import charter_from_plain

FORMAT = "openfl-model-1"
MAX_MODEL_BYTES = 1 << 30
MAX_HEADER_BYTES = 4 << 20
"""Of the JSON in front, which holds the charter."""
MAX_NAME_CHARS = 1_000
NAMES = "names"
_Text = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)]
_Name = tuple[_Text, _Text | None, _Text | None]
_PARTS = {"keys": np.uint64, "rows": np.float32, "evidence": np.float64}


@dataclass(frozen=True)
class NamedModel:
    """A model, and what the songs of its rows are called. names: table -> catalogue of the songs
    known by name (all of their ids have a key of that table)."""

    model: DenseModel
    names: Mapping[str, Catalogue]


def encode_model(
    charter: Charter, model: ModelView, names: Mapping[str, Iterable[Song]] | None = None
) -> bytes:
    """The bytes of a model file: every row that has evidence. `names`: table -> songs to name its
    rows by; those that the model has no row for are left out."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for schema in charter.tables:
        keys = np.ascontiguousarray(model.keys(schema.name), dtype=np.uint64)
        rows = np.ascontiguousarray(model.rows(schema.name, keys), dtype=np.float32)
        evidence = np.ascontiguousarray(model.evidence(schema.name, keys), dtype=np.float64)
        for part, array in (("keys", keys), ("rows", rows), ("evidence", evidence)):
            tensors[f"{schema.name}.{part}"] = array
        if names and schema.name in names:
            tensors[f"{schema.name}.{NAMES}"] = _encode_names(keys, schema, names[schema.name])
    text = json.dumps(charter.to_plain(), sort_keys=True, separators=(",", ":"))
    metadata = {
        "format": FORMAT,
        "charter": text,
        "group_id": charter.group_id,
        "digest": _digest(text, tensors),
    }
    return save_tensors(tensors, metadata)


def _encode_names(
    keys: NDArray[np.uint64], schema: TableSchema, songs: Iterable[Song]
) -> NDArray[np.uint8]:
    by_key = {item_key(song.song_id, schema.key_bits): song for song in songs}
    found = (by_key.get(int(key)) for key in keys)
    rows = [None if song is None else [song.song_id, song.title, song.artist] for song in found]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


def save_model(
    path: Path, charter: Charter, model: ModelView, write: Callable[[Path, bytes], None]
) -> None:
    """Write a model file; `write` replaces a file atomically (`openfl.core.atomic_files`)."""
    write(path, encode_model(charter, model))


def load_model(path: Path | str) -> DenseModel:
    """The model in a file, with its charter. StateError: missing, unreadable or damaged."""
    return load_named_model(path).model


def load_named_model(path: Path | str) -> NamedModel:
    """`load_model`, with the names of its songs."""
    path = Path(path)
    try:
        data = _read(path)
    except FileNotFoundError:
        raise StateError(f"{path}: no such model file") from None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return decode_named_model(data)
    except StateError as error:
        raise StateError(f"{path}: not a usable model file: {error}") from error


def _read(path: Path) -> bytes:
    """The whole file, unless it is none, or too large; OSError or StateError."""
    with open_named(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_MODEL_BYTES:
            raise StateError(f"{path}: larger than any model file ({MAX_MODEL_BYTES} bytes)")
        start = file.read(8)
        header = int.from_bytes(start, "little")
        if len(start) < 8 or header > min(MAX_HEADER_BYTES, size - 8):
            raise StateError(f"{path}: not a usable model file: it is cut short, or another kind")
        return start + file.read(size - 8)


def decode_model(data: bytes) -> DenseModel:
    """The model that `encode_model` encoded. StateError says what is wrong with `data`."""
    return decode_named_model(data).model


def decode_named_model(data: bytes) -> NamedModel:
    """`decode_model`, with the names of its songs."""
    try:
        tensors = load_tensors(data)
        header_bytes = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_bytes]).get("__metadata__")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"it is damaged, or of another kind ({error})") from error
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        metadata = {}
    return _checked(metadata, tensors)


def _checked(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[np.generic]]) -> NamedModel:
    if metadata.get("format") != FORMAT:
        raise StateError(f"its format is {metadata.get('format', 'missing')[:40]}, not {FORMAT}")
    text = metadata.get("charter", "")
    if metadata.get("digest") != _digest(text, tensors):
        raise StateError("its content does not match its digest")
    try:
        charter = charter_from_plain(json.loads(text, parse_constant=_refused))
    except (DecodeError, ValueError, RecursionError) as error:
        raise StateError(f"its charter cannot be read ({error})") from error
    if charter.group_id != metadata.get("group_id"):
        raise StateError("its charter does not match its group id")
    expected = {f"{schema.name}.{part}" for schema in charter.tables for part in _PARTS}
    may_have = {f"{schema.name}.{NAMES}" for schema in charter.tables}
    if not expected <= set(tensors) <= expected | may_have:
        raise StateError("its tables are not those of its charter")
    tables: dict[str, DenseTable] = {}
    for schema in charter.tables:
        parts: dict[str, Any] = {part: tensors[f"{schema.name}.{part}"] for part in _PARTS}
        if any(parts[part].dtype != kind for part, kind in _PARTS.items()):
            raise StateError(f"table {schema.name} holds another type of numbers")
        count = parts["keys"].size
        shapes = {"keys": (count,), "rows": (count, schema.width), "evidence": (count,)}
        if any(parts[part].shape != shape for part, shape in shapes.items()):
            raise StateError(f"table {schema.name}: its arrays do not match {count} keys")
        table = DenseTable(**parts)
        if not _is_possible(table, schema):
            raise StateError(f"table {schema.name} holds impossible values")
        tables[schema.name] = table
    try:
        model = DenseModel(charter, tables)
    except ValueError as error:
        raise StateError(str(error)) from error
    names = {
        schema.name: _decode_names(tensors[name], model.keys(schema.name), schema)
        for schema in charter.tables
        if (name := f"{schema.name}.{NAMES}") in tensors
    }
    return NamedModel(model, names)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _is_possible(table: DenseTable, schema: TableSchema) -> bool:
    """Numbers that a replica could have computed; NaN fails every comparison."""
    if not len(table.keys):
        return True
    return bool(
        table.rows.size
        and np.abs(table.rows).max() <= schema.value_limit
        and table.evidence.min() > 0
        and table.evidence.max() < np.inf
        and int(table.keys.max()) >> schema.key_bits == 0
    )


def _decode_names(
    tensor: NDArray[np.generic], keys: NDArray[np.uint64], schema: TableSchema
) -> Catalogue:
    if tensor.dtype != np.uint8 or tensor.ndim != 1:
        raise StateError(f"the names of table {schema.name} are not text")
    try:
        rows = msgspec.json.decode(tensor.tobytes(), type=list[_Name | None], strict=True)
    except (ValueError, RecursionError) as error:
        raise StateError(f"the names of table {schema.name} cannot be read ({error})") from error
    if len(rows) != len(keys):
        raise StateError(f"table {schema.name} has {len(rows)} names for {len(keys)} rows")
    songs: dict[str, Song] = {}
    for key, row in zip(keys, rows, strict=True):
        if row is None:
            continue
        song_id, title, artist = row
        if not song_id or not is_key_of(int(key), song_id, schema.key_bits):
            raise StateError(f"table {schema.name}: a name does not belong to its row")
        if item_key(song_id, schema.key_bits) == int(key):  # or no id of today leads to the row
            songs[song_id] = Song(song_id, title or song_id, artist)
    return Catalogue(songs)


def _digest(charter: str, tensors: Mapping[str, NDArray[np.generic]]) -> str:
    state = hashlib.blake2b(charter.encode(errors="backslashreplace"), digest_size=32)
    for name in sorted(tensors):
        array = tensors[name]
        state.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()
