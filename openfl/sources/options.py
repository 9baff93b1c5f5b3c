"""What the owner says of a data file where it cannot be told from its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ROLES = ("user", "item", "rating", "plays", "time", "title", "artist")
"""What a column of a table can be."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """format: the name of a source; separator: between fields; encoding: a codec of Python. Empty:
    found out. columns: role (of `ROLES`) -> the name of a column, or its number from 1 on."""

    format: str = ""
    separator: str = ""
    encoding: str = ""
    columns: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
