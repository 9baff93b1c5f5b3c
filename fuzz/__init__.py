"""Coverage-guided fuzzing of what strangers can reach without a network: docs/security.md.

`decoder`: every function that reads bytes from the network. `session`: a `GroupSession` fed with
events, true, false and damaged. Each has `check(data)`, which returns for any bytes or fails, and
`seeds()`, the inputs to begin with. `python -m fuzz` runs them under atheris; the test suite
replays the corpus without it.

The corpus of a target is one file, corpus/TARGET.hex, an input a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

TARGETS = ("decoder", "session")
FOLDER = Path(__file__).parent
WORK = FOLDER.parent / ".cache" / "fuzz"
"""What fuzzing finds; not kept."""


def read_corpus(target: str) -> list[bytes]:
    text = (FOLDER / "corpus" / f"{target}.hex").read_text(encoding="ascii")
    return [bytes.fromhex(line) for line in text.splitlines()]


def write_corpus(target: str, inputs: Iterable[bytes]) -> None:
    lines = sorted({data.hex() for data in inputs}, key=lambda line: (len(line), line))
    text = "".join(f"{line}\n" for line in lines)
    (FOLDER / "corpus" / f"{target}.hex").write_text(text, encoding="ascii")
