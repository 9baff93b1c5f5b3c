"""`python -m fuzz TARGET [--cbor] [libFuzzer options]`: needs atheris, except for --keep.

--cbor: change the structure of messages (fuzz/mutate.py) instead of bytes; for the decoder.
--keep: make the corpus: the seeds, and the few found inputs that cover what all of them cover.

New inputs go to .cache/fuzz/TARGET; those that fail are written to .cache/fuzz/TARGET-*. The
memory of the process grows slowly with the number of inputs, in the fuzzer and not in what is
fuzzed: give -runs or -max_total_time, and begin again.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fuzz import TARGETS, WORK, read_corpus, write_corpus


def main(argv: list[str]) -> None:
    if not argv or argv[0] not in TARGETS:
        sys.exit(f"usage: python -m fuzz {{{','.join(TARGETS)}}} [-runs=N] [-max_total_time=N] ...")
    target, options = argv[0], argv[1:]
    if "--keep" in options:
        module = importlib.import_module(f"fuzz.{target}")
        found = [path.read_bytes() for path in (WORK / target).glob("*")]
        write_corpus(target, few(module.check, module.seeds(), [*read_corpus(target), *found]))
        return
    fuzz(target, options)


def fuzz(target: str, options: list[str]) -> None:
    """Does not return."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install atheris, or make fuzz")
    # Instruments what is imported inside, and nothing that was imported before.
    with atheris.instrument_imports(include=["openfl"]):
        module = importlib.import_module(f"fuzz.{target}")
    folders = [WORK / target, WORK / f"{target}.corpus"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    unpack(WORK / f"{target}.corpus", [*module.seeds(), *read_corpus(target)])
    keywords = {}
    if "--cbor" in options:
        from fuzz.mutate import mutated

        keywords["custom_mutator"] = mutated
    arguments = [
        sys.argv[0],
        "-timeout=10",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={WORK / target}-",
        *(option for option in options if option != "--cbor"),
        *map(str, folders),
    ]
    atheris.Setup(arguments, module.check, **keywords)
    atheris.Fuzz()


def few(
    check: Callable[[bytes], None], seeds: Sequence[bytes], found: Sequence[bytes]
) -> list[bytes]:
    """All seeds, and those found, shortest first, that take a way through our code that is new."""
    ways: set[tuple[str, int, int]] = set()
    kept: list[bytes] = []
    for data in [*seeds, *sorted(set(found) - set(seeds), key=lambda data: (len(data), data))]:
        taken = ways_of(check, data)
        if len(kept) < len(seeds) or not taken <= ways:
            kept.append(data)
        ways |= taken
    return kept


def ways_of(check: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """(file, line, next line) wherever `check(data)` comes by in openfl."""
    ways: set[tuple[str, int, int]] = set()

    def trace(frame: Any, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if "/openfl/" not in name:
            return None
        before = 0

        def line(frame: Any, event: str, _: object) -> Any:
            nonlocal before
            ways.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return ways


def unpack(folder: Path, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
