"""Changes of the configuration file, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from openfl_cli import options

if TYPE_CHECKING:
    from openfl.config.settings import Value


def change(
    home: Path, file: Path, changes: Mapping[str, Value | None], *, told: bool = True
) -> None:
    """Change `file` (see `openfl.app.config_file.change_config`), and say what was set (unless not
    `told`), what still hides it, and when it begins to count."""
    from openfl.app.config_file import change_config
    from openfl.app.home_folder import Home, is_locked
    from openfl.config import env_name, toml_value

    if file.parent == home:
        Home(home).prepare()
    changed = change_config(file, changes, os.environ)
    for key, value in changes.items() if told else ():
        print(f"{key} {'is unset' if value is None else f'= {toml_value(value)}'}")
    if told:
        print(f"written  {changed.file}")
    for key in changes:
        if env_name(key) in os.environ:
            options.note(f"{env_name(key)} is set, and wins over the file")
    for problem in changed.still_wrong:
        options.note(f"still wrong: {problem}")
    if is_locked(home):
        again = f"openfl-node restart{options.home_option(home)}"
        options.note(f"the node that runs goes on as it was started, until: {again}")
