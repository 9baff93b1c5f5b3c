"""The kinds of learning that there are, as far as settings and words go.

`task.kind` accepts what is described here. A kind of OpenFL's own has a module in this folder and
a line in `_BUILT_IN`; others are described at run time, by `openfl.learning.kinds.register_kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from openfl.config.kinds.classification import (
    CLASSIFICATION,
    ClassificationData,
    ClassificationTask,
)
from openfl.config.kinds.description import Complaint, KindDescription
from openfl.config.kinds.factorization import FactorizationTask
from openfl.config.kinds.implicit import IMPLICIT, ImplicitData, ImplicitTask
from openfl.config.kinds.rating import RATING, RatingData, RatingTask

__all__ = [
    "CLASSIFICATION",
    "IMPLICIT",
    "KINDS",
    "RATING",
    "ClassificationData",
    "ClassificationTask",
    "Complaint",
    "FactorizationTask",
    "ImplicitData",
    "ImplicitTask",
    "KindDescription",
    "RatingData",
    "RatingTask",
    "describe",
    "forget",
    "kinds_with",
    "listed",
]

_BUILT_IN = (RATING, IMPLICIT, CLASSIFICATION)
_KNOWN: dict[str, KindDescription] = {}

KINDS: Mapping[str, KindDescription] = MappingProxyType(_KNOWN)
"""Name -> description, built-in kinds first."""


def describe(kind: KindDescription) -> None:
    """Make `kind` known. ValueError when its name, or a key of its settings, is taken."""
    if kind.name in _KNOWN:
        raise ValueError(f'there is a kind "{kind.name}" already')
    owners = {
        (section, f.name): settings
        for known in _KNOWN.values()
        for section, settings in known.settings
        for f in fields(settings)
    }
    for section, settings in kind.settings:
        for f in fields(settings):
            if owners.get((section, f.name), settings) is not settings:
                raise ValueError(f'kind "{kind.name}": {section}.{f.name} is of another kind')
    _KNOWN[kind.name] = kind


def forget(name: str) -> None:
    """Undo `describe`. KeyError when there is no such kind."""
    del _KNOWN[name]


def kinds_with(settings: type[object]) -> tuple[str, ...]:
    """The names of the kinds that these settings are of."""
    return tuple(k.name for k in _KNOWN.values() if any(s is settings for _, s in k.settings))


def listed() -> str:
    """The names of all kinds, for an error line about another: `rating, implicit, ...`."""
    return ", ".join(_KNOWN)


for _kind in _BUILT_IN:
    describe(_kind)
