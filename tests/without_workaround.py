"""A pytest plugin for `make defects`: takes away what works around a defect of py-libp2p.

    python -m pytest -p tests.without_workaround --take-away STEP [--take-away STEP ...] TEST

The steps of each defect stand in openfl/network/libp2p/defects, which says what they mean. Fresh
interpreters that a test starts find them in the environment (`take_away_what_is_asked_for`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable
from typing import Any

from tests import patience

ROOT = "openfl.network.libp2p"
VARIABLE = "TESTS_WITHOUT_WORKAROUND"


def find(name: str) -> tuple[Any, str]:
    """(what holds it, its name there) of `module:name` or `module:Class.name`, below ROOT unless it
    begins with `tests.`; LookupError when there is no such thing."""
    module, _, path = name.partition(":")
    module = module if module.startswith(("tests.", "openfl.")) else f"{ROOT}.{module}"
    holder: Any = importlib.import_module(module)
    *outer, last = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    there = holder if isinstance(holder, dict) else vars(holder)
    if last not in there:
        raise LookupError(f"there is no {name}")
    return holder, last


def take_away(step: str) -> None:
    """Do one step of `Defect.without`."""
    match step.split():
        case ["delete", name]:
            holder, last = find(name)
            delattr(holder, last)
        case ["drop", name]:
            holder, last = find(name)
            del holder[last]
        case ["skip", name]:
            holder, last = find(name)
            setattr(holder, last, _does_nothing(getattr(holder, last)))
        case ["pass", name]:
            holder, last = find(name)
            place = 1 if inspect.isclass(holder) else 0
            setattr(holder, last, lambda *arguments, **_: arguments[place])
        case ["swap", name, "for", other]:
            holder, last = find(name)
            theirs, its_name = find(other)
            setattr(holder, last, getattr(theirs, its_name))
        case _:
            raise ValueError(f"no such step: {step}")


def _does_nothing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*arguments: Any, **keywords: Any) -> None:
        return None

    @functools.wraps(function)
    async def waiting(*arguments: Any, **keywords: Any) -> None:
        return None

    return waiting if inspect.iscoroutinefunction(function) else plain


def take_away_what_is_asked_for() -> None:
    """By the environment; nothing when nothing is."""
    for step in filter(None, os.environ.get(VARIABLE, "").split(";")):
        take_away(step)


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--take-away", metavar="STEP", action="append", default=[])
    parser.addoption("--patience", metavar="SECONDS", type=float, default=0.0)


def pytest_load_initial_conftests(early_config: Any) -> None:
    # Before anybody takes it as a default argument.
    if early_config.known_args_namespace.patience:
        patience.PATIENCE_SECONDS = early_config.known_args_namespace.patience


def pytest_configure(config: Any) -> None:
    os.environ[VARIABLE] = ";".join(config.getoption("--take-away"))
    take_away_what_is_asked_for()
