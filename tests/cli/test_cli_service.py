"""`openfl-node service`: what is told to systemd and launchd. Their commands are stand-ins; where
systemd-analyze is installed, it reads the units."""

from __future__ import annotations

import importlib.util
import json
import os
import plistlib
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openfl.core.errors import UsageError
from openfl.storage.home import Home
from openfl_cli import background, exit_codes, last_start, main, service_managers
from openfl_cli.last_start import LastStart
from openfl_cli.services import (
    Service,
    check_name,
    home_in_plist,
    home_in_unit,
    launchd_plist,
    name_for,
    systemd_unit,
)

SERVICE = Service(
    name="openfl-node",
    home=Path("/home/ann/.local/share/openfl-node"),
    command=("/usr/bin/python3", "-P", "-m", "openfl_cli", "start"),
    folder="/home/ann",
)
AWKWARD = replace(
    SERVICE,
    home=Path('/home/ann/a "node" 100%'),
    command=(*SERVICE.command, "--group", "", "--data", "$HOME/a b\\%n;'x'.csv", "ünïcode"),
    folder="/home/ann/my music 100%",
    environment={"OPENFL_GROUP_NAME": 'a "b" %n $X', "OPENFL_VIEW_ENABLED": "false"},
)


class Machine:
    """Stands in for the service manager's commands; `answers`: of those that begin so."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.answers: dict[str, tuple[int, str]] = {}

    def run_command(self, words: Sequence[str]) -> tuple[int, str]:
        line = " ".join(words)
        self.ran.append(line)
        for begins, answer in self.answers.items():
            if line.startswith(begins):
                return answer
        return 0, ""

    def changes(self) -> list[str]:
        """The commands that change something."""
        looks = (" show ", " is-active ", " is-enabled ", " print ", "systemd-analyze")
        return [line for line in self.ran if not any(look in line for look in looks)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A Linux machine booted with systemd, in which somebody who is not root is logged in."""
    fake = Machine()
    monkeypatch.setattr(service_managers, "run_command", fake.run_command)
    monkeypatch.setattr(service_managers, "BOOTED", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() or 12345)
    monkeypatch.setattr("openfl.core.files.owner_problem", lambda owner: None)
    monkeypatch.setattr("openfl.storage.home.owner_problem", lambda owner: None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(background, "check_start", lambda *_: exit_codes.SUCCESS)
    return fake


def unit_of(tmp_path: Path, name: str = "openfl-node") -> Path:
    return tmp_path / "settings" / "systemd" / "user" / f"{name}.service"


# --- the units ----------------------------------------------------------------------------------


def keys(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and line[0] != "#")


@pytest.mark.parametrize("system", [False, True])
def test_a_unit_starts_a_node_again_unless_that_is_of_no_use(system: bool) -> None:
    unit = keys(systemd_unit(replace(SERVICE, system=system, user="ann" if system else "")))
    assert unit["Restart"] == "on-failure"
    never = {exit_codes.USAGE, exit_codes.CONFIG, exit_codes.DATA}
    assert set(map(int, unit["RestartPreventExitStatus"].split())) == never
    assert unit["SuccessExitStatus"] == str(exit_codes.INTERRUPTED)
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["WantedBy"] == ("multi-user.target" if system else "default.target")
    assert unit.get("User") == ("ann" if system else None)
    assert unit.get("ProtectSystem") == ("strict" if system else None)


def test_a_node_may_write_into_its_home_and_nowhere_else() -> None:
    system = replace(SERVICE, system=True, user="ann")
    assert keys(systemd_unit(system))["ReadWritePaths"] == str(SERVICE.home)
    assert keys(systemd_unit(system))["PrivateTmp"] == "yes"
    away = replace(system, command=(*SERVICE.command, "--data", "/tmp/ratings.csv"))
    assert keys(systemd_unit(away))["PrivateTmp"] == "no"


def test_a_unit_says_in_systemds_words_what_is_run() -> None:
    unit = keys(systemd_unit(AWKWARD))
    assert unit["ExecStart"].endswith(
        """ start --group "" --data "$$HOME/a b\\\\%%n;'x'.csv" "ünïcode\""""
    )
    assert unit["WorkingDirectory"] == "/home/ann/my music 100%%"
    assert '\nEnvironment="OPENFL_GROUP_NAME=a \\"b\\" %%n $X"\n' in systemd_unit(AWKWARD)
    assert "\nEnvironment=OPENFL_VIEW_ENABLED=false\n" in systemd_unit(AWKWARD)


@pytest.mark.parametrize("service", [SERVICE, AWKWARD])
def test_a_service_knows_whose_it_is(service: Service) -> None:
    assert home_in_unit(systemd_unit(service)) == str(service.home)
    assert home_in_plist(launchd_plist(service)) == str(service.home)
    assert home_in_unit("[Unit]\nDescription=another\n") == home_in_plist(b"garbage") == ""


def test_launchd_is_told_the_same() -> None:
    content = plistlib.loads(launchd_plist(AWKWARD))
    assert content["ProgramArguments"] == list(AWKWARD.command)
    assert content["WorkingDirectory"] == AWKWARD.folder
    assert content["EnvironmentVariables"] == dict(AWKWARD.environment)
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["Umask"] == 0o077


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("service", [SERVICE, AWKWARD], ids=["plain", "awkward"])
def test_systemd_finds_nothing_wrong_with_a_unit(
    service: Service, system: bool, tmp_path: Path
) -> None:
    here = replace(service, command=(shutil.which("true") or "", *service.command[1:]))
    file = tmp_path / "openfl-node.service"
    file.write_text(
        systemd_unit(replace(here, system=system, user="root" if system else "", folder="/"))
    )
    (tmp_path / "run").mkdir(mode=0o700)
    said = subprocess.run(
        ["systemd-analyze", *([] if system else ["--user"]), "verify", str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
    )
    assert [line for line in (said.stdout + said.stderr).splitlines() if file.name in line] == []
    # It does find what is wrong.
    file.write_text(file.read_text().replace("Restart=on-failure", "Restart=perhaps"))
    said = subprocess.run(
        ["systemd-analyze", *([] if system else ["--user"]), "verify", str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
    )
    assert "perhaps" in said.stdout + said.stderr


@pytest.mark.parametrize("text", ["a\nExecStartPre=/bin/evil", "a\x7f", "a\udcff"])
def test_nothing_can_be_added_to_a_unit(text: str) -> None:
    for change in (
        {"command": ("x", text)},
        {"folder": text},
        {"home": Path(text)},
        {"environment": {"OPENFL_A": text}},
    ):
        with pytest.raises(UsageError, match="a service cannot have"):
            replace(SERVICE, **change)


@pytest.mark.parametrize("change", [{"folder": "/a\\"}, {"home": Path("/a\\")}])
def test_no_folder_joins_two_lines_of_a_unit(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="ends in a backslash"):
        replace(SERVICE, **change)


@pytest.mark.parametrize("name", ["", "../evil", "a b", ".hidden", "a/b", "ä", "a" * 101])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        check_name(name)


def test_a_service_is_called_after_its_home() -> None:
    assert name_for(Path("/x/openfl-node"), is_usual=True) == "openfl-node"
    assert name_for(Path("/x/jazz"), is_usual=False) == "openfl-node-jazz"
    assert name_for(Path("/x/my nodes: ä"), is_usual=False) == "openfl-node-my-nodes"
    assert name_for(Path("/"), is_usual=False) == "openfl-node"


def test_a_unit_is_read_back_as_it_was_meant() -> None:
    """By the stand-in for systemd of scripts/bare_debian.sh."""
    script = Path(__file__).parents[2] / "scripts" / "supervise.py"
    spec = importlib.util.spec_from_file_location("supervise", script)
    assert spec is not None
    assert spec.loader is not None
    supervise = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(supervise)
    unit = supervise.settings(systemd_unit(AWKWARD))
    command = [word.replace("$$", "$") for word in supervise.words(unit["ExecStart"][0])]
    assert command == list(AWKWARD.command)
    variables = [word for value in unit["Environment"] for word in supervise.words(value)]
    assert variables == [f"{name}={text}" for name, text in AWKWARD.environment.items()]
    assert unit["WorkingDirectory"] == [AWKWARD.folder]


# --- install, remove, status --------------------------------------------------------------------


def test_installing_writes_the_unit_and_starts_it(
    machine: Machine,
    tmp_path: Path,
    clean_environment: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENFL_LOG_LEVEL", "warning")
    options = ["--", "--data", "ratings.csv", "--rounds", "3"]
    assert main.run(["service", "install", *options]) == exit_codes.SUCCESS
    unit = unit_of(tmp_path).read_text()
    assert (
        " start --data ratings.csv --rounds 3 --no-view --service user:openfl-node --home " in unit
    )
    assert f"\nWorkingDirectory={tmp_path}\n" in unit
    assert "\nEnvironment=OPENFL_LOG_LEVEL=warning\n" in unit
    assert home_in_unit(unit) == str(clean_environment)
    assert machine.changes() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable openfl-node.service",
        "systemctl --user restart openfl-node.service",
    ]
    shown = capsys.readouterr().out
    assert "loginctl enable-linger" in shown
    assert str(unit_of(tmp_path)) in shown


def test_without_options_it_is_started_as_it_last_was(
    machine: Machine, tmp_path: Path, clean_environment: Path
) -> None:
    clean_environment.mkdir()
    last_start.save(clean_environment, LastStart(("--mdns", "--no-view"), "/", {"OPENFL_A": "b"}))
    assert main.run(["service", "install", "--no-start"]) == exit_codes.SUCCESS
    unit = unit_of(tmp_path).read_text()
    assert " start --mdns --no-view --service " in unit
    assert "\nWorkingDirectory=/\nEnvironment=OPENFL_A=b\n" in unit
    assert not any("restart" in line for line in machine.changes())


def test_printing_changes_nothing(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "install", "--print"]) == exit_codes.SUCCESS
    assert capsys.readouterr().out.startswith("# Written by `openfl-node service install`")
    assert machine.ran == []
    assert not unit_of(tmp_path).exists()


def forget_systemd(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_managers, "BOOTED", Path("/nonexistent"))


def lose_the_bus(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.answers["systemctl --user show"] = (1, "Failed to connect to bus: No medium found")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            forget_systemd,
            "no service manager runs here (this system has no systemd): in a container",
        ),
        (lose_the_bus, "systemd does not answer (Failed to connect to bus: No medium found)"),
    ],
)
def test_without_systemd_nothing_is_written_and_it_is_said_what_to_do(
    spoil: Callable[[Machine, pytest.MonkeyPatch], None],
    said: str,
    machine: Machine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(machine, monkeypatch)
    assert main.run(["service", "install"]) == exit_codes.STATE
    assert said in capsys.readouterr().err
    assert machine.changes() == []
    assert not unit_of(tmp_path).exists()


def test_what_could_not_start_is_not_installed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "check_start", lambda *_: exit_codes.CONFIG)
    assert main.run(["service", "install"]) == exit_codes.CONFIG
    assert main.run(["service", "install", "--print"]) == exit_codes.CONFIG
    assert not unit_of(tmp_path).exists()


def test_a_home_whose_node_runs_by_hand_gets_no_service(
    machine: Machine,
    tmp_path: Path,
    clean_environment: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = Home(clean_environment)
    place.prepare()
    with place.lock():
        assert main.run(["service", "install"]) == exit_codes.STATE
        assert "stop it first: openfl-node stop" in capsys.readouterr().err
        assert not unit_of(tmp_path).exists()
        # Its own service may be written anew.
        machine.answers["systemctl --user is-active"] = (0, "active")
        assert main.run(["service", "install"]) == exit_codes.SUCCESS


@pytest.mark.parametrize("text", ["[Unit]\nDescription=mine\n", systemd_unit(SERVICE)])
@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_service_of_somebody_else_is_left_alone(
    action: str,
    text: str,
    machine: Machine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = unit_of(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert main.run(["service", action]) == exit_codes.STATE
    assert "choose another with --name" in capsys.readouterr().err
    assert file.read_text() == text
    assert machine.changes() == []
    assert main.run(["service", "status", "--json"]) == exit_codes.UNMET
    assert json.loads(capsys.readouterr().out)["installed"] is False


def test_removing_ends_it_and_leaves_the_home(
    machine: Machine, tmp_path: Path, clean_environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "remove"]) == exit_codes.STATE
    assert "there is no service openfl-node" in capsys.readouterr().err
    assert main.run(["service", "install", "--name", "mine"]) == exit_codes.SUCCESS
    assert service_managers.is_installed("user:mine")
    clean_environment.mkdir(exist_ok=True)
    machine.ran.clear()
    assert main.run(["service", "remove", "--name", "mine"]) == exit_codes.SUCCESS
    assert machine.changes() == [
        "systemctl --user disable --now mine.service",
        "systemctl --user daemon-reload",
    ]
    assert not unit_of(tmp_path, "mine").exists()
    assert clean_environment.exists()
    assert not service_managers.is_installed("user:mine")  # `restart` may start it again


def test_what_the_manager_refuses_is_said(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.answers["systemctl --user restart"] = (1, "Job failed.\nSee journalctl.")
    assert main.run(["service", "install"]) == exit_codes.STATE
    said = capsys.readouterr().err
    assert "systemctl --user restart openfl-node.service: See journalctl." in said


def test_status_says_whether_it_runs(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["service", "status"]) == exit_codes.UNMET
    assert "not installed" in capsys.readouterr().out
    assert main.run(["service", "install"]) == exit_codes.SUCCESS
    capsys.readouterr()
    machine.answers["systemctl --user is-active"] = (3, "failed")
    machine.answers["systemctl --user is-enabled"] = (0, "enabled")
    assert main.run(["service", "status"]) == exit_codes.UNMET
    assert "openfl-node: failed, enabled (" in capsys.readouterr().out
    machine.answers["systemctl --user is-active"] = (0, "active")
    assert main.run(["service", "status", "--json"]) == exit_codes.SUCCESS
    plain = json.loads(capsys.readouterr().out)
    assert (plain["installed"], plain["enabled"], plain["active"]) == (True, True, True)
    assert plain["running"] is False  # nobody holds the home of this test


def test_only_root_can_have_it_run_as_somebody_else(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "install", "--run-as", "ann"]) == exit_codes.USAGE
    assert "only root" in capsys.readouterr().err


def test_root_installs_it_for_the_machine_as_the_owner_of_the_home(
    machine: Machine,
    clean_environment: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main.run(["service", "install", "--print", "--run-as", "nobody"]) == exit_codes.SUCCESS
    unit = keys(capsys.readouterr().out)
    assert unit["User"] == "nobody"
    assert unit["ReadWritePaths"] == str(clean_environment)
    assert " --service system:openfl-node " in unit["ExecStart"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a home away")
def test_root_looks_after_the_service_of_another_user(
    clean_environment: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real check, as that user; the home is not root's to write into."""
    monkeypatch.setattr(service_managers, "BOOTED", Path("/nonexistent"))
    place = Home(clean_environment)
    place.prepare()
    with place.lock():
        nobody = pwd.getpwnam("nobody")
        for path in (place.root, place.lock_file):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        monkeypatch.setattr(background, "check_start", lambda *_: exit_codes.SUCCESS)
        assert main.run(["service", "install", "--print", "--", "--pin"]) == exit_codes.SUCCESS
        assert "\nUser=nobody\n" in capfd.readouterr().out
        assert main.run(["service", "status", "--json"]) == exit_codes.UNMET
        assert json.loads(capfd.readouterr().out)["running"] is True
    assert main.run(["service", "status", "--json"]) == exit_codes.UNMET
    assert json.loads(capfd.readouterr().out)["running"] is False


@pytest.mark.skipif(os.getuid() != 0, reason="only root asks for others")
def test_a_user_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--run-as nobody-else: there is no such user"):
        background.check_start(tmp_path, LastStart((), "/"), "nobody-else")


def test_on_macos_launchd_is_told(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert main.run(["service", "install", "--", "--pin"]) == exit_codes.SUCCESS
    file = tmp_path / "Library" / "LaunchAgents" / "openfl-node.plist"
    words = plistlib.loads(file.read_bytes())["ProgramArguments"]
    assert words[words.index("start") : words.index("--home")] == [
        *("start", "--pin", "--no-view", "--service", "launchd:openfl-node")
    ]
    domain = f"gui/{os.geteuid()}"
    assert machine.changes() == [
        f"launchctl bootout {domain}/openfl-node",
        f"launchctl bootstrap {domain} {file}",
    ]
    machine.answers["launchctl print"] = (0, "state = running")
    assert main.run(["service", "status"]) == exit_codes.SUCCESS
    assert main.run(["service", "remove"]) == exit_codes.SUCCESS
    assert not file.exists()


def test_what_is_no_option_of_start_is_refused(
    clean_environment: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the real check, in a process of its own."""
    install = ["service", "install", "--print", "--"]
    assert main.run([*install, "--rouds", "3"]) == exit_codes.USAGE
    assert "unrecognized arguments: --rouds" in capfd.readouterr().err
    assert main.run([*install, "--detach"]) == exit_codes.USAGE
