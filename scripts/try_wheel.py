"""Tries a wheel as somebody who installs it, in environments of their own: `make release` does.

    python scripts/try_wheel.py dist/openfl_node-1.4.0-py3-none-any.whl [--python python3.12]...

For each Python (default: those of 3.11, 3.12 and 3.13 that are found here; which are not is said):

1. What a node needs is built or fetched into a folder, each file with the hash that
   requirements/lock.txt has of it.
2. A new environment gets the wheel and that from the folder alone, with no index; so what the
   wheel says it needs is all it needs. `pip check` agrees.
3. `openfl-node demo` runs in it, offline: four nodes that must learn more together than alone.
4. Homes that version 0.1.0 has made (tests/fixtures) go on in it: the same peer, the same group,
   the next round.

With --sbom-folder FOLDER a bill of materials (CycloneDX, JSON) of the first environment is written
there, and the table of its licences, which must be good ones (scripts/licences.py). Exit code 1,
and a line on stderr, when anything is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "lock.txt"
TOOLS_LOCK = ROOT / "requirements" / "release.txt"
TOOLS = ROOT / ".cache" / "release-tools"
HOMES = ROOT / "tests" / "fixtures" / "homes-0.1.0"
DATA = {"rating": "ratings.csv", "implicit": "plays.csv", "classification": "flowers.csv"}
VERSIONS = ("3.11", "3.12", "3.13")
LONGEST_SECONDS = 900
"""Of one step; only what hangs takes so long."""


class Failed(Exception):
    """The wheel is not good: one line."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"release: {text}", flush=True)


# --- which Pythons ------------------------------------------------------------------------------


def pythons() -> tuple[dict[str, str], list[str]]:
    """(version -> its program, versions that are not found), of `VERSIONS`."""
    found: dict[str, str] = {}
    for version in VERSIONS:
        for program in _candidates(version):
            if _version_of(program) == version:
                found[version] = program
                break
    return found, [version for version in VERSIONS if version not in found]


def _candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    newest = sorted(pyenv.glob(f"{version}.*"), key=lambda one: _numbers(one.name), reverse=True)
    yield from (str(folder / "bin" / "python3") for folder in newest)


def _numbers(name: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", name)]


def _version_of(program: str) -> str | None:
    """Such as "3.12"; None when it does not run, or cannot make environments."""
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([program, "-c", ask], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# --- what is pinned -----------------------------------------------------------------------------


def needed_of_lock(names: Sequence[str], lock: str) -> str:
    """The blocks of the lock file for these packages, with their hashes. Failed: one is not in
    it."""
    blocks = {
        match[1]: block
        for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
        if (match := re.match(r"([A-Za-z0-9._-]+)==", block))
    }
    lacking = [name for name in names if name not in blocks]
    if lacking:
        raise Failed(f"{LOCK.name} lacks {', '.join(lacking)}: run `make lock`")
    return "".join(blocks[name] for name in names)


def needed_names(lock: str) -> list[str]:
    """What a node needs without extras, by the comments `# via` of the lock file, which name the
    packages that need one: closer than what is installed here, for it holds for every Python."""
    via: dict[str, set[str]] = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        if match := re.match(r"([A-Za-z0-9._-]+)==", block):
            comments = "\n".join(re.findall(r"^ +#(.*)$", block, re.MULTILINE))
            via[match[1]] = set(re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", comments)) - {"via"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    while more := {name for name, by in via.items() if by & found} - found:
        found |= more
    return sorted(found)


# --- steps --------------------------------------------------------------------------------------


def run(*command: str, cwd: Path, what: str, env: dict[str, str] | None = None) -> str:
    """Its stdout; Failed, with the end of what it said, when it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Failed(f"{what} failed: {' / '.join(said) or 'it said nothing'}")
    return done.stdout


def offline() -> dict[str, str]:
    """The environment of what must not fetch anything, and must not see this checkout."""
    dropped = ("PYTHONPATH", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "VIRTUAL_ENV")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith("OPENFL_")
    }
    return {**kept, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def install(wheel: Path, python: str, work: Path) -> Path:
    """A new environment with the wheel and what it needs; its folder."""
    lock = LOCK.read_text(encoding="utf-8")
    (work / "needed.txt").write_text(needed_of_lock(needed_names(lock), lock), encoding="utf-8")
    maker = work / "maker"
    run(python, "-m", "venv", str(maker), cwd=work, what="making an environment")
    pip = (str(maker / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
    fetch = ("wheel", "--quiet", "--require-hashes", "--no-deps", "--wheel-dir", "wheels")
    run(*pip, *fetch, "-r", "needed.txt", cwd=work, what="fetching what a node needs, by hash")
    place = work / "environment"
    run(python, "-m", "venv", str(place), cwd=work, what="making an environment")
    pip = (str(place / "bin" / "python"), "-m", "pip")
    get = ("install", "--quiet", "--no-index", "--find-links", "wheels", str(wheel))
    run(*pip, *get, cwd=work, what="installing the wheel", env=offline())
    run(*pip, "check", cwd=work, what="pip check", env=offline())
    return place


def demo(place: Path, work: Path) -> None:
    """`openfl-node demo` in this environment; Failed when it is not better together."""
    command = (str(place / "bin" / "openfl-node"), "demo", "--json")
    said = run(*command, cwd=work, what="openfl-node demo", env=offline())
    if not json.loads(said):
        raise Failed("openfl-node demo --json said nothing")


def upgrade(place: Path, work: Path) -> None:
    """Homes of the version before go on; Failed when one does not."""
    for kind, data in DATA.items():
        home = work / f"home-{kind}"
        shutil.copytree(HOMES / kind, home)
        for path in (home, *home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)  # Git does not keep modes
        shutil.copy(HOMES / data, home / "data.csv")
        before = json.loads((home / "status.json").read_text(encoding="utf-8"))
        program = str(place / "bin" / "openfl-node")
        told = json.loads(
            run(
                *(program, "status", "--home", str(home), "--json"),
                cwd=work,
                what=f"status of the home {kind}",
                env=offline(),
            )
        )
        for said in (told, before):
            said.pop("home")
        if told != before:
            raise Failed(f"the home {kind} of the version before is told otherwise now")
        _goes_on(program, home, kind, before)


def _goes_on(program: str, home: Path, kind: str, before: dict[str, Any]) -> None:
    options = ("--home", str(home), "--data", str(home / "data.csv"), "--interval", "0.3")
    more = ("--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json")
    environment = {**offline(), "OPENFL_NETWORK_MDNS": "false"}
    kinds: list[str] = []
    peer, reached = "", 0
    with subprocess.Popen(
        [program, "start", *options, *more], stdout=subprocess.PIPE, text=True, env=environment
    ) as node:
        assert node.stdout is not None
        hung = threading.Timer(LONGEST_SECONDS, node.kill)
        hung.start()
        try:
            for line in node.stdout:
                event = json.loads(line)
                kinds.append(event["event"])
                if event["event"] == "listening":
                    peer = event["data"]["peer_id"]
                if event["event"] == "round":
                    reached = event["data"]["round"]
                    break
            else:
                raise Failed(f"the home {kind} of the version before does not go on")
        finally:
            node.send_signal(signal.SIGINT)
            node.stdout.read()
            hung.cancel()
    if (peer, reached) != (before["peer_id"], before["round"] + 1):
        raise Failed(f"the home {kind} goes on as {peer} in round {reached}")
    if {"state-damaged", "state-refused"} & {*kinds}:
        raise Failed(f"the home {kind} of the version before is called damaged")


# --- the bill of materials, licences ------------------------------------------------------------


def tool(name: str) -> str:
    """A program of requirements/release.txt, which is installed by hash when it is not there."""
    stamp = TOOLS / ".made-of"
    if not stamp.is_file() or stamp.read_bytes() != TOOLS_LOCK.read_bytes():
        shutil.rmtree(TOOLS, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(TOOLS), cwd=ROOT, what="making an environment")
        pip = (str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet")
        hashes = ("--no-deps", "--require-hashes", "-r", str(TOOLS_LOCK))
        run(*pip, *hashes, cwd=ROOT, what="installing the tools of a release")
        stamp.write_bytes(TOOLS_LOCK.read_bytes())
    return str(TOOLS / "bin" / name)


def bill_of_materials(place: Path, version: str, file: Path) -> int:
    """Write it for an environment, checked against its schema; how many packages it lists. What
    Python has put there itself and no node needs, such as pip, is gone afterwards."""
    python = str(place / "bin" / "python")
    needed = needed_names(LOCK.read_text(encoding="utf-8"))
    brought = [name for name in ("setuptools", "pip") if name not in needed]
    run(
        *(python, "-m", "pip", "uninstall", "--quiet", "--yes", *brought),
        cwd=ROOT,
        what="pip uninstall",
        env=offline(),
    )
    options = ("--output-reproducible", "--validate", "--of", "JSON", "-o", str(file))
    project = ("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application")
    run(
        *(tool("cyclonedx-py"), "environment", *project, *options, python),
        cwd=ROOT,
        what="writing the bill of materials",
    )
    bill = json.loads(file.read_text(encoding="utf-8"))
    # pyproject.toml leaves the version to the build.
    purl = f"pkg:pypi/openfl-node@{version}"
    bill["metadata"]["component"].update({"version": version, "purl": purl})
    file.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return check_bill(bill, (place / "lib").glob("python3.*/site-packages/*.dist-info"))


def check_bill(bill: dict[str, Any], installed: Iterable[Path]) -> int:
    """How many packages it lists; Failed unless these are what is installed beside openfl-node, in
    the same versions."""
    listed = {(canonicalize_name(part["name"]), part["version"]) for part in bill["components"]}
    there = set()
    for info in installed:
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        there.add((canonicalize_name(name), version))
    there = {package for package in there if package[0] != "openfl-node"}
    if listed != there or not there:
        differ = sorted(" ".join(package) for package in listed ^ there)
        raise Failed(f"the bill of materials is not what is installed: {', '.join(differ)}")
    return len(listed)


def licences(place: Path) -> str:
    """The table of licences in an environment; Failed when one is not known to be good."""
    (folder,) = (place / "lib").glob("python3.*/site-packages")
    script = str(ROOT / "scripts" / "licences.py")
    return run(sys.executable, script, str(folder), cwd=ROOT, what="looking at licences")


def try_wheel(wheel: Path, chosen: Sequence[str], papers: Path | None) -> None:
    """All of it; Failed when anything is not so."""
    if chosen:
        programs = {program: program for program in chosen}
    else:
        programs, lacking = pythons()
        if lacking:
            say(f"not found, so not tried: Python {', '.join(lacking)}")
        if not programs:
            raise Failed(f"no Python of {', '.join(VERSIONS)} is found")
    for number, (python, program) in enumerate(programs.items()):
        with tempfile.TemporaryDirectory(prefix="openfl-wheel-") as folder:
            work = Path(folder).resolve()
            place = install(wheel.resolve(), program, work)
            demo(place, work)
            upgrade(place, work)
            say(f"Python {python}: installed by hash, demo offline, homes of 0.1.0 go on")
            if number == 0 and papers is not None:
                stem, version = "-".join(wheel.name.split("-")[:2]), wheel.name.split("-")[1]
                (papers / f"{stem}.licences.txt").write_text(licences(place), encoding="utf-8")
                count = bill_of_materials(place, version, (papers / f"{stem}.cdx.json").resolve())
                say(f"{stem}.cdx.json: {count} packages, whose licences are good")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="try_wheel.py", description="Try a wheel.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", action="append", default=[], help="try with this one only")
    parser.add_argument("--sbom-folder", type=Path, help="write the bill of materials there")
    options = parser.parse_args(arguments)
    try:
        try_wheel(options.wheel, options.python, options.sbom_folder)
    except (Failed, subprocess.TimeoutExpired) as failed:
        print(f"release: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
