"""What the exit codes of `openfl-node` mean. 2-9 are those of the classes in openfl.core.errors."""

from __future__ import annotations

SUCCESS = 0
BUG = 1
USAGE = 2
CONFIG = 3
DATA = 4
NETWORK = 5
STATE = 6
NOT_RUNNING = 7
GROUP = 8
LEARNING = 9
UNMET = 10
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: dict[int, str] = {
    SUCCESS: "all went well (for start: it ended as asked, by Ctrl-C too)",
    BUG: "a bug: the traceback says where; please report it",
    USAGE: "an option or argument makes no sense",
    CONFIG: "the configuration is wrong; every problem is listed",
    DATA: "a data file is missing or malformed, or does not fit the group",
    NETWORK: "the network cannot be used: port in use, address malformed or unreachable",
    STATE: "saved state or output cannot be read or written: disk full, no permission",
    NOT_RUNNING: "the command needs a running node, and none runs in this home folder",
    GROUP: "the group is unknown or ambiguous, or does not fit this node's data",
    LEARNING: "learning ended without the result asked for",
    UNMET: "what was asked about is not so: not healthy, not there in time, something found",
    INTERRUPTED: "interrupted by Ctrl-C",
    BROKEN_PIPE: "whoever read the output went away",
}


def as_text() -> str:
    """The table of exit codes as `openfl-node --help` shows it."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
