"""Nodes of another commit and of this one learn in one group: `make beside REF=COMMIT`.

Takes that commit's sources out of Git, runs one of its nodes and one of the present version on
loopback, each on other people's ratings, first with the one as bootstrap node of the other, then
the other way round. Both must count two members, merge each other's deltas and end with one model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "fixtures" / "homes-0.1.0"
ROUNDS = 12
CEILING_SECONDS = 120


def sources_of(ref: str, folder: Path) -> Path:
    """The packages of that commit, in `folder`."""
    archive = subprocess.run(
        ["git", "archive", ref, "openfl", "cli"], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    if archive.returncode != 0:
        sys.exit(f"beside: this clone has no commit {ref!r} (try: git fetch --unshallow)")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


class Version:
    """The command of one version."""

    def __init__(self, name: str, sources: Path, *options: str) -> None:
        self.name = name
        self.options = options
        kept = {n: v for n, v in os.environ.items() if not n.startswith("OPENFL_")}
        self.environment = {**kept, "PYTHONPATH": f"{sources}{os.pathsep}{sources / 'cli'}"}

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "openfl_cli", *argv],
            env=self.environment,
            cwd=self.environment["PYTHONPATH"].split(os.pathsep)[0],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def start(self, home: Path, data: str, *options: str) -> subprocess.Popen[bytes]:
        argv = ["start", "--home", str(home), "--data", str(DATA / data), "--no-view"]
        argv += ["--group", "beside", "--listen", "/ip4/127.0.0.1/tcp/0", "--interval", "0.3"]
        argv += ["--no-auto-switch", *self.options, *options]
        return subprocess.Popen(
            [sys.executable, "-m", "openfl_cli", *argv],
            env=self.environment,
            cwd=self.environment["PYTHONPATH"].split(os.pathsep)[0],
            stdout=subprocess.DEVNULL,
        )

    def status(self, home: Path) -> dict:
        told = self.run("status", "--home", str(home), "--json")
        return json.loads(told) if told else {}


def together(first: Version, second: Version, folder: Path) -> bool:
    """`second` joins through `first`; whether they learned together."""
    homes = [folder / "first", folder / "second"]
    deadline = time.monotonic() + CEILING_SECONDS
    nodes = [first.start(homes[0], "ratings.csv")]
    told: list[dict] = [{}, {}]
    try:
        while not (addresses := first.status(homes[0]).get("multiaddrs")):
            if time.monotonic() > deadline or nodes[0].poll() is not None:
                sys.exit(f"beside: the node of {first.name} does not start")
            time.sleep(0.2)
        nodes.append(second.start(homes[1], "others.csv", "--bootstrap", addresses[0]))
        done = False
        while not done and time.monotonic() < deadline:
            time.sleep(0.5)
            told = [first.status(homes[0]), second.status(homes[1])]
            done = all(
                t.get("members") == 2 and t["round"] >= ROUNDS and t["deltas_merged"] >= 2 * ROUNDS
                for t in told
            )
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait()
    for version, t in zip((first, second), told, strict=True):
        print(
            f"  {version.name:>12}: {t.get('members', 0)} members, round {t.get('round', 0)}, "
            f"{t.get('deltas_merged', 0)} deltas merged, faults {t.get('faults', {})}"
        )
    same = told[0].get("group") == told[1].get("group")
    print(f"  {'one group' if same else 'TWO GROUPS'}, {'learned' if done else 'NOT'} together")
    return done and same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ref", help="a commit or tag of this repository")
    ref = parser.parse_args().ref
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = sources_of(ref, folder / "sources")
        other = Version(ref, sources)
        charter = sources / "openfl" / "learning" / "rating" / "charter.py"
        # Versions from before these join groups that are founded without them.
        known = charter.read_text(encoding="utf-8") if charter.exists() else ""
        unknown = (name for name in ("user_prior", "relevance") if name not in known)
        options = (part for name in unknown for part in ("--set", f"task.{name}=0"))
        here = Version("this version", ROOT, *options)
        good = []
        for first, second in ((other, here), (here, other)):
            print(f"{second.name} joins through {first.name}")
            place = folder / f"{len(good)}"
            place.mkdir()
            good.append(together(first, second, place))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
