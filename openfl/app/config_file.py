"""The configuration file of a home, changed by commands: checked as the loader does, then replaced
at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl.config.edit import SHORT_HEAD, problems_of, with_setting, without_setting
from openfl.config.settings import Value
from openfl.core.atomic_files import atomic_write, reason
from openfl.core.errors import ConfigError, StateError
from openfl.core.files import read_named

_MARK = b"\xef\xbb\xbf"
"""What editors on Windows put in front of UTF-8."""


@dataclass(frozen=True, slots=True)
class Changed:
    """still_wrong: what the loader says of the file, and said before."""

    file: Path
    still_wrong: tuple[str, ...] = ()


def change_config(
    file: Path, changes: Mapping[str, Value | None], environ: Mapping[str, str]
) -> Changed:
    """Set each "section.key" in `file` to its value (checked before, `openfl.config.parse_value`),
    or take it out (None). A file that is not there is made, with only that in it.

    ConfigError: the loader would refuse what comes of it for a reason that was not there before, or
    what is to be taken out is not in it. StateError: it cannot be read or written. Then nothing
    was changed.
    """
    # What is at the end of a link is replaced, not the link.
    file = Path(os.path.realpath(file))
    before, mark = _read(file)
    text = before if before is not None else SHORT_HEAD
    for key, value in changes.items():
        try:
            text = without_setting(text, key) if value is None else with_setting(text, key, value)
        except KeyError:
            raise ConfigError(f"{key}: is not set in {file}") from None
        except RecursionError:
            raise ConfigError(f"{file}: not a configuration: nested too deeply") from None
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
    old = [] if before is None else problems_of(file, before, environ)
    new = problems_of(file, text, environ)
    if more := [problem for problem in new if problem not in old]:
        raise ConfigError("\n".join(more))
    mode = 0o600
    if before is not None:
        mode = stat.S_IMODE(file.stat().st_mode)
    atomic_write(file, (_MARK if mark else b"") + text.encode(), mode)
    return Changed(file, tuple(new))


def _read(file: Path) -> tuple[str | None, bool]:
    """(text, whether a byte order mark is in front of it); None when there is no such file."""
    try:
        data = read_named(file)
        return data.removeprefix(_MARK).decode("utf-8"), data.startswith(_MARK)
    except FileNotFoundError:
        return None, False
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8 text") from None
    except OSError as error:
        raise StateError(f"{file}: cannot be read: {reason(error)}") from error
