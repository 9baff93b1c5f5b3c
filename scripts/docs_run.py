"""Run every block of shell in README.md and docs/*.md, as somebody does who follows the page.

A page is followed from top to bottom in one folder, where `examples/`, a few data files (`prepare`)
and `.venv` are; `openfl-node` is that of this tree, and nodes are on 127.0.0.1. Variables go on
from block to block, and every block must end with exit code 0. Comments in the lines above a block
say what is not to be read on the page:

    <!-- not run: REASON -->      it is not, for one of the reasons in `REASONS`
    <!-- slow: WHY -->            only by `make docs-check`
    <!-- first: COMMAND -->       run before it; `reached HOME ROUND MEMBERS` waits for a node
    <!-- at: NAME -->             on another machine: another place for the usual home folder
    <!-- with: WORD=TEXT -->      the text (the shell looks for variables and commands in it) in the
                                  place of the word
    <!-- exit code N -->          it ends with that

ADDRESS is the address of a node of a small network that is there for all pages, whose members have
ratings; LISTENERS that of one whose member has listened to music. A block of output

    <!-- captured 2026-11-28 at 1a2b3c4; again within 5 %; free: round, heard -->

is printed again there, by its `$ COMMAND` lines, or by what `again: COMMAND` above it says (`again:
node N`: what the Nth node that the page started has said; `again: block`: what the block of shell
before it printed), and compared as scripts/docs_compare.py explains. Shown is stdout; of a command
that fails also stderr, and a last line `exit code N`.

    python scripts/docs_run.py [--slow] [--print] [PAGE...]

prints a line a block, with `--print` also what is printed now; exit code 1 when a block fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import docs_compare, docs_output  # noqa: E402

REASONS = {
    "installs software": "fetches packages, or sets this machine up",
    "runs the tests": "is what runs this, or as long as all tests",
    "needs a router": "changes one, or is for a machine behind one",
    "needs another machine": "is typed at a machine that is not this one, or copies files to it",
    "needs a service manager": "systemd or launchd starts it",
    "needs a container engine": "Docker or Podman runs it",
    "needs another shell": "zsh or fish reads it",
    "needs a terminal": "draws on one and reads its keys; tests of the terminal drive it",
    "needs a browser": "opens one",
    "takes hours": "is a measurement",
}
"""Why a block of shell may not be run, and what that means. There are no others."""

PRELUDE = """\
set -eo pipefail
reached() { "$PYTHON" "$TERMINAL" --until "$@"; }
at() { local home="$MACHINES/$1"; shift; mkdir -p "$home"; HOME="$home" "$@"; }
"""
BLOCK_SECONDS = 300
"""Only a block that hangs takes so long."""
GONE_SECONDS = 10
ASSIGNED = re.compile(r"^\s*(?:export )?([A-Za-z_]\w*)=", re.MULTILINE)
FRIENDS = re.compile(r"(?<![\w$])(ADDRESS|LISTENERS)(?![\w=])")


@dataclass(frozen=True)
class Ran:
    """A block, and what is wrong with it; empty: nothing."""

    block: docs_output.Block
    problem: str
    printed: tuple[str, ...] = ()
    """Of a block of output: what is printed now."""


def pages() -> list[Path]:
    """README.md and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def is_shell(block: docs_output.Block) -> bool:
    return block.language in ("sh", "bash", "console", "shell")


def marks(block: docs_output.Block, name: str) -> list[str]:
    """What the comments `NAME: ...` above it say."""
    return [mark.partition(": ")[2] for mark in block.marks if mark.startswith(f"{name}: ")]


def not_run(block: docs_output.Block) -> str | None:
    """The reason why it is not run; None: it is. ValueError for one that is not listed."""
    reasons = marks(block, "not run")
    if not reasons:
        return None
    if reasons[0] not in REASONS:
        raise ValueError(
            f"{block.where}: {reasons[0]!r} is no reason; there are: {', '.join(REASONS)}"
        )
    return reasons[0]


def bounds_of(block: docs_output.Block) -> docs_compare.Bounds | None:
    """Of a captured block that is printed again; None: it is not."""
    found = [docs_compare.bounds(mark) for mark in block.marks if mark.startswith("captured ")]
    return found[0] if found else None


def prepare(folder: Path) -> None:
    """The files that pages speak of as the reader's own."""
    from tests import exports

    exports.spotify(folder, seed=1)
    music = ROOT / "examples" / "music"
    lines = (music / "ratings.csv").read_text().splitlines()
    for name, rest in (("ratings.csv", 7), ("mine.csv", 5)):
        of = [line for line in lines[1:] if int(line.partition(",")[0]) % 20 == rest]
        (folder / name).write_text("\n".join([lines[0], *of, ""]))
    plays = [
        f"p{person},s{song},{1 + (person * song) % 7}"
        for person in range(30)
        for song in range(40)
        if (person + song) % 3
    ]
    (folder / "plays.csv").write_text("\n".join(["user_id,song_id,plays", *plays, ""]))
    rows = [f"{'rose' if n % 2 else 'tulip'},{n % 7},{n % 2 + n % 5 / 10}" for n in range(200)]
    (folder / "rows.csv").write_text("\n".join(["label,height,width", *rows, ""]))
    (folder / "new.csv").write_text("height,width\n3,1.2\n4,0.1\n")
    shutil.copy(music / "songs.csv", folder)


class Reader:
    """Somebody who follows pages: a folder, terminals, and variables."""

    def __init__(self, top: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = top / "openfl"
        self._state = top / "variables"
        self.terminals = top / "terminals"
        self.block_printed = ""
        """By the last block of shell."""
        programs = self.folder / ".venv" / "bin"
        for made in (programs, self.terminals, top / "machines"):
            made.mkdir(parents=True)
        (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
        terminal = Path(__file__).with_name("docs_terminal.py")
        for name, words in (("openfl-node", f'"{terminal}"'), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / name).chmod(0o755)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        prepare(self.folder)
        kept = ("PATH", "LANG", "TMPDIR", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
        self._environment = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
            "PYTHON": sys.executable,
            "TERMINAL": str(terminal),
            "TERMINALS": str(self.terminals),
            "MACHINES": str(top / "machines"),
            "HOME": str(top / "machines"),
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "OPENFL_NETWORK_HOST": "127.0.0.1",
            "OPENFL_TRAINING_INTERVAL_SECONDS": "0.3",
            **(settings or {}),
        }

    def types(self, script: str, at: str = "") -> tuple[int, str, str]:
        """The exit code of a few lines of shell, their stdout and their stderr."""
        names = sorted({*ASSIGNED.findall(script)})
        keep = (
            f"declare -p {' '.join(names)} >>'{self._state}' 2>/dev/null || true\n" if names else ""
        )
        whole = f"{PRELUDE}[ ! -f '{self._state}' ] || . '{self._state}'\n{script}\n{keep}"
        environment = dict(self._environment)
        if at:
            machine = Path(environment["MACHINES"], at)
            machine.mkdir(exist_ok=True)
            environment["HOME"] = str(machine)
        with subprocess.Popen(
            ["bash", "-c", whole],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as ran:
            hangs = False
            try:
                texts = ran.communicate(timeout=BLOCK_SECONDS)
            except subprocess.TimeoutExpired:
                _kill_group(ran.pid)
                hangs, texts = True, ("", f"it hangs: killed after {BLOCK_SECONDS} s\n")
            except BaseException:
                _kill_group(ran.pid)
                raise
        text, errors = (said.replace(str(self.folder), "/home/ann/openfl") for said in texts)
        return -signal.SIGKILL if hangs else ran.returncode, text, errors

    def node_said(self, number: int) -> str:
        """What the node in that terminal, from 1, has printed so far; nothing when none started."""
        said = sorted(path for path in self.terminals.iterdir() if not path.suffix)
        return said[number - 1].read_text("utf-8") if number <= len(said) else ""

    def close(self) -> None:
        """End every node that was started here, and wait until it is gone."""
        import psutil  # type: ignore[import-untyped]

        locks = [path for path in self.folder.parent.rglob("lock") if path.is_file()]
        pids = [path.read_text() for path in self.terminals.glob("*.pid")]
        pids += [lock.read_text().split("\n")[0] for lock in locks]
        left = []
        for pid in {int(pid) for pid in pids if pid.strip().isdigit()}:
            with contextlib.suppress(psutil.Error):
                node = psutil.Process(pid)
                if "openfl_cli" in " ".join(node.cmdline()):
                    left += [node, *node.children(recursive=True)]
        for node in left:
            with contextlib.suppress(psutil.Error):
                node.kill()
        # With a limit: where nobody reaps orphans (in some containers), they are never quite gone.
        psutil.wait_procs(left, timeout=GONE_SECONDS)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def end_cleanly_when_told() -> None:
    """What ends this process, as a closed terminal or `timeout` do, ends its nodes as well."""
    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, lambda number, _frame: sys.exit(128 + number))
    # Ignored, it would be by every command here, too: Ctrl-C is how a reader ends some of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def reader(settings: dict[str, str] | None = None) -> Iterator[Reader]:
    """A reader in a folder that is gone afterwards, with all nodes."""
    with tempfile.TemporaryDirectory(prefix="openfl-docs-", ignore_cleanup_errors=True) as top:
        opened = Reader(Path(top).resolve(), settings)
        try:
            yield opened
        finally:
            opened.close()


class Friends:
    """Two nodes that learn from ratings, for the pages that join somebody; begun when asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._addresses: dict[str, str] = {}

    def address(self, word: str) -> str:
        """Of the network that ADDRESS or LISTENERS stands for."""
        if word not in self._addresses:
            people = self._stack.enter_context(reader())
            code, said, errors = people.types(
                "openfl-node start --home first --data mine.csv\n"
                "ADDRESS=$(openfl-node id --home first --address)\n"
                "openfl-node start --home second --data ratings.csv --bootstrap $ADDRESS\n"
                "reached second 1 2\necho $ADDRESS"
                if word == "ADDRESS"
                else "openfl-node start --home first --data my_spotify_data.zip\n"
                "openfl-node id --home first --address"
            )
            if code:
                raise RuntimeError(f"the small network does not come up: {errors}")
            self._addresses[word] = said.split()[-1]
        return self._addresses[word]


def follow(path: Path, friends: Friends, slow: bool = False) -> Iterator[Ran]:
    """Every block of a page that is to be run or printed again, in order."""
    found = list(docs_output.blocks(path))
    if not any((is_shell(block) and not_run(block) is None) or bounds_of(block) for block in found):
        return
    with reader() as person:
        for block in found:
            if not slow and marks(block, "slow"):
                continue
            if is_shell(block) and not_run(block) is None:
                yield _run(block, person, friends)
            elif (allowed := bounds_of(block)) is not None:
                yield _again(block, person, friends, allowed)


def _run(block: docs_output.Block, person: Reader, friends: Friends) -> Ran:
    began = time.monotonic()
    said = _before(block, person, friends) or _typed(block, "\n".join(block.lines), person, friends)
    wanted = [int(mark.split()[-1]) for mark in block.marks if re.fullmatch(r"exit code \d+", mark)]
    code, text, errors = said
    person.block_printed = text
    if code == (wanted[0] if wanted else 0):
        took = f"{time.monotonic() - began:.1f} s"
        return Ran(block, "", (took, *text.splitlines()))
    return Ran(block, f"exit code {code}: {(text + errors).strip()[-1500:]}")


def _again(
    block: docs_output.Block, person: Reader, friends: Friends, allowed: docs_compare.Bounds
) -> Ran:
    if failed := _before(block, person, friends):
        return Ran(block, f"exit code {failed[0]}: {failed[2].strip()[-1500:]}")
    printed: list[str] = []
    commands = marks(block, "again") or [line[2:] for line in block.lines if line[:2] == "$ "]
    for command in commands:
        if re.fullmatch(r"node \d+", command):
            text = person.node_said(int(command.split()[1]))
        elif command == "block":
            text = person.block_printed
        else:
            code, text, errors = _typed(block, command, person, friends)
            text += f"{errors}exit code {code}\n" if code else ""
        if not marks(block, "again"):
            printed.append(f"$ {command}")
        printed += text.splitlines()
    wrong = docs_compare.differences(block.lines, printed, allowed)
    return Ran(block, "\n".join(wrong), tuple(printed))


def _before(
    block: docs_output.Block, person: Reader, friends: Friends
) -> tuple[int, str, str] | None:
    """Run what is to be done before a block; None when all went well."""
    for command in marks(block, "first"):
        code, text, errors = _typed(block, command, person, friends)
        if code:
            return code, text, f"first: {command}: {errors}"
    return None


def _typed(
    block: docs_output.Block, script: str, person: Reader, friends: Friends
) -> tuple[int, str, str]:
    """Type it with what stands on this machine for the words of the page."""
    for replaced in marks(block, "with"):
        word, _, text = replaced.partition("=")
        code, said, errors = person.types(f'echo "{text}"')
        if code:
            return code, said, errors
        script = re.sub(rf"(?<![\w$]){re.escape(word)}(?![\w=])", said.strip(), script)
    script = FRIENDS.sub(lambda found: friends.address(found[1]), script)
    return person.types(script, *marks(block, "at")[:1])


def main() -> int:
    end_cleanly_when_told()
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    chosen = [Path(word).resolve() for word in words] or pages()
    failed = 0
    with contextlib.ExitStack() as stack:
        friends = Friends(stack)
        for path in chosen:
            for ran in follow(path, friends, slow="--slow" in sys.argv):
                print(f"{ran.block.where}: {ran.problem or 'as shown'}", flush=True)
                if "--print" in sys.argv and ran.printed:
                    print("    " + "\n    ".join(ran.printed), flush=True)
                failed += bool(ran.problem)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
