"""The service managers of this machine: where their files are, and how they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl.core.atomic_files import atomic_write, reason
from openfl.core.errors import StateError
from openfl_cli.services import (
    Service,
    home_in_plist,
    home_in_unit,
    launchd_plist,
    systemd_unit,
)

BOOTED = Path("/run/systemd/system")
"""Is there when the machine was booted with systemd (sd_booted(3))."""
COMMAND_SECONDS = 90.0
INSTEAD = (
    "in a container the restart policy of the engine does it (packaging/compose.yaml); elsewhere"
    " have `openfl-node start --detach` run at boot, with @reboot in crontab for example;"
    " --print shows what would be installed"
)


@dataclass(frozen=True, slots=True)
class State:
    """Of a service: `installed` its file is there, `enabled` it starts by itself, `active` it runs;
    `words`: what the manager calls that."""

    installed: bool
    enabled: bool
    active: bool
    words: str


class Manager(ABC):
    """`system`: that of the whole machine, which only root can tell anything."""

    kind: str

    def __init__(self, system: bool) -> None:
        self.system = system

    @abstractmethod
    def require(self) -> None:
        """StateError, with what to do instead, when it does not answer."""

    @abstractmethod
    def file_of(self, name: str) -> Path:
        """Where the service of that name is described."""

    @abstractmethod
    def text_of(self, service: Service) -> str:
        """What stands there."""

    @abstractmethod
    def home_of(self, name: str) -> str:
        """The home of the service that stands there; empty when it names none, or there is none."""

    @abstractmethod
    def complaints(self, service: Service) -> list[str]:
        """What the manager's own checks find wrong with the service, if it has any."""

    @abstractmethod
    def enable(self, name: str, start: bool) -> None:
        """Have it start by itself from now on; start: and at once, anew when it runs already."""

    @abstractmethod
    def disable(self, name: str) -> None:
        """End it, and have it start no more. To be called while its file is there."""

    @abstractmethod
    def forget(self) -> None:
        """Files have changed."""

    @abstractmethod
    def state(self, name: str) -> State:
        """How it is now."""

    @abstractmethod
    def hints(self, name: str) -> list[str]:
        """What its owner should know, a line each."""

    def label(self, name: str) -> str:
        """How a node is told which service it is; `services.restart_hint` reads it."""
        return f"{self.kind if self.kind == 'launchd' else self._scope}:{name}"

    def write(self, service: Service) -> Path:
        """Write its file. StateError when that cannot be done."""
        path = self.file_of(service.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{path.parent}: cannot be made: {reason(error)}") from None
        atomic_write(path, self.text_of(service).encode(), mode=0o644)
        return path

    @property
    def _scope(self) -> str:
        return "system" if self.system else "user"


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """(exit code, what it said); 127 when there is no such program."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return 127, f"{words[0]}: no such program"
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def _told(words: Sequence[str]) -> None:
    code, said = run_command(words)
    if code:
        last = said.splitlines()[-1] if said else f"exit code {code}"
        raise StateError(f"{' '.join(words)}: {last}")


class _Systemd(Manager):
    """A user's systemd, or the system's."""

    kind = "systemd"

    def require(self) -> None:
        if not BOOTED.is_dir():
            raise StateError(
                f"no service manager runs here (this system has no systemd): {INSTEAD}"
            )
        code, said = run_command([*self._systemctl, "show", "--property=Version"])
        if code:
            advice = (
                "run this as root"
                if self.system
                else "log in as this user itself, not by su or sudo"
            )
            last = said.splitlines()[-1] if said else f"exit code {code}"
            raise StateError(f"systemd does not answer ({last}): {advice}")

    def file_of(self, name: str) -> Path:
        if self.system:
            return Path("/etc/systemd/system", f"{name}.service")
        settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(settings, "systemd", "user", f"{name}.service")

    def text_of(self, service: Service) -> str:
        return systemd_unit(service)

    def home_of(self, name: str) -> str:
        return home_in_unit(_read(self.file_of(name)).decode("utf-8", "replace"))

    def complaints(self, service: Service) -> list[str]:
        """What `systemd-analyze verify` says of this unit; nothing where there is none."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            return []
        with tempfile.TemporaryDirectory(prefix="openfl-unit-") as folder:
            path = Path(folder, f"{service.name}.service")
            path.write_text(self.text_of(service), encoding="utf-8")
            scope = [] if self.system else ["--user"]
            _, said = run_command([analyze, *scope, "verify", str(path)])
        # It speaks of other units of the machine, too.
        return [line for line in said.splitlines() if path.name in line]

    def enable(self, name: str, start: bool) -> None:
        self.forget()
        _told([*self._systemctl, "enable", f"{name}.service"])
        if start:
            _told([*self._systemctl, "restart", f"{name}.service"])

    def disable(self, name: str) -> None:
        _told([*self._systemctl, "disable", "--now", f"{name}.service"])

    def forget(self) -> None:
        _told([*self._systemctl, "daemon-reload"])

    def state(self, name: str) -> State:
        installed = self.file_of(name).exists()
        _, active = run_command([*self._systemctl, "is-active", f"{name}.service"])
        _, enabled = run_command([*self._systemctl, "is-enabled", f"{name}.service"])
        words = f"{_last(active)}, {_last(enabled)}"
        return State(installed, _last(enabled) == "enabled", _last(active) == "active", words)

    def hints(self, name: str) -> list[str]:
        journal = f"journalctl {'' if self.system else '--user '}-u {name}"
        lines = [f"what it said before it had a log: {journal}"]
        if not self.system and not _lingers():
            lines.append(
                "it runs while you are logged in; to have it run from boot on:"
                " loginctl enable-linger"
            )
        return lines

    @property
    def _systemctl(self) -> list[str]:
        return ["systemctl"] if self.system else ["systemctl", "--user"]


class _Launchd(Manager):
    """A user's launchd, or the system's."""

    kind = "launchd"

    def require(self) -> None:
        code, said = run_command(["launchctl", "print", self._domain])
        if code:
            raise StateError(
                f"launchd does not answer ({_last(said)}): log in on the machine itself"
            )

    def file_of(self, name: str) -> Path:
        if self.system:
            return Path("/Library/LaunchDaemons", f"{name}.plist")
        return Path.home() / "Library" / "LaunchAgents" / f"{name}.plist"

    def text_of(self, service: Service) -> str:
        return launchd_plist(service).decode()

    def home_of(self, name: str) -> str:
        return home_in_plist(_read(self.file_of(name)))

    def complaints(self, service: Service) -> list[str]:
        """It has no such checks."""
        return []

    def enable(self, name: str, start: bool) -> None:
        if start:
            run_command(["launchctl", "bootout", f"{self._domain}/{name}"])  # of before, if any
            _told(["launchctl", "bootstrap", self._domain, str(self.file_of(name))])

    def disable(self, name: str) -> None:
        if self.state(name).active:
            _told(["launchctl", "bootout", f"{self._domain}/{name}"])

    def forget(self) -> None:
        """It reads a file when it is told of it."""

    def state(self, name: str) -> State:
        installed = self.file_of(name).exists()
        code, said = run_command(["launchctl", "print", f"{self._domain}/{name}"])
        active = code == 0 and "state = running" in said
        return State(installed, code == 0, active, "running" if active else "not running")

    def hints(self, name: str) -> list[str]:
        if self.system:
            return []
        return ["it runs while you are logged in; as root it is installed for the whole machine"]

    @property
    def _domain(self) -> str:
        return "system" if self.system else f"gui/{os.geteuid()}"


def manager(system: bool) -> Manager:
    """That of this platform, whether it runs or not."""
    return _Launchd(system) if sys.platform == "darwin" else _Systemd(system)


def is_installed(label: str) -> bool:
    """Whether the service that a node was told it is (`Manager.label`) is still there."""
    of, _, name = label.partition(":")
    if of == "launchd":
        return any(_Launchd(system).file_of(name).exists() for system in (False, True))
    return _Systemd(of == "system").file_of(name).exists()


def _lingers() -> bool:
    import getpass

    try:
        return Path("/var/lib/systemd/linger", getpass.getuser()).exists()
    except (KeyError, OSError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _last(said: str) -> str:
    return said.splitlines()[-1] if said else "unknown"
