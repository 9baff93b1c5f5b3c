"""How a node was started: kept in its home, so that it can be started in the same way again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openfl.core.errors import StateError
from openfl_cli.text import to_json

FORMAT = 1
MAX_BYTES = 1_000_000
_NOT_KEPT = frozenset({"OPENFL_HOME", "OPENFL_FAULT_POINT"})
_DROPPED = ("--detach", "--stop-with-stdin")
"""Whoever starts it again is not who started it: nobody's standard input says when it is to end."""
_HIDDEN = ("--home", "--ready-fd", "--service")
"""Options of `start` with a value that are not of the way it is to be started again."""


@dataclass(frozen=True, slots=True)
class LastStart:
    """`arguments` of `start`, without its home; `folder` that relative paths are taken from;
    `environment`: the variables that begin with OPENFL_."""

    arguments: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    service: str = ""
    """The service that ran it, as `openfl-node service` calls it; empty: none."""

    @classmethod
    def of(
        cls,
        argv: Sequence[str],
        folder: str,
        environ: Mapping[str, str],
        service: str = "",
        whole: Mapping[str, str] | None = None,
    ) -> LastStart:
        """argv: the command line behind `openfl-node`, `start` included. whole: `host:port` given
        as a bootstrap -> the address with the peer that was confirmed there, to be taken instead:
        nobody confirms it again."""
        kept = {
            name: text
            for name, text in sorted(environ.items())
            if name.startswith("OPENFL_") and name not in _NOT_KEPT
        }
        arguments = _with_whole(start_arguments(argv), whole or {})
        return cls(tuple(arguments), folder, kept, service)

    def environment_over(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with these variables in the place of its own that begin with OPENFL_."""
        others = {name: text for name, text in environ.items() if not name.startswith("OPENFL_")}
        return {**others, **self.environment}


def _with_whole(arguments: list[str], whole: Mapping[str, str]) -> list[str]:
    words = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        option, equals, text = word.partition("=")
        if before == "--bootstrap":
            word = whole.get(word, word)
        elif equals and option == "--bootstrap":
            word = f"{option}={whole.get(text, text)}"
        words.append(word)
    return words


def start_arguments(argv: Sequence[str]) -> list[str]:
    """What stands behind `start`, but for the home and for how it is run."""
    rest = list(argv)
    while rest and rest[0] != "start":
        del rest[0 : 2 if rest[0] == "--home" else 1]
    kept: list[str] = []
    skip = False
    for word in rest[1:]:
        if skip:
            skip = False
        elif word in _HIDDEN:
            skip = True
        elif word not in _DROPPED and not word.startswith(tuple(f"{name}=" for name in _HIDDEN)):
            kept.append(word)
    return kept


def working_folder() -> str:
    """The folder this process is in; / when it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def save(home: Path, start: LastStart) -> None:
    """StateError when it cannot be written."""
    # Here, as below: --help needs neither, nor does Windows have what they stand on.
    from openfl.app.home_folder import Home
    from openfl.core.atomic_files import atomic_write

    plain = {
        "format": FORMAT,
        "arguments": list(start.arguments),
        "folder": start.folder,
        "environment": dict(start.environment),
        "service": start.service,
    }
    atomic_write(Home(home).start_file, to_json(plain, indent=1).encode() + b"\n")


def load(home: Path) -> LastStart | None:
    """None when no node was started here, or by an earlier version. StateError when it cannot be
    read."""
    from openfl.app.home_folder import Home
    from openfl.core.files import open_own

    path = Home(home).start_file
    try:
        with os.fdopen(open_own(path), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        if len(data) > MAX_BYTES:
            raise ValueError
        return _from_plain(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateError(
            f"{path}: does not say how the node was started: remove it, and start the node anew"
        ) from None


def _from_plain(plain: Any) -> LastStart:
    arguments, environment = plain["arguments"], plain["environment"]
    texts = [plain["folder"], plain["service"], *arguments, *environment, *environment.values()]
    if plain["format"] != FORMAT or not isinstance(arguments, list):
        raise ValueError
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError
    if not all(name.startswith("OPENFL_") for name in environment):
        raise ValueError  # none that says what is run
    return LastStart(tuple(arguments), plain["folder"], dict(environment), plain["service"])
