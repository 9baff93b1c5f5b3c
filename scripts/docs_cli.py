"""Write docs/cli-reference.md: every command and option, from the parser. A test compares.

python scripts/docs_cli.py
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from openfl_cli import exit_codes
from openfl_cli.commands import COMMANDS, GROUPS
from openfl_cli.main import build_parser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli-reference.md"
HEAD = """\
<!-- Written by `make docs-cli` from the parser of openfl-node; do not edit. -->

# Every command

What `openfl-node --help` and `openfl-node COMMAND --help` say, on one page. What commands print,
their JSON, and what is behind the options is in [the command line](cli.md).

All commands take `--home DIR`: {home}.
"""


def page() -> str:
    """The page as it is today."""
    parser = build_parser()
    (commands,) = (action for action in parser._actions if action.dest == "command")
    choices = commands.choices
    assert isinstance(choices, dict)
    home = next(action.help for action in parser._actions if action.dest == "home")
    lines = [HEAD.format(home=home), "| command | |", "|---|---|"]
    for heading, part in GROUPS.items():
        lines.append(f"| **{heading}** | |")
        lines += [f"| [`{one.NAME}`](#{one.NAME}) | {cell(one.HELP)} |" for one in part]
    for command in COMMANDS:
        lines += ["", *section(choices[command.NAME], command.NAME, 2)]
    lines += ["", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in exit_codes.MEANINGS.items()]
    return "\n".join(lines) + "\n"


def section(
    parser: argparse.ArgumentParser, name: str, level: int, above: str | None = None
) -> Iterator[str]:
    """A command: what it is for, its arguments and examples, unless they are those of `above`."""
    yield f"{'#' * level} {name}"
    yield from prose(parser.description or "")
    inner = {}
    rows = []
    for action in parser._actions:
        if isinstance(action.choices, dict):
            inner = action.choices
        elif action.dest not in ("help", "home") and action.help != argparse.SUPPRESS:
            rows.append(f"| {called(action)} | {cell(explained(action, parser))} |")
    if inner:
        yield ""
        yield "One of: " + ", ".join(f"[`{name} {word}`](#{name}-{word})" for word in inner) + "."
    if rows:
        yield ""
        yield "| argument | |"
        yield "|---|---|"
        yield from rows
    if parser.epilog and parser.epilog != above:
        yield ""
        yield "```text"
        yield from textwrap.dedent(parser.epilog.partition("\n")[2]).strip("\n").splitlines()
        yield "```"
    for word, sub in inner.items():
        yield ""
        yield from section(sub, f"{name} {word}", level + 1, parser.epilog)


def called(action: argparse.Action) -> str:
    """How an argument is typed."""
    if not action.option_strings:
        value = action.metavar or action.dest
        text = value if isinstance(value, str) else " ".join(value)
        more = {"?": f"[{text}]", "*": f"[{text}]...", "+": f"{text}..."}
        return f"`{more.get(str(action.nargs), text)}`"
    if action.nargs == 0:
        value = ""
    elif action.metavar:
        value = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices:
        value = "|".join(str(choice) for choice in action.choices)
    else:
        value = action.dest.upper()
    if action.nargs == "?":
        value = f"[{value}]"
    return "`" + ", ".join(f"{name} {value}".strip() for name in action.option_strings) + "`"


def explained(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The help of an argument, with argparse's own placeholders filled in."""
    text = action.help or ""
    values = {**vars(action), "prog": parser.prog}
    if action.choices is not None:
        values["choices"] = ", ".join(str(choice) for choice in action.choices)
    text = text % values if "%" in text else text
    return f"{text} (required)" if action.required and action.option_strings else text


def prose(text: str) -> Iterator[str]:
    """Paragraphs as they are, with an empty line before each; what is indented is a block."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = paragraph.splitlines()
        if all(line.startswith("  ") for line in lines):
            yield from ("", "```text", *textwrap.dedent(paragraph).splitlines(), "```")
        else:
            yield from ("", *(escaped(line) for line in lines))


def escaped(text: str) -> str:
    """Words of a help text that are no Markdown."""
    return re.sub(r"(?<!`)([*<>\[\]|])", r"\\\1", text) if "`" not in text else text


def cell(text: str) -> str:
    """One line for a table."""
    return escaped(" ".join(text.split())).replace("|", "\\|").replace("\\\\|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
