"""Makes a release: `make release VERSION=x.y.z`. Nothing leaves this machine.

1. What has to hold is looked at, and everything that does not is told at once: a version above the
   last one, the branch main with nothing uncommitted, a tag that is not there yet, a section of
   CHANGELOG.md with what is new.
2. `make check` and `make test`.
3. Wheel and source distribution are built from what is committed, with the new version and the
   dated changelog, in a folder of their own, and looked into; the wheel is installed and run.
4. scripts/try_wheel.py installs the wheel with every supported Python that is here, runs the demo
   and homes of the version before in it, and writes a bill of materials and the licences. It
   fetches what a node needs from the package index, by hash.
5. Only then are `openfl/__init__.py` and `CHANGELOG.md` written and committed, the commit tagged,
   and all files put into dist/, with their SHA-256.

--dry-run leaves the fifth step out. --skip-checks leaves the second out, --skip-trial the fourth:
to try the rest, or without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from email.parser import HeaderParser
from pathlib import Path

VERSION_FILE = Path("openfl/__init__.py")
CHANGELOG = Path("CHANGELOG.md")
BRANCH = "main"
DISTRIBUTION = "openfl_node"
IN_THE_SDIST = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "tests/conftest.py")
NOT_IN_THE_SDIST = (".ci", ".github", ".git", ".venv", "dist")

_VERSION_LINE = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)
_NUMBERS = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_UNRELEASED = re.compile(
    r"^## \[(?:(?P<open>unreleased)|(?P<named>[^\]\n]+)\] - unreleased(?=\n|\Z))",
    re.MULTILINE | re.IGNORECASE,
)
_SECTION = re.compile(r"^## ", re.MULTILINE)


class Refused(Exception):
    """The release cannot be made: what is in the way, a line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- versions and the changelog: text in, text out ----------------------------------------------


def numbers_of(version: str) -> tuple[int, ...] | None:
    """(major, minor, patch); None when `version` is not of the form x.y.z."""
    found = _NUMBERS.fullmatch(version)
    return tuple(int(part) for part in found.groups()) if found else None


def current_version(text: str) -> str | None:
    """The version that openfl/__init__.py states; None when it states none, or several."""
    found = _VERSION_LINE.findall(text)
    return found[0] if len(found) == 1 else None


def with_version(text: str, version: str) -> str:
    """openfl/__init__.py with another version."""
    return _VERSION_LINE.sub(f'__version__ = "{version}"', text)


def unreleased_section(text: str) -> tuple[int, int, int] | None:
    """Where the section begins, where its heading ends, and where it ends; None without one."""
    heading = _UNRELEASED.search(text)
    if heading is None:
        return None
    body = text.find("\n", heading.start())
    body = len(text) if body < 0 else body + 1
    following = _SECTION.search(text, body)
    return heading.start(), body, following.start() if following else len(text)


def changelog_problem(text: str, version: str) -> str | None:
    """Why `version` cannot be released with this changelog; None when it can."""
    section = unreleased_section(text)
    if section is None:
        return f"{CHANGELOG}: there is no section headed `## [Unreleased]`"
    heading = _UNRELEASED.search(text)
    named = heading["named"] if heading else None
    if named not in (None, version):
        return f"{CHANGELOG}: the unreleased section is headed {named}, not {version}: correct one"
    if not notes_of(text):
        return f"{CHANGELOG}: the unreleased section is empty: say what is new"
    if re.search(rf"^## \[{re.escape(version)}\] - \d", text, re.MULTILINE):
        return f"{CHANGELOG}: there is a dated section for {version} already"
    return None


def notes_of(text: str) -> str:
    """What the unreleased section says, without headings that nothing stands under."""
    section = unreleased_section(text)
    if section is None:
        return ""
    _, body, end = section
    parts = re.split(r"^(?=### )", text[body:end], flags=re.MULTILINE)
    return "".join(part for part in parts if re.sub(r"\A###[^\n]*", "", part).strip()).strip()


def with_dated_section(text: str, version: str, day: date) -> str:
    """The changelog with the unreleased section dated, and a new, empty one above it."""
    section = unreleased_section(text)
    if section is None:
        raise ValueError("no unreleased section")
    start, _, end = section
    dated = f"## [Unreleased]\n\n## [{version}] - {day.isoformat()}\n\n{notes_of(text)}\n"
    return text[:start] + dated + ("\n" + text[end:] if end < len(text) else "")


# --- the repository -----------------------------------------------------------------------------


def git(root: Path, *arguments: str) -> str:
    """The output of a git command in `root`; Refused with what git said when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Refused(f"git {arguments[0]} failed: {said[-1]}")
    return done.stdout


def problems_of(root: Path, version: str) -> list[str]:
    """Everything that is in the way of releasing `version` from `root`, a line each."""
    try:
        return [
            *_version_problems(root, version),
            *_repository_problems(root),
            *_changelog_problems(root, version),
        ]
    except Refused as refused:
        return list(refused.problems)


def _version_problems(root: Path, version: str) -> list[str]:
    wanted = numbers_of(version)
    if wanted is None:
        return [f"VERSION is {version!r}: it must be three numbers such as 1.4.0"]
    stated = current_version((root / VERSION_FILE).read_text(encoding="utf-8"))
    before = None if stated is None else numbers_of(stated)
    if before is None:
        return [f'{VERSION_FILE}: there must be one line __version__ = "x.y.z"']
    if wanted < before:
        return [f"VERSION is {version}, which is below the {stated} of {VERSION_FILE}"]
    tags = [tag.removeprefix("v") for tag in git(root, "tag", "--list", "v*").split()]
    if version in tags:
        return [f"the tag v{version} is there already"]
    highest = max(tags, key=lambda tag: numbers_of(tag) or (), default="")
    if (numbers_of(highest) or ()) > wanted:
        return [f"VERSION is {version}, which is below the tag v{highest}"]
    return []


def _repository_problems(root: Path) -> list[str]:
    found = []
    branch = git(root, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if branch != BRANCH:
        found.append(f"this is the branch {branch}: releases are made on {BRANCH}")
    changed = [line[3:] for line in git(root, "status", "--porcelain").splitlines()]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        found.append(f"not committed: {', '.join(changed[:3])}{more}")
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
    except Refused:
        found.append("git does not know who you are: set user.name and user.email")
    return found


def _changelog_problems(root: Path, version: str) -> list[str]:
    if numbers_of(version) is None:
        return []
    problem = changelog_problem((root / CHANGELOG).read_text(encoding="utf-8"), version)
    return [problem] if problem else []


# --- building, and looking into what was built --------------------------------------------------


def build(root: Path, version: str, day: date, work: Path) -> tuple[Path, Path]:
    """Wheel and source distribution, built in `work` from what is committed in `root`."""
    source = work / "source"
    source.mkdir()
    git(root, "checkout-index", "--all", f"--prefix={source}/")
    stamp(source, version, day)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(work / "dist")],
        cwd=source,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Refused(f"the build failed: {_last_line(done.stderr or done.stdout)}")
    (wheel,) = (work / "dist").glob("*.whl")
    (sdist,) = (work / "dist").glob("*.tar.gz")
    return wheel, sdist


def stamp(folder: Path, version: str, day: date) -> None:
    """Write the version and the date of the release into the two files that state them."""
    file, log = folder / VERSION_FILE, folder / CHANGELOG
    file.write_text(with_version(file.read_text(encoding="utf-8"), version), encoding="utf-8")
    log.write_text(
        with_dated_section(log.read_text(encoding="utf-8"), version, day), encoding="utf-8"
    )


def wheel_problems(wheel: Path, files: Sequence[str], version: str) -> list[str]:
    """What is wrong with the wheel. files: those of the packages, which it has to hold."""
    name = f"{DISTRIBUTION}-{version}-py3-none-any.whl"
    if wheel.name != name:
        return [f"the wheel is called {wheel.name}, not {name}"]
    info = f"{DISTRIBUTION}-{version}.dist-info"
    found = []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        lacking = sorted({*files, f"{info}/METADATA", f"{info}/entry_points.txt"} - names)
        found += [f"the wheel lacks {name}" for name in lacking]
        strange = sorted(
            {name.partition("/")[0] for name in names} - {"openfl", "openfl_cli", info}
        )
        found += [f"{name} does not belong in the wheel" for name in strange]
        if f"{info}/METADATA" in names:
            stated = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
            if stated["Version"] != version:
                found.append(f"the wheel's metadata states version {stated['Version']}")
    return found


def sdist_problems(sdist: Path, files: Sequence[str], version: str) -> list[str]:
    """What is wrong with the source distribution. files: those of the packages, as above."""
    top = f"{DISTRIBUTION}-{version}"
    if sdist.name != f"{top}.tar.gz":
        return [f"the source distribution is called {sdist.name}, not {top}.tar.gz"]
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}
    lacking = sorted({*IN_THE_SDIST, *files} - names)
    found = [f"the source distribution lacks {name}" for name in lacking]
    strange = sorted({name.partition("/")[0] for name in names} & {*NOT_IN_THE_SDIST})
    return found + [f"{name} does not belong in the source distribution" for name in strange]


def installed_problems(wheel: Path, version: str, work: Path) -> list[str]:
    """Whether the wheel can be installed, and the command that it brings runs. Nothing is
    downloaded: the dependencies are those of this Python."""
    place = work / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-deps", "--no-index", "--no-compile", "--target", str(place), str(wheel)]
    done = subprocess.run(install, cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        return [f"the wheel cannot be installed: {_last_line(done.stderr)}"]
    command = [str(place / "bin" / "openfl-node"), "--version"]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode != 0 or version not in done.stdout.split():
        said = _last_line(done.stdout + done.stderr)
        return [f"`openfl-node --version` of the installed wheel said: {said}"]
    return []


def papers_of(root: Path, wheel: Path) -> list[Path]:
    """The bill of materials and the list of licences, beside the wheel; Refused when the wheel does
    not stand the trial of scripts/try_wheel.py, which says how far it is."""
    script = root / "scripts" / "try_wheel.py"
    command = [sys.executable, str(script), str(wheel), "--sbom-folder", str(wheel.parent)]
    done = subprocess.run(command, cwd=root, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Refused(_last_line(done.stderr).removeprefix("release: "))
    return sorted((*wheel.parent.glob("*.cdx.json"), *wheel.parent.glob("*.licences.txt")))


def sums_of(files: Sequence[Path]) -> str:
    """The text of SHA256SUMS, as `sha256sum --check` reads it."""
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def files_of(root: Path) -> tuple[list[str], list[str]]:
    """The files of the packages as the wheel has them, and as the source distribution has them: the
    page and py.typed are as needed as what is Python."""
    files = git(root, "ls-files", "openfl", "cli/openfl_cli").split("\n")
    in_source = [file for file in files if file]
    return [file.removeprefix("cli/") for file in in_source], in_source


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[-1]


# --- the release --------------------------------------------------------------------------------


def run_checks(root: Path) -> None:
    """`make check`, then `make test`; Refused when one fails, or leaves the tree changed."""
    # Called by make itself: what is meant for this program is not meant for pytest.
    of_make = ("ARGS", "VERSION", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    for target in ("check", "test"):
        say(f"make {target}")
        if subprocess.run(["make", target], cwd=root, env=environment).returncode != 0:
            raise Refused(f"make {target} failed: nothing was written")
    if problems := _repository_problems(root):
        raise Refused(*(f"after the tests: {problem}" for problem in problems))


def publish_here(root: Path, version: str, day: date, built: Sequence[Path]) -> None:
    """Write, commit and tag. What was written is taken back when it cannot be committed."""
    notes = notes_of((root / CHANGELOG).read_text(encoding="utf-8"))
    paths = (str(VERSION_FILE), str(CHANGELOG))
    stamp(root, version, day)
    try:
        git(root, "commit", "--quiet", "--message", f"Release {version}", "--", *paths)
    except Refused:
        git(root, "checkout", "--quiet", "HEAD", "--", *paths)
        raise
    message = f"OpenFL {version}\n\n{notes}\n"
    try:
        # Verbatim, or headings of the changelog would be taken for comments.
        git(root, "tag", "--annotate", "--cleanup=verbatim", "--message", message, f"v{version}")
    except Refused as refused:
        raise Refused(
            *refused.problems, f"the commit is there, the tag is not: git tag -a v{version}"
        ) from None
    (root / "dist").mkdir(exist_ok=True)
    for file in built:
        shutil.copy(file, root / "dist")
    (root / "dist" / "SHA256SUMS").write_text(sums_of(built), encoding="utf-8")


def release(
    root: Path,
    version: str,
    day: date,
    dry_run: bool,
    skip_checks: bool,
    skip_trial: bool = False,
) -> None:
    """The whole of it; Refused when anything is in the way."""
    if problems := problems_of(root, version):
        raise Refused(*problems)
    if skip_checks:
        say("make check and make test are left out")
    else:
        run_checks(root)
    with tempfile.TemporaryDirectory(prefix="openfl-release-") as folder:
        work = Path(folder).resolve()
        wheel, sdist = build(root, version, day, work)
        in_wheel, in_source = files_of(root)
        problems = [
            *wheel_problems(wheel, in_wheel, version),
            *sdist_problems(sdist, in_source, version),
            *installed_problems(wheel, version, work),
        ]
        if problems:
            raise Refused(*problems)
        for file in (wheel, sdist):
            say(f"built and looked into {file.name} ({file.stat().st_size / 1000:,.0f} kB)")
        papers: list[Path] = []
        if skip_trial:
            say("the trial of the wheel is left out, and with it the bill of materials")
        else:
            papers = papers_of(root, wheel)
        if dry_run:
            say("a dry run: nothing was written, committed or tagged")
            return
        publish_here(root, version, day, (wheel, sdist, *papers))
    say(f"committed and tagged v{version}; the files are in dist/. What is left is yours to do:")
    say(f"  git push origin {BRANCH} v{version}")


def say(text: str) -> None:
    """A line of progress."""
    print(f"release: {text}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 when the release was refused."""
    parser = argparse.ArgumentParser(prog="release.py", description="Make a release.")
    parser.add_argument("version", metavar="VERSION", help="such as 1.4.0")
    parser.add_argument("--dry-run", action="store_true", help="do all but write")
    parser.add_argument(
        "--skip-checks", action="store_true", help="without make check and make test"
    )
    parser.add_argument("--skip-trial", action="store_true", help="without scripts/try_wheel.py")
    options = parser.parse_args(arguments)
    root = Path(__file__).resolve().parents[1]
    try:
        today = datetime.now(UTC).date()
        release(
            root,
            options.version,
            today,
            options.dry_run,
            options.skip_checks,
            options.skip_trial,
        )
    except Refused as refused:
        for problem in refused.problems:
            print(f"release: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
