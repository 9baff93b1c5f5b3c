"""scripts/release.py in repositories of its own: what it refuses, and what a release leaves."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("openfl", "cli", "examples", "configs", "scripts", ".github")
FILES = ("pyproject.toml", "README.md", "LICENSE", "Makefile", ".gitignore", "tests/conftest.py")
DAY = date(2031, 5, 17)
CHANGES = """\
# Changelog

## [Unreleased]

### Added

- Nodes that hum.

### Removed

## [0.0.1] - 2030-01-02

- The first.
"""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def load_script() -> ModuleType:
    """scripts/release.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load_script()


@pytest.fixture(autouse=True)
def settings_of_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Git as it is for somebody who has said who they are, and nothing else."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[user]\n\tname = Ann\n\temail = ann@example.org\n\tuseConfigOnly = true\n"
        "[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(root: Path, *arguments: str) -> str:
    return str(release.git(root, *arguments))


def committed(root: Path) -> Path:
    """`root` as a repository with everything in it committed."""
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All of it")
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with the two files that a release changes: version 0.1.0, something to tell."""
    root = tmp_path / "small"
    (root / "openfl").mkdir(parents=True)
    (root / "openfl" / "__init__.py").write_text('"""Words."""\n\n__version__ = "0.1.0"\n')
    (root / "CHANGELOG.md").write_text(CHANGES)
    return committed(root)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A repository of all that wheel and source distribution are made of, as it is here."""
    root = tmp_path / "whole"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)
    (root / "tests").mkdir()
    for file in FILES:
        shutil.copy(ROOT / file, root / file)
    (root / "CHANGELOG.md").write_text(CHANGES)
    return committed(root)


# --- what is in the way ------------------------------------------------------------------------


def test_nothing_is_in_the_way_of_a_release_that_can_be_made(small: Path) -> None:
    assert release.problems_of(small, "0.2.0") == []
    assert release.problems_of(small, "0.1.0") == [], "a version that was stated, never released"


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.0", "1.2.0rc1", "1.02.0", "1.2.0\n"])
def test_a_version_is_three_numbers(small: Path, version: str) -> None:
    assert release.problems_of(small, version) == [
        f"VERSION is {version!r}: it must be three numbers such as 1.4.0"
    ]


def test_a_version_goes_up(small: Path) -> None:
    assert release.problems_of(small, "0.0.9") == [
        "VERSION is 0.0.9, which is below the 0.1.0 of openfl/__init__.py"
    ]
    for tag in ("v0.1.0", "v0.9.0", "v0.10.0", "vanilla"):
        git(small, "tag", tag)
    assert release.problems_of(small, "0.9.1") == [
        "VERSION is 0.9.1, which is below the tag v0.10.0"
    ]
    assert release.problems_of(small, "0.10.0") == ["the tag v0.10.0 is there already"]
    assert release.problems_of(small, "0.10.1") == []


@pytest.mark.parametrize("text", ["", '__version__ = "1"\n', '__version__ = "0.1.0"\n' * 2])
def test_the_version_is_stated_once(small: Path, text: str) -> None:
    (small / "openfl" / "__init__.py").write_text(text)
    git(small, "commit", "--quiet", "--all", "--message", "Another version")
    assert release.problems_of(small, "0.2.0") == [
        'openfl/__init__.py: there must be one line __version__ = "x.y.z"'
    ]


def test_everything_that_is_in_the_way_is_told_at_once(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(small, "checkout", "--quiet", "-b", "wild")
    (small / "CHANGELOG.md").write_text("# Changelog\n")
    for number in range(4):
        (small / f"new-{number}").touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(small, "config", "user.useConfigOnly", "true")
    assert release.problems_of(small, "0.0.9") == [
        "VERSION is 0.0.9, which is below the 0.1.0 of openfl/__init__.py",
        "this is the branch wild: releases are made on main",
        "not committed: CHANGELOG.md, new-0, new-1 and 2 more",
        "git does not know who you are: set user.name and user.email",
        "CHANGELOG.md: there is no section headed `## [Unreleased]`",
    ]


def test_without_a_repository_git_says_so(tmp_path: Path) -> None:
    (tmp_path / "openfl").mkdir()
    (tmp_path / "openfl" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    (problem,) = release.problems_of(tmp_path, "0.2.0")
    assert problem.startswith("git tag failed: fatal: not a git repository")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("## [0.1.0] - 2030-01-01\n\n- It.\n", "no section headed `## [Unreleased]`"),
        (
            "## [Unreleased]\n\n### Added\n\n### Fixed\n\n## [0.1.0] - 2030-01-01\n\n- It.\n",
            "empty",
        ),
        ("## [Unreleased]", "is empty"),
        ("## [0.3.0] - unreleased\n\n- It.\n", "headed 0.3.0, not 0.2.0"),
        (
            "## [Unreleased]\n\n- It.\n\n## [0.2.0] - 2030-01-01\n",
            "section for 0.2.0 already",
        ),
    ],
)
def test_the_changelog_says_what_is_new(text: str, problem: str) -> None:
    assert problem in release.changelog_problem(text, "0.2.0")


# --- the changelog -----------------------------------------------------------------------------


def test_the_section_is_dated_under_a_new_one_and_the_rest_stays() -> None:
    dated = release.with_dated_section(CHANGES, "0.2.0", DAY)
    assert (
        dated
        == """\
# Changelog

## [Unreleased]

## [0.2.0] - 2031-05-17

### Added

- Nodes that hum.

## [0.0.1] - 2030-01-02

- The first.
"""
    )
    assert "is empty" in release.changelog_problem(dated, "0.3.0")


def test_a_section_that_is_named_already_is_dated_too() -> None:
    text = "# Changelog\n\n## [0.1.0] - unreleased\n\nThe first.\n"
    assert release.changelog_problem(text, "0.1.0") is None
    assert release.with_dated_section(text, "0.1.0", DAY) == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2031-05-17\n\nThe first.\n"
    )


# --- a release ---------------------------------------------------------------------------------


def test_a_release_is_built_committed_and_tagged(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def papers_of(root: Path, wheel: Path) -> list[Path]:
        paper = wheel.parent / "openfl_node-9.8.7.cdx.json"
        paper.write_text("{}")
        return [paper]

    monkeypatch.setattr(release, "papers_of", papers_of)
    release.release(whole, "9.8.7", DAY, dry_run=False, skip_checks=True)
    assert git(whole, "status", "--porcelain") == ""
    assert git(whole, "log", "--format=%s", "-1") == "Release 9.8.7\n"
    assert git(whole, "diff", "--name-only", "HEAD~").split() == [
        "CHANGELOG.md",
        "openfl/__init__.py",
    ]
    assert '__version__ = "9.8.7"' in (whole / "openfl" / "__init__.py").read_text()
    assert "## [9.8.7] - 2031-05-17" in (whole / "CHANGELOG.md").read_text()
    assert git(whole, "cat-file", "-t", "v9.8.7") == "tag\n", "annotated"
    assert git(whole, "rev-parse", "v9.8.7^{commit}") == git(whole, "rev-parse", "HEAD")
    message = git(whole, "tag", "--list", "--format=%(contents)", "v9.8.7").strip()
    assert message == "OpenFL 9.8.7\n\n### Added\n\n- Nodes that hum."
    wheel = whole / "dist" / "openfl_node-9.8.7-py3-none-any.whl"
    sdist = whole / "dist" / "openfl_node-9.8.7.tar.gz"
    with zipfile.ZipFile(wheel) as archive:
        assert '__version__ = "9.8.7"' in archive.read("openfl/__init__.py").decode()
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
        changes = archive.extractfile("openfl_node-9.8.7/CHANGELOG.md")
        assert changes is not None
        assert b"## [9.8.7] - 2031-05-17" in changes.read()
    assert "openfl_node-9.8.7/scripts/release.py" in names
    assert not [name for name in names if "/.github" in name]
    sums = (whole / "dist" / "SHA256SUMS").read_text().splitlines()
    files = {path.name: path.read_bytes() for path in (whole / "dist").iterdir()}
    del files["SHA256SUMS"]
    assert {wheel.name, sdist.name, "openfl_node-9.8.7.cdx.json"} == {*files}
    assert dict(reversed(line.split("  ")) for line in sums) == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


def test_a_dry_run_writes_nothing(whole: Path) -> None:
    head = git(whole, "rev-parse", "HEAD")
    ran = subprocess.run(
        [
            sys.executable,
            "scripts/release.py",
            "9.8.7",
            "--dry-run",
            "--skip-checks",
            "--skip-trial",
        ],
        cwd=whole,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "built and looked into openfl_node-9.8.7-py3-none-any.whl" in ran.stdout
    assert "the trial of the wheel is left out" in ran.stdout
    assert ran.stdout.endswith("a dry run: nothing was written, committed or tagged\n")
    assert git(whole, "rev-parse", "HEAD") == head
    assert git(whole, "tag", "--list") == ""
    assert git(whole, "status", "--porcelain", "--ignored") == ""


def test_a_wheel_that_does_not_stand_its_trial_is_not_released(whole: Path) -> None:
    (whole / "scripts" / "try_wheel.py").write_text(
        "import sys\nprint('release: pip check failed: no', file=sys.stderr)\nsys.exit(1)\n"
    )
    git(whole, "commit", "--quiet", "--all", "--message", "Another trial")
    with pytest.raises(release.Refused, match=r"\Apip check failed: no\Z"):
        release.release(whole, "9.8.7", DAY, dry_run=False, skip_checks=True)
    assert git(whole, "tag", "--list") == ""
    assert git(whole, "status", "--porcelain", "--ignored") == ""


def test_what_is_refused_is_one_line_each_and_exit_code_1(whole: Path) -> None:
    (whole / "notes.txt").touch()
    ran = subprocess.run(
        [sys.executable, "scripts/release.py", "0.0.1"], cwd=whole, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    below, changed, dated = ran.stderr.splitlines()
    assert below.startswith("release: VERSION is 0.0.1, which is below the ")
    assert changed == "release: not committed: notes.txt"
    assert dated == "release: CHANGELOG.md: there is a dated section for 0.0.1 already"


def test_a_build_that_fails_is_one_line_and_leaves_all_as_it_was(whole: Path) -> None:
    (whole / "LICENSE").unlink()
    (whole / "README.md").unlink()
    git(whole, "commit", "--quiet", "--all", "--message", "Without")
    with pytest.raises(release.Refused, match=r"the build failed: .*README\.md"):
        release.release(whole, "9.8.7", DAY, dry_run=False, skip_checks=True)
    assert git(whole, "tag", "--list") == ""
    assert git(whole, "status", "--porcelain", "--ignored") == ""


def test_tests_that_fail_end_the_release_before_anything_is_built(small: Path) -> None:
    (small / "Makefile").write_text('check:\n\t@test -z "$(ARGS)$(VERSION)"\ntest:\n\t@exit 3\n')
    committed(small)
    with pytest.raises(release.Refused, match="make test failed: nothing was written"):
        release.release(small, "0.2.0", DAY, dry_run=False, skip_checks=False)


def test_tests_that_change_the_tree_end_the_release(small: Path) -> None:
    (small / "Makefile").write_text("check:\n\t@touch left\ntest:\n\t@true\n")
    committed(small)
    with pytest.raises(release.Refused, match="after the tests: not committed: left"):
        release.release(small, "0.2.0", DAY, dry_run=False, skip_checks=False)


def test_what_is_for_the_release_does_not_reach_make(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small / "Makefile").write_text(
        'check test:\n\t@test -z "$(ARGS)$(VERSION)$(filter -%,$(MAKEFLAGS))"\n'
    )
    committed(small)
    monkeypatch.setenv("ARGS", "--dry-run")
    monkeypatch.setenv("VERSION", "0.2.0")
    monkeypatch.setenv("MAKEFLAGS", "-- ARGS=--dry-run VERSION=0.2.0")
    release.run_checks(small)


def test_a_hook_that_refuses_the_commit_leaves_the_files_as_they_were(small: Path) -> None:
    hook = small / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(release.Refused, match="git commit failed: not today"):
        release.publish_here(small, "0.2.0", DAY, [])
    assert git(small, "status", "--porcelain") == ""
    assert (small / "CHANGELOG.md").read_text() == CHANGES


# --- looking into what was built ---------------------------------------------------------------


def test_a_wheel_with_a_module_too_few_or_a_file_too_many_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "openfl_node-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("openfl/__init__.py", "")
        archive.writestr("tests/test_it.py", "")
        archive.writestr("openfl_node-0.2.0.dist-info/METADATA", "Version: 0.1.0\n\nwords\n")
        archive.writestr("openfl_node-0.2.0.dist-info/entry_points.txt", "")
    modules = ["openfl/__init__.py", "openfl/lost.py"]
    assert release.wheel_problems(wheel, modules, "0.2.0") == [
        "the wheel lacks openfl/lost.py",
        "tests does not belong in the wheel",
        "the wheel's metadata states version 0.1.0",
    ]
    assert release.wheel_problems(wheel, modules, "0.3.0") == [
        f"the wheel is called {wheel.name}, not openfl_node-0.3.0-py3-none-any.whl"
    ]
    (said,) = release.installed_problems(wheel, "0.2.0", tmp_path)
    assert said.startswith("the wheel cannot be installed: ")


def test_a_wheel_without_the_page_is_refused(whole: Path) -> None:
    project = whole / "pyproject.toml"
    part = "[tool.hatch.build.targets.wheel]\n"
    project.write_text(project.read_text().replace(part, f'{part}exclude = ["*.css"]\n'))
    git(whole, "commit", "--all", "--quiet", "--message", "without")
    with pytest.raises(release.Refused, match=r"^the wheel lacks openfl/app/http/page/page\.css$"):
        release.release(whole, "9.8.7", DAY, True, skip_checks=True, skip_trial=True)


def test_a_source_distribution_without_its_files_is_refused(tmp_path: Path) -> None:
    sdist = tmp_path / "openfl_node-0.2.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in (*release.IN_THE_SDIST, ".github/words.md"):
            archive.addfile(tarfile.TarInfo(f"openfl_node-0.2.0/{name}"))
    assert release.sdist_problems(sdist, ["openfl/lost.py"], "0.2.0") == [
        "the source distribution lacks openfl/lost.py",
        ".github does not belong in the source distribution",
    ]
