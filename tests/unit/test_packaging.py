"""The wheel, the sample data in it, and the pinned versions."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from openfl import __version__
from openfl_cli.sample import sample_folder

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the files it is made of."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("openfl", "cli", "examples", "configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(source / "dist")],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_both_packages_and_the_sample_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"openfl_node-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {"openfl/py.typed", "openfl/config/load.py", "openfl_cli/main.py"} <= set(names)
    assert {"openfl_cli/_sample/songs.csv", "openfl_cli/_sample/ratings.csv"} <= set(names)
    scenarios = {path.name for path in (ROOT / "configs" / "scenarios").glob("*.toml")}
    assert {f"openfl_cli/_scenarios/{name}" for name in scenarios} <= set(names)
    top = {name.partition("/")[0] for name in names}
    assert top == {"openfl", "openfl_cli", f"openfl_node-{__version__}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_says_how_to_call_it_and_what_it_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"openfl_node-{__version__}.dist-info"
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert "openfl-node = openfl_cli.main:main" in entry_points
    metadata = archive.read(f"{info}/METADATA").decode()
    assert "Requires-Dist: libp2p==0.8.1" in metadata
    assert "pytest" not in metadata.partition("\n\n")[0]


def test_an_installed_package_has_its_own_sample(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", "from openfl_cli.sample import *; print(sample_folder())"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == tmp_path.resolve() / "openfl_cli" / "_sample"
    for name in ("songs.csv", "ratings.csv"):
        installed = tmp_path / "openfl_cli" / "_sample" / name
        assert installed.read_bytes() == (ROOT / "examples" / "music" / name).read_bytes()


def test_a_checkout_uses_the_files_under_examples() -> None:
    assert sample_folder() == ROOT / "examples" / "music"


# --- what is declared, and pinned versions ------------------------------------------------------


def pinned() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, flags=re.MULTILINE))


def declared() -> list[Requirement]:
    lines = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
    return [Requirement(line) for line in lines]


def imported(*folders: str) -> set[str]:
    """The top-level names of everything imported below `folders` that Python does not bring."""
    names: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"openfl", "openfl_cli"}


def test_what_the_packages_import_is_declared_and_nothing_else() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    lines = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    names = {Requirement(line).name for line in lines}
    distributions = {
        "google": "protobuf",
        "dp_accounting": "dp-accounting",
        "Crypto": "pycryptodome",
        "dns": "dnspython",
        "charset_normalizer": "charset-normalizer",
    }
    found = {distributions.get(name, name) for name in imported("openfl", "cli")}
    assert found == names


def test_the_oldest_trio_that_is_allowed_knows_whether_it_runs() -> None:
    (trio,) = (requirement for requirement in declared() if requirement.name == "trio")
    assert not trio.specifier.contains("0.28.0"), "openfl.run calls trio.lowlevel.in_trio_run"
    assert trio.specifier.contains("0.29.0")


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_each_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    version = pinned()[requirement.name]
    assert requirement.specifier.contains(version), "run `make lock`"


@pytest.mark.parametrize(
    ("group", "file"), [("docs", "docs"), ("pytorch", "torch"), ("release", "release")]
)
def test_so_is_what_the_other_groups_need(group: str, file: str) -> None:
    text = (ROOT / "requirements" / f"{file}.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, flags=re.MULTILINE))
    for line in PYPROJECT["dependency-groups"][group]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(versions[wanted.name]), "run `make lock`"
    if group == "pytorch":  # in one environment with the others
        assert {name: versions[name] for name in {*versions} & {*pinned()}}.items() <= (
            pinned().items()
        )


def test_every_package_is_pinned_once_for_all_pythons_and_platforms() -> None:
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK, flags=re.MULTILINE)
    assert len(names) == len(set(names)) > 50


@pytest.mark.parametrize("file", ["docs", "lock", "release", "torch"])
def test_every_pinned_package_has_a_hash_and_no_address(file: str) -> None:
    text = (ROOT / "requirements" / f"{file}.txt").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 10
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_what_is_installed_for_ci_is_installed_by_hash_but_for_pytorch_itself() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    trial = (ROOT / "scripts" / "try_wheel.py").read_text(encoding="utf-8")
    of_torch = re.findall(r"^\t.*pip install (.*)$", makefile, re.MULTILINE)
    assert [
        line for line in of_torch if "--require-hashes" not in line and "atheris" not in line
    ] == ["--quiet --disable-pip-version-check -r requirements/torch-build.txt"]
    pinned_only = 'install --no-deps --require-hashes -r "$lock"'
    assert pinned_only in setup
    assert "--no-build-isolation" in setup, "the build takes nothing but what is pinned"
    assert trial.count("--require-hashes") == 2
    build = (ROOT / "requirements" / "torch-build.txt").read_text(encoding="utf-8")
    (torch,) = [line for line in build.splitlines() if line and not line.startswith("#")]
    assert re.fullmatch(r"torch==[\d.]+", torch)


def test_so_is_what_npm_installs() -> None:
    files = [
        path
        for path in (ROOT / "tests").glob("*/**/package-lock.json")
        if "node_modules" not in path.parts
    ]
    assert files
    for file in files:
        packages = json.loads(file.read_text(encoding="utf-8"))["packages"]
        fetched = {name: found for name, found in packages.items() if name}
        assert fetched
        assert [name for name, found in fetched.items() if "integrity" not in found] == []


# --- workflows ----------------------------------------------------------------------------------

WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}


def steps_of(workflow: str) -> list[str]:
    """What its steps run."""
    return re.findall(r"^ +(?:- )?run: (.+)$", workflow, re.MULTILINE)


def test_the_workflows_run_what_contributors_run() -> None:
    assert {*WORKFLOWS} == {"ci.yml", "release.yml"}
    (all_of_ci,) = steps_of(WORKFLOWS["ci.yml"])
    assert all_of_ci.endswith(" bash .ci/run")
    of_release = steps_of(WORKFLOWS["release.yml"])
    assert of_release[0] == all_of_ci
    assert any("make build" in step for step in of_release)
    assert any("scripts/try_wheel.py dist/*.whl --sbom-folder dist" in step for step in of_release)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci" / "run").read_text()):
        assert f"\n{target}: " in makefile


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_takes_actions_by_their_digest_and_may_do_little(name: str) -> None:
    text = WORKFLOWS[name]
    used = re.findall(r"uses: (.+)$", text, re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action), action
    assert "\npermissions:\n  contents: read\n" in text
    assert "secrets." not in text
    assert "\t" not in text
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert text.count("timeout-minutes:") == text.count("runs-on:")
    wide = re.findall(r"^ +([a-z-]+): write", text, re.MULTILINE)
    assert wide == (["id-token", "attestations"] if name == "release.yml" else [])


def test_the_workflows_try_every_python_that_is_supported() -> None:
    supported = re.findall(r"Python :: (3\.\d+)", str(PYPROJECT["project"]["classifiers"]))
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOWS["ci.yml"])
    assert re.findall(r"3\.\d+", matrix) == supported
    tried = re.findall(r"^ +(3\.\d+)$", WORKFLOWS["release.yml"], re.MULTILINE)
    assert sorted(tried) == supported


# --- what contributors are given ----------------------------------------------------------------


def test_the_hooks_run_what_make_check_runs_with_the_tools_of_the_environment() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"^ +entry: \.venv/bin/(.*)$", hooks, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    checks = re.findall(r"^\trun ([^;\n]+);", makefile, re.MULTILINE)
    assert len(checks) == 4
    # The hook mends the formatting of what is committed, `make check` looks at all files.
    assert [entry.replace(" --force-exclude", "") for entry in entries] == [
        check.replace(" --check", "").removesuffix(" .") for check in checks
    ]
    assert set(re.findall(r"- repo: (.*)$", hooks, re.MULTILINE)) == {"local"}
    assert "language: system" in hooks
    assert "language: python" not in hooks
    assert {"ruff", "mypy", "import-linter"} <= set(pinned())


def test_a_bug_report_asks_for_what_is_needed_to_see_it() -> None:
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    for asked in ("openfl-node --version", "node.log", "openfl-node status --json"):
        assert asked in form
    assert "SECURITY.md" in form
    assert (ROOT / "SECURITY.md").is_file()
