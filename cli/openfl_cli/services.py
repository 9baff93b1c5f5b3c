"""A node as a service of the machine: what systemd and launchd are told of it.

Text in, text out; `openfl_cli.service_managers` writes it where it belongs. No unit names a port, a
group or a file: these are options and settings of the node.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl.core.errors import UsageError
from openfl_cli import exit_codes

USUAL_NAME = "openfl-node"
STOP_SECONDS = 30
"""Twice what a node takes on a slow disk."""
AGAIN_SECONDS = 5
HOME_KEY = "X-OpenFL-Home"
"""In a unit: the home folder it is for. systemd leaves keys that begin with X- alone."""
NOT_AGAIN = (exit_codes.USAGE, exit_codes.CONFIG, exit_codes.DATA)
"""Exit codes that another start would end with, too."""


@dataclass(frozen=True, slots=True)
class Service:
    """`command`: what is run; `folder`: where; `environment`: with which variables; `user`: as
    whom, empty for whoever runs the service manager; `writable`: folders besides the home."""

    name: str
    home: Path
    command: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    system: bool = False
    writable: Sequence[str] = ()

    def __post_init__(self) -> None:
        for text in (self.name, str(self.home), self.folder, *self.command, *self.writable):
            _require_one_line(text)
        for text in (str(self.home), self.folder):
            if text.endswith("\\"):  # in a unit it joins the next line to this one
                raise UsageError(f"a service cannot have a folder that ends in a backslash: {text}")
        for name, text in self.environment.items():
            _require_one_line(name + text)


def check_name(name: str) -> str:
    """`name`; UsageError when a service cannot be called that."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise UsageError(f"--name {name!r}: must be letters, digits, and . _ - between them")
    return name


def name_for(home: Path, is_usual: bool) -> str:
    """How the service of `home` is called when nobody says: `openfl-node`, where a node lives
    anyway; else with the folder's name."""
    if is_usual:
        return USUAL_NAME
    word = re.sub(r"[^A-Za-z0-9_.]+", "-", home.name).strip("-.")
    return f"{USUAL_NAME}-{word}"[:100] if word else USUAL_NAME


def restart_hint(name: str) -> str:
    """What to type to restart the service of that name, a name as `label` makes it."""
    manager, _, word = name.partition(":")
    if manager == "launchd":
        return f"launchctl kickstart -k gui/$(id -u)/{word}"
    return f"systemctl {'' if manager == 'system' else '--user '}restart {word}"


# --- systemd ------------------------------------------------------------------------------------

# What a user's own systemd can do without privileges: by seccomp and prctl.
_HARDENED = """\
NoNewPrivileges=yes
UMask=0077
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM"""

# By mounts and capabilities: the system's only.
_HARDENED_SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RemoveIPC=yes"""


def systemd_unit(service: Service) -> str:
    """The text of NAME.service."""
    own = [_HARDENED]
    if service.system:
        folders = [str(service.home), *service.writable]
        inside = [*folders, service.folder, *service.command]
        own += [
            _HARDENED_SYSTEM,
            # Its own /tmp would be empty.
            f"PrivateTmp={'no' if any(_is_temporary(text) for text in inside) else 'yes'}",
            f"ReadWritePaths={' '.join(_quoted(folder) for folder in folders)}",
        ]
    user = [f"User={service.user}"] if service.user else []
    environment = [
        f"Environment={_quoted(f'{name}={text}')}"
        for name, text in sorted(service.environment.items())
    ]
    lines = [
        "# Written by `openfl-node service install`, anew each time. For changes of your own:",
        f"# systemctl {'' if service.system else '--user '}edit {service.name}",
        "[Unit]",
        f"Description=OpenFL node in {_literal(str(service.home))}",
        f"{HOME_KEY}={service.home}",
        *(["Wants=network-online.target", "After=network-online.target"] if service.system else []),
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_argument(word) for word in service.command)}",
        f"WorkingDirectory={_literal(service.folder)}",
        *environment,
        *user,
        "Restart=on-failure",
        f"RestartSec={AGAIN_SECONDS}",
        "# Ended in a hurry, but as asked.",
        f"SuccessExitStatus={exit_codes.INTERRUPTED}",
        "# Options, configuration or data are wrong: that does not mend itself.",
        f"RestartPreventExitStatus={' '.join(map(str, NOT_AGAIN))}",
        "KillMode=mixed",
        f"TimeoutStopSec={STOP_SECONDS}",
        "",
        "\n".join(own),
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if service.system else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def home_in_unit(text: str) -> str:
    """The home folder that a unit, or a property list, of ours is for; empty when it names none."""
    found = re.search(rf"^{HOME_KEY}=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _require_one_line(text: str) -> None:
    if any(character < " " or character == "\x7f" for character in text):
        raise UsageError(f"a service cannot have control characters in {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"a service cannot have what is not UTF-8 text in {text!r}") from None


def _literal(text: str) -> str:
    """`%` begins a specifier in a unit."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a list in a unit."""
    text = _literal(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(text: str) -> str:
    """One argument of a command in a unit, in which `$` begins a variable."""
    return _quoted(text.replace("$", "$$")) if text else '""'


def _is_temporary(text: str) -> bool:
    return text.startswith(("/tmp/", "/var/tmp/")) or text in ("/tmp", "/var/tmp")


# --- launchd ------------------------------------------------------------------------------------


def launchd_plist(service: Service) -> bytes:
    """The text of NAME.plist. launchd starts a node that failed again whatever its exit code."""
    content: dict[str, object] = {
        "Label": service.name,
        HOME_KEY: str(service.home),
        "ProgramArguments": list(service.command),
        "WorkingDirectory": service.folder,
        "EnvironmentVariables": dict(service.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_SECONDS,
        "ProcessType": "Background",
        "Umask": 0o077,
        # What is wrong with options or configuration is told before there is a node.log.
        "StandardErrorPath": str(service.home / "service.err"),
    }
    if service.user:
        content["UserName"] = service.user
    return plistlib.dumps(content, sort_keys=False)


def home_in_plist(data: bytes) -> str:
    """The home folder that a property list of ours is for; empty when it names none."""
    try:
        home = plistlib.loads(data).get(HOME_KEY, "")
    except (ValueError, AttributeError, plistlib.InvalidFileException):
        return ""
    return home if isinstance(home, str) else ""
