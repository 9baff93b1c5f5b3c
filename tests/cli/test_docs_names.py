"""What the documents name is there: files, headings, settings, commands, options, make targets."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from openfl.config import RESERVED_ENV, all_settings, env_name
from openfl.simulation.scenario_file import scenario_settings
from openfl_cli import main

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # tells of what was, too
)
SOURCES = ("openfl", "cli", "tests", "benchmarks", "docs", "examples", "configs", "scripts", "fuzz")
FENCED = re.compile(r"^( *)(```+)(\w*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
OTHERS = frozenset(
    {
        *("openfl/seeded-row/",),  # in front of what is hashed
        *("model.safetensors", "data.multiaddrs"),  # a file; a field of an event
        *("task.evaluate", "task.local_step"),  # methods
    }
)
"""Names that look like files or settings and are something else."""
KUBERNETES = re.compile(r"OPENFL_\w+_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP)\w*)?)")
"""Variables that Kubernetes sets for its services; no settings of ours."""
LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose(path: Path) -> str:
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def code(path: Path) -> list[str]:
    """What a reader may type or look for: in backticks, the lines of blocks of code, and the
    commands above output. A command that goes on in the next line is one line."""
    text = path.read_text(encoding="utf-8")
    lines = []
    for block in FENCED.finditer(text):
        whole = re.sub(r"\\\n|\n {10,}(?=\[)", " ", block[4]).splitlines()
        lines += whole if block[3] else [line[2:] for line in whole if line.startswith("$ ")]
    return [*(found[1] for found in CODE.finditer(FENCED.sub("", text))), *lines]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub gives to the headings of a file."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(path), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def options_of(parser: object) -> set[str]:
    found = set()
    for action in parser._actions:  # type: ignore[attr-defined]
        found |= set(action.option_strings)
        if isinstance(action.choices, dict):  # `config show` has options of its own
            found = found.union(*map(options_of, action.choices.values()))
    return found


@cache
def commands() -> dict[str, set[str]]:
    """The options of every command; COMMAND stands for any of them."""
    parser = main.build_parser()
    (found,) = (action for action in parser._actions if action.dest == "command")
    assert found.choices is not None
    known = {name: options_of(sub) | {"--version"} for name, sub in found.choices.items()}  # type: ignore[attr-defined]
    return known | {"COMMAND": set().union(*known.values())}


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_every_file_named_exists(path: Path) -> None:
    named = {
        found[0].rstrip(".")
        for text in code(path)
        for found in re.finditer(rf"(?<![\w./-])(?:{'|'.join(SOURCES)})/[\w./*-]+", text)
    }
    assert [name for name in sorted(named - OTHERS) if not list(ROOT.glob(name))] == []
    tests = {path.name for path in (ROOT / "tests").glob("*/*.py")}
    scripts = {name for text in code(path) for name in re.findall(r"^test_\w+\.py$", text)}
    assert scripts - tests == set()


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_every_setting_named_exists(path: Path) -> None:
    settings = {*all_settings(), *scenario_settings()}
    sections = {name.partition(".")[0] for name in settings}
    unknown = {
        name
        for text in code(path)
        for name in re.findall(r"(?<![\w./-])([a-z]+\.[a-z_]+)(?![\w./(-])", text)
        if name.partition(".")[0] in sections and name not in settings
    }
    assert unknown - OTHERS == set()


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_every_command_and_option_named_exists(path: Path) -> None:
    unknown = []
    for text in code(path):
        for called in re.finditer(r"(?<![\w/.'-])openfl-node ([\w-][^|;&>()#]*)", text):
            words = re.sub(r"^(?:--home \S+ )+", "", called[1]).split()
            command = words[0] if words and words[0].islower() else "COMMAND"
            if command.startswith("-"):
                command = "COMMAND"
            if command not in commands():
                unknown.append(called[0])
                continue
            # Behind `--` of `service install` stand options of `start`.
            for part, of in zip(called[1].split(" -- "), (command, "start"), strict=False):
                used = re.findall(r"(?<![\w-])--[a-z][a-z-]*", part)
                unknown += [f"{of} {name}" for name in used if name not in commands()[of]]
    assert unknown == []


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_every_option_variable_and_target_named_exists(path: Path) -> None:
    programs = [
        *ROOT.glob("benchmarks/**/*.py"),
        *ROOT.glob("examples/**/*.py"),
        *ROOT.glob("fuzz/*"),
    ]
    options = set().union(*commands().values())
    for program in programs:
        if program.suffix == ".py":
            text = program.read_text(encoding="utf-8")
            options |= set(re.findall(r"[\"'](--[a-z][a-z-]*)[\"']", text))
    variables = (
        {env_name(key) for key in all_settings()}
        | set(RESERVED_ENV)
        | {"OPENFL_CACHE", "OPENFL_SECTION_KEY"}
    )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    unknown = []
    for text in code(path):
        unknown += [n for n in re.findall(r"^--[a-z][a-z-]*", text) if n not in options]
        unknown += [
            name
            for name in re.findall(r"\bOPENFL_[A-Z0-9_]+\b", text)
            if name not in variables and not KUBERNETES.fullmatch(name)
        ]
        unknown += [n for n in re.findall(r"^make ([a-z-]+)", text) if n not in targets]
    assert unknown == []
