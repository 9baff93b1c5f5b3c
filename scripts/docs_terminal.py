"""`openfl-node` for the blocks of shell in documents: the command of this tree, in terminals.

Who reads a document opens a terminal for each node. Here `openfl-node start` gives the terminal
back as soon as the node listens, and what follows something for good (`--watch`, `logs -f`) is
interrupted after a moment. All else is the command itself.

    python docs_terminal.py COMMAND...               as openfl-node COMMAND...
    python docs_terminal.py --until HOME ROUND MEMBERS    wait for a node to have got so far
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

MOMENT_SECONDS = 3.0
"""For what follows: enough to print once."""
FOLLOWS = frozenset({"--watch", "--follow", "-f"})
NODE = (sys.executable, "-m", "openfl_cli")
HUNG_SECONDS = 200.0
GONE_SECONDS = 20.0
"""A node that listens answers at once; one that has not by then has ended."""


def command_of(words: list[str]) -> str:
    """The first word that is no option."""
    rest = iter(words)
    for word in rest:
        if word == "--home":
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""


def start(words: list[str]) -> int:
    """A node in a terminal of its own, from when it listens; what it says, where it does not."""
    terminals = Path(os.environ["TERMINALS"])
    said = terminals / f"{len(list(terminals.iterdir())):03}"
    with said.open("wb") as out:
        node = subprocess.Popen(
            [*NODE, *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    said.with_suffix(".pid").write_text(str(node.pid))
    while node.poll() is None:
        if any(
            word in said.read_text("utf-8") for word in ("listening on\n", '"event": "listening"')
        ):
            return 0
        time.sleep(0.05)
    sys.stderr.write(said.read_text("utf-8"))
    return node.returncode


def follow(words: list[str]) -> int:
    """A command that goes on for good, interrupted after a moment."""
    with subprocess.Popen([*NODE, *words], stdin=subprocess.DEVNULL) as node:
        try:
            return node.wait(MOMENT_SECONDS)
        except subprocess.TimeoutExpired:
            node.send_signal(signal.SIGINT)
            return 0 if node.wait() in (0, 130, -signal.SIGINT) else 1


def until(home: Path, round_number: int, members: int) -> int:
    """Wait for the node of `home`; exit code 1 with what it has when it hangs."""
    from openfl.core.errors import NotRunningError
    from openfl_cli.ask import running_node

    seen: object = None
    ends = gone = time.monotonic() + HUNG_SECONDS
    while time.monotonic() < min(ends, gone):
        try:
            plain = running_node(home, "snapshot")
        except NotRunningError as error:
            seen = error
            gone = min(gone, time.monotonic() + GONE_SECONDS)
        else:
            gone = ends
            seen = (plain["round"], len(plain["members"]))
            if plain["round"] >= round_number and len(plain["members"]) >= members:
                return 0
        time.sleep(0.1)
    print(f"{home} is not at round {round_number} with {members} members: {seen}", file=sys.stderr)
    return 1


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--until"]:
        return until(Path(words[1]), int(words[2]), int(words[3]))
    if command_of(words) == "start" and not {"--help", "--detach"} & {*words}:
        return start(words)
    if FOLLOWS & {*words}:
        return follow(words)
    os.execv(sys.executable, [*NODE, *words])


if __name__ == "__main__":
    sys.exit(main())
