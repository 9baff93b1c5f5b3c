"""What one setting is: its meaning, unit, range, and how a value of it is checked.

Rules of this file: a `Setting` describes, it never reads a file or the environment. `parse` takes
the text of an environment variable, `check` takes a typed value (from TOML or from a caller); both
give the value to use or raise `Problem` with the second half of an error line ("must be >= 0, got
-3"). Who is to blame - file, variable, option - is put in front of it by the loader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Value = bool | int | float | str | tuple[str, ...]
T = TypeVar("T", bool, int, float, str, tuple[str, ...])

METADATA_KEY = "openfl"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LONGEST_SHOWN = 80


class Problem(Exception):
    """A value cannot be used; the text says what it must be and what it was."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration.

    `minimum` and `maximum` are inclusive unless `above_minimum`. `choices` may be a view that grows
    when something is registered. `check_text` gets each string (of
    a list: each entry) and returns None or what it must be. `path`: a relative value is taken from
    the folder of the file it stands in, or from the working folder.
    """

    default: Value
    meaning: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above_minimum: bool = False
    choices: Collection[str] = ()
    allowed: str = ""
    """Words for what `check_text` accepts, for the reference."""
    check_text: Callable[[str], str | None] | None = None
    path: bool = False

    @property
    def type_name(self) -> str:
        """The type in words, for the reference: `whole number`, `list of texts`."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, int):
            return "whole number"
        if isinstance(self.default, float):
            return "number"
        return "text" if isinstance(self.default, str) else "list of texts"

    @property
    def range_text(self) -> str:
        """What is allowed, in words: `0 to 65535`, `above 0`, `text or json`."""
        if self.choices:
            return " or ".join(f'"{choice}"' for choice in self.choices)
        if self.allowed:
            return self.allowed
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            start = f"above {number_text(low)}, up to" if self.above_minimum else number_text(low)
            joint = "" if self.above_minimum else " to"
            return f"{start}{joint} {number_text(high)}"
        if low is not None:
            return (
                f"above {number_text(low)}" if self.above_minimum else f"{number_text(low)} or more"
            )
        return f"up to {number_text(high)}" if high is not None else ""

    def parse(self, text: str) -> Value:
        """The value that `text` (an environment variable) stands for; Problem when it has none."""
        stripped = text.strip()
        if isinstance(self.default, bool):
            if stripped.lower() in _TRUE:
                return self.check(True)
            if stripped.lower() in _FALSE:
                return self.check(False)
            raise Problem(f"must be true or false, got {shown(text)}")
        if isinstance(self.default, int):
            try:
                return self.check(int(stripped))
            except ValueError:
                raise Problem(f"must be a whole number, got {shown(text)}") from None
        if isinstance(self.default, float):
            try:
                return self.check(float(stripped))
            except ValueError:
                raise Problem(f"must be a number, got {shown(text)}") from None
        if isinstance(self.default, tuple):
            return self.check([part.strip() for part in text.split(",") if part.strip()])
        return self.check(text)

    def check(self, value: object) -> Value:
        """`value` in the type of this setting and inside its range; Problem otherwise."""
        default = self.default
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise Problem(f"must be true or false, got {shown(value)}")
            return value
        if isinstance(default, int):
            if isinstance(value, bool) or not isinstance(value, int):
                raise Problem(f"must be a whole number, got {shown(value)}")
            self._check_range(value)
            return value
        if isinstance(default, float):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Problem(f"must be a number, got {shown(value)}")
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                raise Problem(f"must be a finite number, got {shown(value)}")
            self._check_range(number)
            return number
        if isinstance(default, str):
            if not isinstance(value, str):
                raise Problem(f"must be text in quotes, got {shown(value)}")
            self._check_string(value)
            return value
        if not isinstance(value, list | tuple):
            raise Problem(f"must be a list of texts, got {shown(value)}")
        for entry in value:
            if not isinstance(entry, str):
                raise Problem(f"must be a list of texts, got the entry {shown(entry)}")
            self._check_string(entry)
        return tuple(value)

    def _check_range(self, number: float) -> None:
        low, high = self.minimum, self.maximum
        if low is not None and self.above_minimum and number <= low:
            raise Problem(f"must be > {number_text(low)}, got {number_text(number)}")
        if low is not None and number < low:
            raise Problem(f"must be >= {number_text(low)}, got {number_text(number)}")
        if high is not None and number > high:
            raise Problem(f"must be <= {number_text(high)}, got {number_text(number)}")

    def _check_string(self, text: str) -> None:
        if any(character < " " or character == "\x7f" for character in text):
            raise Problem(f"must not hold control characters, got {shown(text)}")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise Problem("must be valid UTF-8 text")
        if self.choices and text not in self.choices:
            raise Problem(f"must be {self.range_text}, got {shown(text)}")
        if self.check_text is not None and (complaint := self.check_text(text)) is not None:
            raise Problem(f"{complaint}, got {shown(text)}")


def setting(
    default: T,
    meaning: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above_minimum: bool = False,
    choices: Collection[str] = (),
    allowed: str = "",
    check_text: Callable[[str], str | None] | None = None,
    path: bool = False,
) -> T:
    """A dataclass field that carries its `Setting` as metadata."""
    described = Setting(
        default=default,
        meaning=meaning,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        above_minimum=above_minimum,
        choices=choices,
        allowed=allowed,
        check_text=check_text,
        path=path,
    )
    return field(default=default, metadata={METADATA_KEY: described})


def setting_of(metadata: Mapping[Any, Any]) -> Setting:
    """The `Setting` in the metadata of a dataclass field."""
    found = metadata[METADATA_KEY]
    assert isinstance(found, Setting)
    return found


def shown(value: object) -> str:
    """A value as an error line shows it: quoted when text, cut when long, always one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def number_text(number: float) -> str:
    """The shortest exact decimal: `3` rather than `3.0`."""
    if isinstance(number, int) or (abs(number) < 1e15 and number == int(number)):
        return str(int(number))
    return repr(number)
