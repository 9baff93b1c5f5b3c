"""packaging/: what the image and the compose file name is there. No test has a container engine:
building and running them is done by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from openfl.config import RESERVED_ENV, all_settings, env_name
from openfl_cli import main

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "packaging" / "Containerfile"
IGNORED = ROOT / "packaging" / "Containerfile.dockerignore"
COMPOSE = ROOT / "packaging" / "compose.yaml"
HOME = "/var/lib/openfl"
SHARED = "/srv/openfl"


def instructions(word: str) -> list[str]:
    """What stands behind each instruction of that name, its lines put together."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]


@cache
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    plain: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return plain


def nodes() -> dict[str, Any]:
    services: dict[str, Any] = compose()["services"]
    return services


def script_of(service: dict[str, Any]) -> str:
    """What the shell of a service gets: compose makes one `$` of two."""
    (text,) = service["command"]
    return str(text).replace("$$", "$")


def require_known(words: list[str]) -> None:
    """That the parser takes this command line of openfl-node."""
    main.build_parser().parse_args(words)


# --- the image ----------------------------------------------------------------------------------


def test_the_image_is_made_in_stages_and_runs_as_a_user_of_its_own() -> None:
    stages = instructions("FROM")
    assert stages == ["${PYTHON} AS build", "${PYTHON}"]
    text = CONTAINERFILE.read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    assert f"useradd --system --uid 10001 --home-dir {HOME} " in last
    assert instructions("VOLUME") == [HOME]
    assert f"OPENFL_HOME={HOME}" in last
    assert "build-essential" not in last  # nobody compiles where the node runs


def test_what_is_installed_is_pinned_and_checked() -> None:
    runs = " && ".join(instructions("RUN"))
    installs = re.findall(r"pip (?:install|wheel) [^&]*", runs)
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert "://" not in CONTAINERFILE.read_text(encoding="utf-8")


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    copied = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    lines = IGNORED.read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert kept == set(copied)
    assert "*" in lines


def test_the_image_has_what_the_wheel_is_made_of() -> None:
    """As the build backend would say, too late."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*targets["packages"], *targets["force-include"], project["project"]["readme"]]
    copied = [name for line in instructions("COPY") for name in line.split()[:-1]]
    assert [name for name in needed if not any(name.startswith(of) for of in copied)] == []
    extras = re.search(r"openfl-node\[([\w,]+)\]", CONTAINERFILE.read_text(encoding="utf-8"))
    assert extras
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])


def test_what_the_image_runs_is_a_command_line_of_ours() -> None:
    (entry,), (usual,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert entry == '["openfl-node"]'
    require_known(re.findall(r'"([^"]*)"', usual))
    (health,) = instructions("HEALTHCHECK")
    words = re.findall(r'"([^"]*)"', health)
    assert words[0] == "openfl-node"
    require_known(words[1:])
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    (port,) = instructions("EXPOSE")
    assert f"/tcp/{port}" in usual


# --- the four nodes -----------------------------------------------------------------------------


def test_there_are_four_nodes_and_all_but_the_first_wait_for_it() -> None:
    assert list(nodes()) == ["first", "second", "third", "fourth"]
    assert [service["environment"]["SHARE"] for service in nodes().values()] == [*"0123"]
    for name, service in nodes().items():
        assert (service.get("depends_on") is None) is (name == "first")
    for name in list(nodes())[1:]:
        assert nodes()[name]["depends_on"] == {"first": {"condition": "service_healthy"}}


def test_each_node_has_a_home_of_its_own_and_no_more_rights_than_it_needs() -> None:
    homes = []
    for name, service in nodes().items():
        volumes = dict(reversed(text.rsplit(":", 1)) for text in map(writable, service["volumes"]))
        homes.append(volumes[HOME])
        assert volumes[HOME] in compose()["volumes"]
        assert (f"meet:{SHARED}" in service["volumes"]) is (name == "first")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        build = service["build"]
        assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == CONTAINERFILE
    assert len(set(homes)) == 4


def writable(volume: str) -> str:
    return volume.removesuffix(":ro")


def test_every_command_and_setting_of_the_compose_file_is_known() -> None:
    variables = {env_name(key) for key in all_settings()} | set(RESERVED_ENV)
    found = 0
    for service in nodes().values():
        script = script_of(service).replace("\\\n", " ").replace("2>/dev/null", "")
        for line in re.findall(r"openfl-node ([^|>\n]*)", script):
            require_known(re.sub(r'"[^"]*"', "X", line).split())
            found += 1
        names = [name for name in service["environment"] if name.startswith("OPENFL_")]
        assert set(names) <= variables
    assert found == 6
    require_known(nodes()["first"]["healthcheck"]["test"][2:])
    comments = re.findall(r"^#.* openfl-node (\w[^\n(]*)", COMPOSE.read_text(), re.MULTILINE)
    for line in comments:
        require_known(line.split())
    assert len(comments) == 2


@pytest.mark.skipif(shutil.which("awk") is None, reason="no awk")
def test_the_shell_of_the_nodes_does_what_it_should(tmp_path: Path) -> None:
    """With an `openfl-node` that prints how it was called."""
    programs, shared = tmp_path / "bin", tmp_path / "shared"
    for folder in (programs, shared):
        folder.mkdir()
    fake = programs / "openfl-node"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = id ] && echo 12D3KooW && echo /ip4/x; echo "$@" >>called\n'
    )
    fake.chmod(0o755)
    whole = (ROOT / "examples" / "music" / "ratings.csv").read_text(encoding="utf-8").splitlines()
    rows: list[str] = []
    for name, service in nodes().items():
        home = tmp_path / name
        home.mkdir()
        script = script_of(service).replace("/data/", f"{ROOT}/examples/music/")
        done = subprocess.run(
            [*service["entrypoint"], script.replace(SHARED, str(shared))],
            cwd=home,
            env={**service["environment"], "PATH": f"{programs}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        head, *own = (home / "ratings.csv").read_text(encoding="utf-8").splitlines()
        assert head == whole[0]
        rows += own
        called = (home / "called").read_text().splitlines()
        told = "--bootstrap /dns4/first/tcp/4001/p2p/12D3KooW" in called[-1]
        assert told is (name != "first")
    assert sorted(rows) == sorted(whole[1:])
