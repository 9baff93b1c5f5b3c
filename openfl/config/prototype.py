"""The `config.json` of the first prototype, which had eleven keys, as settings of today."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openfl.config.load import PROTOTYPE_NAMES, all_settings, parse_value
from openfl.config.settings import Problem, Value, shown
from openfl.core.errors import ConfigError
from openfl.core.files import open_named

MAX_BYTES = 1 << 20

KEYS: Mapping[str, str] = {
    "host": "network.host",
    "port": "network.port",
    **PROTOTYPE_NAMES,
}
"""Every key that the prototype had -> the setting that it is now."""


@dataclass(frozen=True, slots=True)
class FromPrototype:
    """taken: key of the prototype -> (setting, value). left: key -> why it is not taken.
    remarks: key that is taken -> what is other than it was. addresses: `host:port` of peers, which
    do not say who is there."""

    taken: Mapping[str, tuple[str, Value]]
    left: Mapping[str, str]
    remarks: Mapping[str, str]
    addresses: tuple[str, ...]


def read_prototype(file: Path, environ: Mapping[str, str]) -> FromPrototype:
    """What the prototype's file says; relative paths are taken from its folder. ConfigError when it
    cannot be read, or is not an object of which at least one key is the prototype's."""
    taken: dict[str, tuple[str, Value]] = {}
    left: dict[str, str] = {}
    remarks: dict[str, str] = {}
    addresses: list[str] = []
    value: object
    for name, raw in _object(file).items():
        key = KEYS.get(_plain(name))
        if key is None:
            left[name] = "is no key of the prototype"
            continue
        try:
            if key == "network.bootstrap":
                value, own = _peers(raw)
                addresses += own
                if own:
                    left[name] = (
                        f"{len(own)} of them say where, and not who is there: add each with"
                        " `openfl-node bootstrap add HOST:PORT`"
                    )
                if not value:
                    continue
            else:
                value = _converted(key, raw)
            taken[name] = key, _checked(key, value, file.absolute().parent, environ)
        except Problem as problem:
            left[name] = str(problem)
            continue
        if key in ("network.port", "training.rounds") and raw == 0:
            remarks[name] = {
                "network.port": "0 picks a free port now, and keeps it",
                "training.rounds": "0 goes on until the node is stopped now",
            }[key]
    if not {_plain(name) for name in {*taken, *left}} & KEYS.keys():
        raise ConfigError(f"{file}: none of its keys is one of the prototype's: {', '.join(KEYS)}")
    return FromPrototype(taken, left, remarks, tuple(addresses))


def _object(file: Path) -> dict[str, Any]:
    try:
        with open_named(file) as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{file}: is larger than any configuration of the prototype")
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: must be one object, {{...}}, got {shown(document)}")
    return document


def _plain(name: str) -> str:
    """`auto-start training` and `autoStartTraining` are `auto_start_training`."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    name = re.sub(r"[\s_-]+", "_", name).lower()
    return "num_recommendations" if name == "number_of_recommendations" else name


def _converted(key: str, raw: object) -> object:
    """`raw` as the setting takes it, where that differs. Problem: there is no such thing now."""
    if key == "network.host" and isinstance(raw, str) and raw.lower() == "localhost":
        return "127.0.0.1"
    if key == "model.file" and isinstance(raw, str) and not raw.endswith(".safetensors"):
        raise Problem(
            f"models are safetensors files now, and {shown(raw)} is none: pickled ones are not"
            " read; the model will be in model.safetensors"
        )
    if key == "recommend.user":
        if isinstance(raw, int) and not isinstance(raw, bool):
            return str(raw)  # ids are text now
        return "" if raw is None else raw
    return raw


def _checked(key: str, value: object, folder: Path, environ: Mapping[str, str]) -> Value:
    described = all_settings()[key]
    value = described.check(value)
    if not described.path or not isinstance(value, str) or not value:
        return value
    try:
        return parse_value(key, [value], environ, cwd=folder)
    except ConfigError as error:
        raise Problem(str(error)) from None


def _peers(raw: object) -> tuple[list[str], list[str]]:
    """(multiaddrs that say who is there, `host:port` of the others). Problem: it is no list."""
    if not isinstance(raw, list):
        raise Problem(f"must be a list, got {shown(raw)}")
    check: Callable[[str], str | None] | None = all_settings()["network.bootstrap"].check_text
    assert check is not None
    whole: list[str] = []
    places: list[str] = []
    for entry in raw:
        if isinstance(entry, dict):
            entry = [entry.get("host"), entry.get("port")]
        if isinstance(entry, list) and len(entry) == 2:
            entry = f"{entry[0]}:{entry[1]}"
        if not isinstance(entry, str):
            raise Problem(f"must be a list of addresses, got the entry {shown(entry)}")
        if check(entry) is None:
            whole.append(entry)
        elif re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}", entry):
            places.append(entry)
        else:
            raise Problem(f"must be a list of addresses, got the entry {shown(entry)}")
    return whole, places
