"""`python -m fuzz TARGET [--cbor] [libFuzzer options] [more corpus folders]`: needs atheris.

--cbor: change the structure of messages (fuzz/mutate.py) instead of bytes; for the decoder.
New inputs go to .cache/fuzz/TARGET; those that fail are written to .cache/fuzz/TARGET-*.
"""

from __future__ import annotations

import importlib
import sys

from fuzz import CORPUS

TARGETS = ("decoder", "session")
WORK = CORPUS.parents[1] / ".cache" / "fuzz"


def main(argv: list[str]) -> None:
    if not argv or argv[0] not in TARGETS:
        sys.exit(f"usage: python -m fuzz {{{','.join(TARGETS)}}} [-runs=N] [-max_total_time=N] ...")
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install atheris, or make fuzz")
    target, options = argv[0], argv[1:]
    # Instruments what is imported inside, and nothing that was imported before.
    with atheris.instrument_imports(include=["openfl"]):
        module = importlib.import_module(f"fuzz.{target}")
    found = WORK / target
    found.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        "-timeout=10",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={WORK / target}-",
        *options,
        str(found),
        str(CORPUS / target),
    ]
    keywords = {}
    if "--cbor" in options:
        arguments.remove("--cbor")
        from fuzz.mutate import mutated

        keywords["custom_mutator"] = mutated
    atheris.Setup(arguments, module.check, **keywords)
    atheris.Fuzz()


main(sys.argv[1:])
