"""`load_config` for programs that embed a node: settings as values, a file, or both."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openfl.config import load
from openfl.config.sections import Config
from openfl.core.errors import ConfigError


def load_config(
    settings: Mapping[str, Any] | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration of a node; docs/configuration.md lists the settings.

    `settings`: `{"training.rounds": 10}`, or by section as in the file, `{"training": {"rounds":
    10}}`; a path may be a `Path`. They go before `environ` (`OPENFL_TRAINING_ROUNDS`; pass
    `os.environ` to heed it), which goes before the TOML `file`. Relative paths are taken from the
    file's folder, or else from the working folder. ConfigError lists every problem, one a line.
    """
    try:
        return load.load_config(
            None if file is None else Path(file), environ or {}, dict(_flat(settings or {}))
        )
    except ConfigError as error:
        # What the loader knows as options of a command are values of a program here.
        text = re.sub(r"^command line: ", "settings: ", str(error), flags=re.MULTILINE)
        raise ConfigError(text) from None


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield f"{key}.{name}", _plain(inner)
        else:
            yield key, _plain(value)


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
