"""The kinds of learning that there are: the one list of them.

To add one to OpenFL: its settings and words in `openfl/config/kinds/`, a folder here, and a line in
each of the two lists. To add one at run time: `register_kind(kind)`, before the configuration is
read (docs/tasks.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from openfl.config import Config, all_settings
from openfl.config import kinds as descriptions
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import ConfigError, GroupError
from openfl.learning.heads import Head
from openfl.learning.kind import Kind, Recommending
from openfl.learning.workload import Workload

_BUILT_IN = {"rating": "RATING", "implicit": "IMPLICIT", "classification": "CLASSIFICATION"}
"""Name -> what it is called in the module `kind` of the folder of that name."""


class _Kinds(Mapping[str, Kind]):
    """Those of OpenFL's own are imported when they are asked for: a node learns one kind."""

    def __init__(self) -> None:
        self._known: dict[str, Kind | None] = dict.fromkeys(_BUILT_IN)

    def __getitem__(self, name: str) -> Kind:
        kind = self._known[name]
        if kind is None:
            module = importlib.import_module(f"openfl.learning.{name}.kind")
            kind = self._known[name] = getattr(module, _BUILT_IN[name])
        return kind

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, kind: Kind) -> None:
        """From now on it is one of them."""
        self._known[kind.name] = kind

    def remove(self, name: str) -> None:
        """KeyError when it is none of them."""
        del self._known[name]


_KNOWN = _Kinds()

KINDS: Mapping[str, Kind] = _KNOWN
"""Name -> kind."""


def register_kind(kind: Kind) -> None:
    """Make `kind` known, so that `task.kind` may name it. ValueError when its name or a key of its
    settings is taken."""
    descriptions.describe(kind.description)
    try:
        all_settings()
    except ValueError:
        descriptions.forget(kind.name)
        raise
    _KNOWN.add(kind)


def unregister_kind(name: str) -> None:
    """Undo `register_kind`. KeyError when there is no such kind."""
    _KNOWN.remove(name)
    descriptions.forget(name)


def load_workload(config: Config, resumed: Charter | None = None) -> Workload:
    """The workload that `task.kind` asks for, on the configured data. `resumed`: of the group that
    the node was in before, and may go on in. DataError: the data is unusable. ConfigError: there is
    no such kind."""
    kind = KINDS.get(config.task.kind)
    if kind is None:
        raise ConfigError(
            f'task.kind: there is no kind "{config.task.kind}" (known: {descriptions.listed()})'
        )
    return kind.workload(config, kind.load(config, resumed))


def kind_of(charter: Charter) -> Kind:
    """The kind that a group learns; GroupError when it is not known here."""
    kind = KINDS.get(charter.task)
    if kind is None:
        raise GroupError(
            f'group "{charter.name}" learns "{charter.task}", a kind that is not known here'
            f" (known: {descriptions.listed()})"
        )
    return kind


def recommending(charter: Charter) -> Recommending:
    """How models of a group recommend; GroupError when they do not, or the kind is not known."""
    kind = kind_of(charter)
    if kind.recommends is None:
        raise GroupError(
            f'group "{charter.name}" learns "{charter.task}": it recommends no songs'
            f"{kind.asked_for_songs}"
        )
    return kind.recommends


def head_of(charter: Charter, model: ModelView) -> Head:
    """What answers from a group's model; GroupError as `recommending`, or when the charter is not
    usable."""
    return recommending(charter).head(charter, model)
