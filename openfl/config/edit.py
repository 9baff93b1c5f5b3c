"""Single settings changed in the text of a configuration file; all else in it stays as it stands.

Every change is checked against what it should have come to: the file read before, with that one
setting changed. So no guess about a file's form can change more of it.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openfl.config.load import load_config
from openfl.config.render import toml_value
from openfl.config.settings import Value
from openfl.core.errors import ConfigError

_HEADER = re.compile(r"\s*\[")

SHORT_HEAD = """\
# Configuration of an OpenFL node: only what differs from the defaults.
# `openfl-node config reference` explains every setting, `openfl-node config show` prints what is in
# force. Change one with `openfl-node config set KEY VALUE`, or here.
"""
"""The first lines of a file that holds only what was asked for."""


def with_setting(text: str, key: str, value: Value) -> str:
    """The TOML `text` with "section.key" at `value`: where it stands already, else in the place of
    the comment that shows its default, else at the end of its section. ConfigError when the text is
    no TOML, or of a form in which there is no place for it."""
    before = _parsed(text)
    wanted = copy.deepcopy(before)
    _put(wanted, key, value)
    for changed in _ways_to_set(text, before, key, value):
        if _is(changed, wanted):
            return changed
    raise ConfigError(f"{key}: there is no place for it in this file; write it there by hand")


def without_setting(text: str, key: str) -> str:
    """The TOML `text` without "section.key", which need not be a setting that is known; KeyError
    when it is not there, ConfigError as `with_setting`."""
    before = _parsed(text)
    wanted = copy.deepcopy(before)
    _take_out(wanted, key)
    for changed in _ways_to_unset(text, key):
        if _is(changed, wanted):
            return changed
    raise ConfigError(f"{key}: cannot be taken out of this file; do it by hand")


def problems_of(file: Path, text: str, environ: Mapping[str, str]) -> list[str]:
    """What the loader would say of `file` if it held `text`; of `environ` only HOME counts."""
    try:
        load_config(file, {k: v for k, v in environ.items() if k == "HOME"}, {}, text=text)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}") from None


def _is(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return _full(tomllib.loads(text)) == _full(wanted)
    except (ValueError, RecursionError):
        return False


def _full(table: dict[str, Any]) -> dict[str, Any]:
    """Without tables in which there is nothing: one may go with its last setting, or stay."""
    inner = {k: _full(v) if isinstance(v, dict) else v for k, v in table.items()}
    return {key: value for key, value in inner.items() if value != {}}


def _put(document: dict[str, Any], key: str, value: Value) -> None:
    *tables, name = key.split(".")
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise ConfigError(f"{key}: {table} is no section in this file")
    document[name] = list(value) if isinstance(value, tuple) else value


def _take_out(document: dict[str, Any], key: str) -> None:
    """KeyError when there is no such key."""
    *tables, name = key.split(".")
    for table in tables:
        inner = document[table]
        if not isinstance(inner, dict):
            raise KeyError(key)
        document = inner
    del document[name]


def _ways_to_set(text: str, before: dict[str, Any], key: str, value: Value) -> Iterator[str]:
    """Texts that may be what is wanted, the best first."""
    section, _, name = key.partition(".")
    line = f"{name} = {toml_value(value)}"
    there = copy.deepcopy(before)
    try:
        _take_out(there, key)
    except KeyError:
        yield from _ways_to_add(text, section, name, line)
    yield from _by_tomlkit(text, key, value)


def _ways_to_add(text: str, section: str, name: str, line: str) -> Iterator[str]:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    start, end = _section(lines, section)
    if start is None:
        gap = newline if text.strip() else ""
        whole = text if not text or text.endswith("\n") else text + newline
        yield f"{whole}{gap}[{section}]{newline}{line}{newline}"
        return
    default = re.compile(rf"#\s?{re.escape(name)}\s*=")
    last = start
    for number in range(start + 1, end):
        if default.match(lines[number]):
            yield "".join([*lines[:number], line + newline, *lines[number + 1 :]])
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            last = number
    head = lines[: last + 1]
    if not head[-1].endswith("\n"):
        head[-1] += newline
    yield "".join([*head, line + newline, *lines[last + 1 :]])


def _ways_to_unset(text: str, key: str) -> Iterator[str]:
    section, _, name = key.partition(".")
    lines = text.splitlines(keepends=True)
    start, end = _section(lines, section)
    own = re.compile(rf"\s*{re.escape(name)}\s*=")
    for number in range(end if start is None else start + 1, end):
        if own.match(lines[number]):
            default = _shown_default(lines[number - 1], name)
            yield "".join([*lines[:number], *default, *lines[number + 1 :]])
    import tomlkit  # here: only whoever changes a file needs it
    from tomlkit.exceptions import TOMLKitError

    with suppress(TOMLKitError, KeyError, TypeError, ValueError):
        document: Any = tomlkit.parse(text)
        _take_out(document, key)
        yield document.as_string()


def _shown_default(explanation: str, name: str) -> list[str]:
    """The comment that shows the default, when the line above tells it as `init --full` does."""
    told = re.match(r"#.*; default (.+)\.(\r?\n)$", explanation)
    return [f"#{name} = {told[1]}{told[2]}"] if told else []


def _section(lines: list[str], section: str) -> tuple[int | None, int]:
    """(the line of its header, None without one; the line after its last)."""
    header = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?$")
    start = next((n for n, line in enumerate(lines) if header.match(line.rstrip("\r\n"))), None)
    if start is None:
        return None, len(lines)
    after = (n for n in range(start + 1, len(lines)) if _HEADER.match(lines[n]))
    return start, next(after, len(lines))


def _by_tomlkit(text: str, key: str, value: Value) -> Iterator[str]:
    import tomlkit  # here: only whoever changes a file needs it
    from tomlkit.exceptions import TOMLKitError

    # Of a form that it does not take, there is no way by it.
    with suppress(TOMLKitError, KeyError, TypeError, ValueError):
        document: Any = tomlkit.parse(text)
        item = tomlkit.parse(f"x = {toml_value(value)}")["x"]
        *tables, name = key.split(".")
        table = document
        while tables and tables[0] in table:
            table = table[tables.pop(0)]
        name = ".".join([*tables, name])
        if "." in name:
            table.append(tomlkit.key(name.split(".")), item)
        else:
            table[name] = item
        yield document.as_string()
