"""`start --data` with an export: it is read by `data convert`, in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.files import expanded
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.config import Config


def with_exports(arguments: argparse.Namespace, config: Config, home: Path) -> Config | int:
    """`config`; where its data is an export, with what that holds, kept in the home folder. When no
    `task.kind` or `task.items` is set, it is then the one that fits.

    An exit code when the export cannot be read; why, is said already.
    """
    paths = [expanded(path).absolute() for path in arguments.data]
    if len(paths) < 2:
        if not config.data.ratings_file:
            return config
        paths = [Path(config.data.ratings_file)]
    from openfl.app.data_paths import is_to_be_taken
    from openfl.app.home_folder import Home, is_locked
    from openfl.config import with_values

    if is_locked(home) or not is_to_be_taken(config, paths):
        return config
    folder = Home(home)
    folder.prepare()
    told = _converted(arguments, home, paths, folder.data_folder)
    if isinstance(told, int):
        return told
    values = {"data.ratings_file": told["data_file"]}
    if config.origin("task.kind").kind == "default":
        values["task.kind"] = told["task"]
    # Members whose files come from other services call their songs otherwise.
    if config.origin("task.items").kind == "default":
        values["task.items"] = told["items_are"]
    config = with_values(config, values)
    for line in _lines(told, config):
        options.note(line)
    return config


def _converted(
    arguments: argparse.Namespace, home: Path, paths: Sequence[Path], folder: Path
) -> dict[str, Any] | int:
    """What `data convert` tells of itself as JSON; its exit code when it failed."""
    command = [sys.executable, "-m", "openfl_cli", "--home", str(home), "data", "convert"]
    command += ["--json", *(f"--set={setting}" for setting in arguments.set)]
    if arguments.config is not None:
        command.append(f"--config={arguments.config}")
    command += ["--", *map(str, paths), str(folder)]
    # With this very code importable.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()  # it cleans up; and is waited for
            raise
    if process.returncode:
        return process.returncode if process.returncode > 0 else exit_codes.STATE
    told: dict[str, Any] = json.loads(said)
    return told


def _lines(told: dict[str, Any], config: Config) -> Iterator[str]:
    """What was done, for the owner."""
    from openfl.config.kinds import FactorizationTask

    yield from told["assumed"]
    there = told["interactions"] - told["added"]
    new = f"{told['added']:,} new beside {there:,}" if there else f"{told['added']:,}"
    yield (
        f"{told['source']}: {new} plays, likes or ratings of {told['items']:,} items, kept in"
        f" {told['data_file']}; task.kind = {config.task.kind},"
        f" task.items = {config.own(FactorizationTask).items}"
    )
    if told["dropped"]:
        reason, rows = max(told["dropped"].items(), key=lambda each: each[1])
        yield (
            f"{sum(told['dropped'].values()):,} rows left out, {rows:,} of them: {reason}"
            " (`openfl-node data inspect` tells all)"
        )
