"""The output that the Markdown files show: how old it may be, and today's in its place.

Every block of output - a fenced block without one of the languages in `CODE` - and every table of
measurements says which of these it is:

    <!-- output -->              in the line above a block that shows `$ COMMAND` lines, each with
                                 what it prints today: the tests run them and compare
    <!-- output: COMMAND -->     the same, for a block that shows what COMMAND prints and no more
    captured 2026-11-24 at 1a2b3c4     somewhere between it and the block or heading before, in the
                                 text or as a comment `<!-- ... -->`: printed on that day by that
                                 commit (of older figures, the commit that put them down)

Some of what is captured is run again all the same, and compared within the bounds it states: see
scripts/docs_run.py.

Commands run one after another, block by block, in a folder that is empty but for `examples/`; so
do the shell blocks below a line `<!-- run -->`, which make what the commands need. Shown is stdout;
of a command that fails also stderr, and a last line `exit code N`. A line `...` stands for any
number of lines. Processors round differently, so a figure with a decimal point or of three digits
and more may be half a percent off, and long hexadecimal digests are not compared.

    python scripts/docs_output.py            write today's output; list what is captured
    python scripts/docs_output.py --check    write nothing; exit code 1 when it would
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = frozenset({"sh", "python", "toml", "cddl", "text"})
"""Languages of blocks that nothing prints. `text`: synopses, shapes of JSON, formulas, drawings."""

FENCE = re.compile(r"^ *(`{3,}|~{3,})\s*(\S*)")
OUTPUT = re.compile(r"^ *<!-- output(?:: (.+?))? -->$")
RUN = re.compile(r"^ *<!-- run -->$")
COMMENT = re.compile(r"^ *<!-- (.+) -->$")
CAPTURED = re.compile(r"[Cc]aptured (\d{4}-\d\d-\d\d)\s+at\s+([0-9a-f]{7,12})\b")
HEADING = re.compile(r"^#{1,6} ")
FIGURE = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")
DIGEST = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b")
DECIMAL = re.compile(r"\d\.\d")
NO_MEASUREMENTS = ("default", "version")
"""Words in the head of a table whose decimal fractions are not measured."""
COMMAND_SECONDS = 300
"""Only a command that hangs takes so long."""


@dataclass
class Block:
    """A fenced block, or a table of measurements (`language` "table"), at its first line."""

    path: Path
    line: int
    language: str
    above: str
    """The line above it."""
    captured: tuple[str, str] | None
    """Date and commit, when they are said between it and the block or heading before."""
    lines: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    """What the comments say that stand in the lines right above it, without their `<!-- -->`."""

    @property
    def where(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}"

    @property
    def compared(self) -> bool:
        return OUTPUT.match(self.above) is not None

    @property
    def runs(self) -> bool:
        """Whether it is a shell block that prepares for commands below."""
        return RUN.match(self.above) is not None


def markdown_files() -> list[Path]:
    """All Markdown files of the project."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and name not in ("node_modules", "build", "dist", "nodes")
        )
        found += [Path(folder, name) for name in sorted(names) if name.endswith(".md")]
    return found


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks and the tables of measurements of a file."""
    captured: tuple[str, str] | None = None
    above, open_fence, block, table = "", "", None, None
    paragraph = ""
    marks: list[str] = []
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], start=1):
        if block is not None:
            if line.strip().startswith(open_fence) and not line.strip().strip(open_fence[0]):
                yield block
                block, above, captured, paragraph, marks = None, line, None, "", []
            else:
                block.lines.append(line)
            continue
        if line.startswith("|"):
            table = table or Block(path, number, "table", above, captured)
            table.lines.append(line)
        elif table is not None:
            if measured(table.lines):
                yield table
                captured, paragraph = None, ""
            table = None
        paragraph = f"{paragraph}\n{line}" if line.strip() else ""
        if HEADING.match(line):
            captured = None
        for said in CAPTURED.finditer(paragraph):  # it may go on in the next line
            captured = (said[1], said[2])
        if fence := FENCE.match(line):
            open_fence = fence[1]
            block = Block(path, number, fence[2], above, captured, marks=marks)
        said_above = COMMENT.match(line)
        marks = [*marks, said_above[1]] if said_above else []
        above = line
    if block is not None:
        raise ValueError(f"{block.where}: the block is never closed")


def measured(table: list[str]) -> bool:
    """Whether most rows of a table hold a decimal fraction, as only measurements do here."""
    head, rows = table[0], table[2:]
    if any(word in head for word in NO_MEASUREMENTS):
        return False
    return 2 * sum(DECIMAL.search(row) is not None for row in rows) > len(rows)


def problem(block: Block) -> str | None:
    """What is missing at a block or table of measurements; None: nothing."""
    if block.language in CODE:
        if any(line.startswith("$ ") for line in block.lines):
            return "a block with `$ COMMAND` lines shows output: leave its language out"
        return None
    if block.compared or block.captured:
        return None
    return (
        "neither compared with what is printed today (<!-- output: COMMAND -->) nor with its date"
        " and commit (captured DATE at COMMIT); see scripts/docs_output.py"
    )


# --- running -----------------------------------------------------------------------------------


class Terminal:
    """A folder in which commands run one after another; `openfl-node` is that of this tree."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        self._folder = folder / "openfl"
        self._folder.mkdir()
        (self._folder / "examples").symlink_to(ROOT / "examples")
        for name, words in (("openfl-node", "-m openfl_cli"), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            program.chmod(0o755)
        inherited = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith("OPENFL_") and name not in ("COLUMNS", "LINES", "FORCE_COLOR")
        }
        self._environment = {
            **inherited,
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def prints(self, command: str) -> list[str]:
        """The lines that `command` prints, as the documents show them."""
        with subprocess.Popen(
            ["sh", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as ran:
            try:
                text, errors = ran.communicate(timeout=COMMAND_SECONDS)
            except BaseException:
                os.killpg(ran.pid, signal.SIGKILL)
                raise
        if ran.returncode:
            text += f"{errors}exit code {ran.returncode}\n"
        # Whoever follows the documents is somewhere under a home folder.
        text = text.replace(str(self._folder), "/home/ann/openfl")
        lines = [line.rstrip() for line in text.splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def today(block: Block, terminal: Terminal) -> list[str]:
    """The lines of a compared block as its commands print them now, as much of them as it shows."""
    said = OUTPUT.match(block.above)
    assert said is not None, block.where
    if said[1]:
        return _shortened(terminal.prints(said[1]), block.lines)
    fresh: list[str] = []
    for command, shown in _commands(block):
        if fresh:
            fresh.append("")
        fresh += [f"$ {command}", *_shortened(terminal.prints(command), shown)]
    return fresh


def _commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each `$ COMMAND` of a block, with the lines below it."""
    command, shown = None, []
    for line in [*block.lines, "$ "]:
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        elif command is None:
            raise ValueError(f"{block.where}: there is output above the first `$ COMMAND`")
        elif line or shown:
            shown.append(line)


def _shortened(fresh: list[str], shown: list[str]) -> list[str]:
    """`fresh` with a line `...` where `shown` has one: as many lines before and after it."""
    shown = shown[:-1] if shown and not shown[-1] else shown  # the gap before the next command
    if "..." not in shown:
        return fresh
    head = shown.index("...")
    tail = len(shown) - head - 1
    if len(fresh) <= head + tail:
        return fresh
    return [*fresh[:head], "...", *fresh[len(fresh) - tail :]]


def same(one: list[str], other: list[str]) -> bool:
    """Whether two outputs say the same, but for digests and the rounding of figures."""
    texts = [DIGEST.sub("DIGEST", "\n".join(lines)) for lines in (one, other)]
    words = [re.sub(r" +", " ", FIGURE.sub("0", text)) for text in texts]
    if words[0] != words[1]:
        return False
    pairs = zip(*(FIGURE.findall(text) for text in texts), strict=True)
    return all(a == b or _close(a, b) for a, b in pairs)


def _close(one: str, other: str) -> bool:
    places = [len(text.partition(".")[2]) for text in (one, other)]
    a, b = (float(text.replace(",", "")) for text in (one, other))
    if places == [0, 0] and max(abs(a), abs(b)) < 100:
        return False  # counts, codes and line numbers
    return places[0] == places[1] and abs(a - b) <= 0.005 * abs(a) + 2 * 10.0 ** -places[0]


def run_file(path: Path) -> Iterator[tuple[Block, list[str]]]:
    """Every compared block of a file with its lines of today, in order, in one folder."""
    found = list(blocks(path))
    if not any(block.compared for block in found):
        return
    with tempfile.TemporaryDirectory(prefix="openfl-docs-") as folder:
        terminal = Terminal(Path(folder).resolve())
        for block in found:
            if block.runs:
                printed = terminal.prints("set -e\n" + "\n".join(block.lines))
                if printed and printed[-1].startswith("exit code "):
                    raise ValueError(f"{block.where}: " + "; ".join(printed))
            elif block.compared:
                yield block, today(block, terminal)


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(f"usage: {Path(sys.argv[0]).name} [--check]", file=sys.stderr)
        return 2
    code = 0
    for path in markdown_files():
        text = path.read_text(encoding="utf-8").split("\n")
        # From the end, so that the numbers of the lines above stay true.
        for block, fresh in sorted(run_file(path), key=lambda pair: -pair[0].line):
            if not same(block.lines, fresh):
                print(f"{block.where}: printed anew")
                text[block.line : block.line + len(block.lines)] = fresh
                code = int(check)
        for block in blocks(path):
            if missing := problem(block):
                print(f"{block.where}: {missing}")
                code = 1
            elif block.language not in CODE and not block.compared and block.captured:
                print(f"{block.where}: captured {' at '.join(block.captured)}")
        if not check:
            path.write_text("\n".join(text), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
