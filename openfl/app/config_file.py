"""The configuration file of a home, changed by commands: checked as the loader does, then replaced
at once."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openfl.config.edit import SHORT_HEAD, problems_of, with_setting, without_setting
from openfl.config.settings import Value
from openfl.core.atomic_files import atomic_write, reason
from openfl.core.errors import ConfigError, StateError
from openfl.core.files import read_named

_TRIES = 50
_PAUSE_SECONDS = 0.02
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
    what is to be taken out is not in it. StateError: it cannot be read or written, or somebody else
    changes it at this moment. Then nothing was changed.
    """
    # What is at the end of a link is replaced, not the link.
    file = Path(os.path.realpath(file))
    with _alone(file):
        return _change(file, changes, environ)


def _change(file: Path, changes: Mapping[str, Value | None], environ: Mapping[str, str]) -> Changed:
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
    if _read(file) != (before, mark):
        raise StateError(f"{file}: was changed by another program meanwhile; try again")
    mode = 0o600
    if before is not None:
        mode = stat.S_IMODE(file.stat().st_mode)
    atomic_write(file, (_MARK if mark else b"") + text.encode(), mode)
    return Changed(file, tuple(new))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """No other command of ours changes `file` during the block: what each reads, it replaces."""
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateError(f"{file}: cannot be saved: {reason(error)}") from error
    try:
        for left in reversed(range(_TRIES)):
            try:
                # Of the folder: the file itself is replaced by another.
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise StateError(f"{file}: another command is changing it; try again") from None
            except OSError:
                break  # a file system without locks
            time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(folder)


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
