"""`make defects`: which workarounds does the installed py-libp2p still need?

    python scripts/defects.py            all of openfl/network/libp2p/defects
    python scripts/defects.py ID ...     these
    python scripts/defects.py -j 4       four at a time (2)

Each defect's test runs twice, in an interpreter of its own: as it is, and with the workaround taken
away (tests/without_workaround.py). When it fails without, the workaround is still needed; when it
passes, it is not, and can be deleted. By hand only: tests that fail may take a minute each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from openfl.network.libp2p.defects import DEFECTS, VERSION, Defect  # noqa: E402

PATIENCE_SECONDS = 20.0
"""For what must happen, in a test. It takes a few seconds at most, on a busy machine too."""
TEST_SECONDS = 60.0
RUN_SECONDS = 120.0
NEEDED = "still needed"
NOT_NEEDED = "no longer needed"
UNJUDGED = "cannot be judged"


@dataclass(frozen=True, slots=True)
class Run:
    """How a test ended; `why` is its first error, in one line."""

    passed: bool
    ran: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one defect, and what speaks for it."""

    defect: Defect
    verdict: str
    why: str


def run_test(test: str, steps: Sequence[str] = ()) -> Run:
    """The test with what the steps name taken away."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.without_workaround", test]
    command += ["-q", "--tb=short", "--no-header", "-x", f"--timeout={TEST_SECONDS:.0f}"]
    command += [f"--patience={PATIENCE_SECONDS}", "-p", "no:cacheprovider"]
    command += [f"--take-away={step}" for step in steps]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Run(False, True, f"it does not end within {RUN_SECONDS:.0f} s")
    if done.returncode in (0, 1) and re.search(r"\d+ (passed|failed|error)", done.stdout):
        return Run(done.returncode == 0, True, first_error(done.stdout))
    said = (done.stderr or done.stdout).strip().splitlines()
    return Run(False, False, said[-1] if said else f"pytest ended with {done.returncode}")


def first_error(report: str) -> str:
    """The innermost error that pytest tells first: those of groups are indented."""
    found = re.findall(
        r"^E?[ |]*((?:[\w.]+\.)?[A-Z]\w*(?:Error|InTime|Failed|Exception)\b.*|assert .*)$",
        report,
        re.MULTILINE,
    )
    inner = [line for line in found if not line.startswith("ExceptionGroup")]
    return (inner or found or [""])[0].strip()


def verdict(with_it: Run, without_it: Run) -> tuple[str, str]:
    """(verdict, why) from the two runs of a test."""
    if not with_it.ran or not without_it.ran:
        return UNJUDGED, f"its test does not run: {with_it.why or without_it.why}"
    if not with_it.passed:
        return UNJUDGED, f"its test fails with the workaround, too: {with_it.why}"
    if without_it.passed:
        return NOT_NEEDED, "its test passes without"
    return NEEDED, without_it.why


def judge(defect: Defect) -> Judgement:
    """Run the defect's test both ways; a minute or two when it hangs."""
    if defect.unjudged:
        return Judgement(defect, UNJUDGED, defect.unjudged)
    return Judgement(defect, *verdict(run_test(defect.test), run_test(defect.test, defect.without)))


def main(arguments: Sequence[str] | None = None) -> int:
    """0, whatever the verdicts are; 2 for an id that there is not."""
    parser = argparse.ArgumentParser(prog="defects", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="a defect; without any, all of them")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="how many at a time (2)")
    options = parser.parse_args(arguments)
    strange = set(options.ids) - {defect.id for defect in DEFECTS}
    if strange:
        parser.error(f"there is no defect {', '.join(sorted(strange))}")
    chosen = [defect for defect in DEFECTS if not options.ids or defect.id in options.ids]
    installed = importlib.metadata.version("libp2p")
    print(f"py-libp2p {installed} (the table was written for {VERSION}), {len(chosen)} defects")
    width = max(len(defect.id) for defect in chosen)
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(options.j) as pool:
        for judgement in pool.map(judge, chosen):
            counts[judgement.verdict] += 1
            print(
                f"{judgement.defect.id:<{width}}  {judgement.verdict:<16}  {judgement.why[:110]}",
                flush=True,
            )
    print("; ".join(f"{name}: {counts[name]}" for name in (NEEDED, NOT_NEEDED, UNJUDGED)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
