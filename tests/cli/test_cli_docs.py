"""docs/cli.md says what the commands do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_fakes import make_snapshot

from openfl_cli import exit_codes, main
from openfl_cli.commands import COMMANDS
from openfl_cli.status_json import status_json

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_every_exit_code_is_documented_in_the_same_words() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"| {code} | {meaning} |" in text


def test_every_key_of_status_json_is_documented() -> None:
    def keys(plain: object) -> set[str]:
        if isinstance(plain, dict):
            return set(plain).union(*map(keys, plain.values()))
        return set().union(*map(keys, plain)) if isinstance(plain, list) else set()

    text = DOCS.read_text(encoding="utf-8")
    plain = status_json(make_snapshot(), running=True)
    assert [key for key in keys(plain) if f'"{key}"' not in text] == []


@pytest.mark.parametrize("command", [command.NAME for command in COMMANDS])
def test_every_option_is_documented(command: str) -> None:
    parser = main.build_parser()
    (commands,) = (action for action in parser._actions if action.dest == "command")
    assert commands.choices is not None
    helped = commands.choices[command].format_help()  # type: ignore[index]
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", helped, re.MULTILINE))
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in options - {"--help"} if name not in text] == []
