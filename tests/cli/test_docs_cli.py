"""docs/cli-reference.md is what the parser says today."""

from __future__ import annotations

import argparse
import re

from openfl_cli.commands import COMMANDS
from scripts import docs_cli


def test_the_reference_is_the_one_that_the_parser_gives() -> None:
    assert docs_cli.PAGE.read_text(encoding="utf-8") == docs_cli.page(), "run `make docs-cli`"


def test_every_command_and_option_is_in_it() -> None:
    parser = docs_cli.build_parser()
    (commands,) = (action for action in parser._actions if action.dest == "command")
    text = docs_cli.page()
    assert isinstance(commands.choices, dict)
    for command in COMMANDS:
        part = text.partition(f"\n## {command.NAME}\n")[2].partition("\n## ")[0]
        options = {
            name
            for name, action in commands.choices[command.NAME]._option_string_actions.items()
            if name.startswith("--") and name not in ("--help", "--home")
            if action.help != argparse.SUPPRESS
        }
        named = set(re.findall(r"--[a-z][a-z-]*", part))
        assert options - named == set()
    assert argparse.SUPPRESS not in text  # what is hidden from --help is for the program itself


def test_the_table_of_commands_has_them_all() -> None:
    text = (docs_cli.PAGE.parent / "cli.md").read_text(encoding="utf-8")
    table = text.partition("\n## Commands\n")[2].partition("\n#")[0]
    named = {
        called.split()[0]
        for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for called in re.findall(r"`([^`]+)`", row)[:1]
    }
    assert named == {command.NAME for command in COMMANDS}


def test_placeholders_and_marks_of_markdown_become_plain_text() -> None:
    parser = argparse.ArgumentParser(prog="openfl-node")
    action = parser.add_argument(
        "--form", choices=("a", "b"), default="a", help="one of %(choices)s | *not* %(default)s"
    )
    assert docs_cli.called(action) == "`--form a|b`"
    assert docs_cli.cell(docs_cli.explained(action, parser)) == r"one of a, b \| \*not\* a"
