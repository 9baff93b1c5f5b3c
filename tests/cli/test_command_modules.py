"""Each module of commands/ has the same two functions; everything else in it says what it is."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

from openfl_cli.commands import COMMANDS

OF_ALL_COMMANDS = {"add_arguments", "run"}


def functions_of(module: object) -> list[str]:
    """The public functions that are defined in `module`."""
    assert isinstance(module, ModuleType)
    return [
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_a_command_has_its_two_functions_and_describes_all_others(command: object) -> None:
    functions = functions_of(command)
    assert set(functions) >= OF_ALL_COMMANDS
    others = set(functions) - OF_ALL_COMMANDS
    assert [name for name in others if not getattr(command, name).__doc__] == []
