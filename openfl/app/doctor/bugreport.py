"""A report for whoever is asked for help: what a node is and how it is doing, without whose it is.

Numbers and words of the program go in by name; text goes through a `Redactor`. What is secret
(keys, tokens, invitations) and what is the owner's (data, names of people and songs) never goes in,
and that is made sure of once more before the file is written.
"""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import platform
import re
import socket
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openfl.app.doctor.finding import Finding
from openfl.app.doctor.of_machine import installed
from openfl.app.doctor.redact import Redactor
from openfl.app.doctor.subject import Subject
from openfl.config import Config, all_settings, effective_values
from openfl.core.atomic_files import atomic_write, read_own
from openfl.core.errors import StateError, UsageError
from openfl.core.event_kinds import SECTIONS
from openfl.core.files import open_own, read_named
from openfl.core.telemetry import NodeEvent, json_plain

LOG_LINES = 500
LOG_BYTES = 1_000_000
"""Read from the end of the log."""
MAX_SECRET_BYTES = 4096
USERS_KNOWN_TO_ALL = ("root", "user", "admin", "ubuntu", "debian", "nobody", "node", "openfl")
OPEN_SECTIONS = ("The network", "Learning", "The home folder")
"""Kinds of events whose messages hold no names of people, songs and groups."""
LOG_LINE = re.compile(r"(?P<head>\S+ \S+ (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) )(?P<rest>.*)", re.S)
OWN_EVENT = re.compile(r"openfl\.node ([a-z]+(?:-[a-z]+)*): (.*)", re.S)

INSIDE: Mapping[str, str] = {
    "versions.json": "OpenFL, Python, libraries, operating system",
    "config.json": "settings that differ from the defaults; text of yours says <set>",
    "snapshot.json": "what the node counts: rounds, errors, members, traffic, faults, events",
    "reach.json": "who can dial it, by stand-ins",
    "doctor.json": "what openfl-node doctor finds",
    "home.json": "the files of the home folder: names, sizes, permissions, ages",
    "node.log": f"the last {LOG_LINES} lines of the log, names replaced",
}
"""Member of the archive -> what it is, for people."""
LEFT_OUT = (
    "your data, and names of users, songs, artists and groups",
    "identity.key, the token of players, network keys, invitations",
    "peer ids, IP addresses and host names: stand-ins (peer-1) are the same all through",
    "paths, your user name, the name of this machine",
    "models and saved state",
)

Members = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class BugReport:
    """members: name -> content, README.txt among them. replaced: how many different things of each
    sort got a stand-in."""

    members: Members
    replaced: Mapping[str, int]


def make_report(subject: Subject, findings: Iterable[Finding]) -> BugReport:
    """The report on a node. StateError: a secret would have been in it, which is a bug: nothing is
    kept of it."""
    secrets = list(_secrets(subject))
    redactor = Redactor([*((secret, "<secret>") for secret in secrets), *_names(subject)])
    members: Members = {
        "versions.json": _json(_versions()),
        "config.json": _json(redactor.plain(_config(subject.config))),
        "snapshot.json": _json(redactor.plain(_snapshot(subject))),
        "reach.json": _json(redactor.plain(_reach(subject))),
        "doctor.json": _json(redactor.plain(_findings(findings))),
        "home.json": _json(redactor.plain(_home(subject))),
        "node.log": "\n".join(log_lines(_log(subject), redactor)).encode(),
    }
    members["README.txt"] = _readme(redactor).encode()
    for name, content in members.items():
        for secret in secrets:
            if secret.encode(errors="replace") in content:
                raise StateError(f"a secret would have been in {name}: no report is written")
    return BugReport(members, dict(redactor.counts))


def write_report(report: BugReport, file: Path) -> None:
    """As .tar.gz, .tgz or .zip, by its name, readable by its owner only. UsageError: another
    name; StateError: it cannot be written, or is there already."""
    if os.path.lexists(file):
        raise StateError(f"{file} exists already: name another file")
    if file.name.endswith(".zip"):
        content = _zipped(report.members)
    elif file.name.endswith((".tar.gz", ".tgz")):
        content = _tarred(report.members)
    else:
        raise UsageError(f"{file}: a report is a .tar.gz or a .zip")
    atomic_write(file, content)


def _zipped(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # No time: a clock that is not set, which may be why, shows one that does not fit.
            info = zipfile.ZipInfo(f"openfl-bugreport/{name}")
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tarred(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"openfl-bugreport/{name}")  # owned by nobody by name
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return (json.dumps(json_plain(value), indent=2, ensure_ascii=True) + "\n").encode()


# --- what is secret, and what names somebody ------------------------------------------------------


def _secrets(subject: Subject) -> Iterator[str]:
    """Text that must be nowhere: the secrets of this home in the forms they may be written in."""
    config, home = subject.config, subject.home
    own = [home.identity_file, *home.root.glob("*.token")]
    for path in own:
        with suppress(OSError):
            yield from _forms(read_own(path, MAX_SECRET_BYTES))
    named = [config.network.psk_file, config.http.key_file, *config.group.invitation_files]
    for text in filter(None, named):
        with suppress(OSError):
            yield from _forms(read_named(Path(text))[:MAX_SECRET_BYTES])


def _forms(content: bytes) -> Iterator[str]:
    yield content.hex()
    for encoded in (base64.b64encode(content), base64.urlsafe_b64encode(content)):
        yield encoded.decode().rstrip("=")
    with suppress(UnicodeDecodeError):
        for line in content.decode().split():
            if len(line) >= 16:
                yield line


def _names(subject: Subject) -> Iterator[tuple[str, str]]:
    """(what names somebody or something of the owner's, what it is called in the report)."""
    config, home = subject.config, subject.home
    yield str(home.root), "<home>"
    with suppress(OSError):
        yield os.path.realpath(home.root), "<home>"
    for value in effective_values(config):
        if all_settings()[value.key].path:
            paths = value.value if isinstance(value.value, tuple) else (value.value,)
            for path in filter(None, map(str, paths)):
                yield path, f"<{value.key}>"
                yield Path(path).name, f"<{value.key}>"
    if config.recommend.user:
        yield config.recommend.user, "<user of the data>"
    yield config.group.name, "<group>"
    shot = subject.snapshot
    if shot is not None:
        for name in {shot.group_name, *(name for peer in shot.peers for name in peer.groups)}:
            yield name, "<group>"
    with suppress(RuntimeError):
        yield str(Path.home()), "~"
    with suppress(OSError, KeyError, ImportError):
        user = getpass.getuser()
        if user.lower() not in USERS_KNOWN_TO_ALL:
            yield user, "<owner>"
    host = socket.gethostname()
    if host and host != "localhost":
        yield host, "<this machine>"
        yield host.partition(".")[0], "<this machine>"


# --- the members ----------------------------------------------------------------------------------


def _versions() -> dict[str, Any]:
    return {
        "versions": installed(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "implementation": platform.python_implementation(),
        "processors": os.cpu_count(),
        "encoding": sys.getfilesystemencoding(),
    }


def _config(config: Config) -> dict[str, Any]:
    """What differs from the defaults; of text only what is one of a few words, or an address."""
    told: dict[str, Any] = {}
    for value in effective_values(config):
        setting = all_settings()[value.key]
        if value.value == setting.default:
            continue
        shown: Any = value.value
        if isinstance(shown, str) and not setting.choices:
            shown = shown if _is_address(shown) else "<set>"
        elif isinstance(shown, tuple):
            shown = [each if _is_address(each) else "<set>" for each in shown]
        told[value.key] = {"value": shown, "from": value.origin.kind}
    return told


def _is_address(text: str) -> bool:
    return text.startswith(("/ip4/", "/ip6/", "/dns")) or bool(re.fullmatch(r"[\d.:a-f]+", text))


def _snapshot(subject: Subject) -> dict[str, Any] | None:
    shot = subject.snapshot
    if shot is None:
        return None
    return {
        "running": subject.running,
        "holds_home_and_is_silent": bool(subject.silent),
        **{name: getattr(shot, name) for name in _PLAIN},
        "multiaddrs": list(shot.multiaddrs),
        "peer_id": shot.peer_id,
        "group_id": shot.group_id,
        "resources": None
        if shot.resources is None
        else {name: getattr(shot.resources, name) for name in shot.resources.__slots__},
        "faults": dict(shot.faults),
        "history": list(shot.history),
        "items": None
        if shot.items is None
        else {name: getattr(shot.items, name) for name in ("mine", "known", "group", "named")},
        "directory": {name: getattr(shot.directory, name) for name in shot.directory.__slots__},
        "switching": {
            "auto": shot.switching.auto,
            "pinned": shot.switching.pinned,
            "moves": shot.switching.moves,
            "dwell_rounds": shot.switching.dwell_rounds,
            "decisions": [[each.time, each.action] for each in shot.switching.decisions],
        },
        "notices": [{"kind": each.kind, "data": _numbers(each.data)} for each in shot.notices],
        "members": [
            {
                "peer": member.peer_id,
                "round": member.round,
                "fit": member.fit,
                "rows": member.rows,
                "age_seconds": member.age_seconds,
                "me": member.me,
                "left_out": bool(member.left_out),
                "history": member.history,
            }
            for member in shot.members
        ],
        "peers": [
            {
                "peer": peer.peer_id,
                "multiaddrs": list(peer.multiaddrs),
                "groups": len(peer.groups),
                "in_mesh": peer.in_mesh,
                "relayed": peer.relayed,
            }
            for peer in shot.peers
        ],
        "events": [_event(event) for event in shot.events],
    }


_PLAIN = (
    *("time", "started_at", "phase", "task", "metric", "round", "rounds", "train_examples"),
    *("model_rows", "validation", "alone", "test", "alone_test", "bytes_sent", "bytes_received"),
    *("published_bytes", "deltas_merged", "skipped_rows", "useful_after", "interval_seconds"),
)
"""Fields of a snapshot that are numbers, or words of the program."""


def _event(event: NodeEvent) -> dict[str, Any]:
    return {
        "time": event.time,
        "level": event.level,
        "kind": event.kind,
        "data": _numbers(event.data),
    }


def _numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event's data is a number or a truth."""
    return {k: v for k, v in data.items() if v is None or isinstance(v, bool | int | float)}


def _reach(subject: Subject) -> dict[str, Any] | None:
    return None if subject.reach is None else subject.reach.to_plain()


def _findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    told = []
    for finding in findings:
        plain = finding.to_plain()
        # Of these the text may hold names of people, songs or groups; the kind says what it is.
        if finding.check in ("data", "notices") and finding.severity != "fine":
            plain["what"] = ""
        elif finding.check == "data":
            plain["what"] = re.sub(r"[^\d,]*(\d[\d,]*).*", r"\1 rows", finding.what)
        told.append(plain)
    return told


def _home(subject: Subject) -> list[dict[str, Any]]:
    root = subject.home.root
    now = subject.probes.unix_time()
    told: list[dict[str, Any]] = []
    for folder in (root, subject.home.state_folder):
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            told.append({"folder": folder.name, "problem": error.strerror})
            continue
        for name in names:
            with suppress(OSError):
                status = (folder / name).lstat()
                told.append(
                    {
                        "name": _file_name(name, folder == root),
                        "bytes": status.st_size,
                        "mode": f"{status.st_mode & 0o7777:04o}",
                        "age_seconds": round(now - status.st_mtime),
                        "mine": status.st_uid == os.geteuid(),
                    }
                )
    return told


_KNOWN_NAMES = re.compile(
    r"(config\.toml(\.bak)?|identity\.key|(peers|moved|last-start)\.json|control\.sock|lock"
    r"|node\.log(\.\d+)?|data|state|model\.safetensors|players\.token|page\.html"
    r"|(node|last|labels|privacy|course|http)\.state(\.[\w-]+)?"
    r"|[0-9a-f]{32}\.state(\.[\w-]+)?)"
)


def _file_name(name: str, in_root: bool) -> str:
    """Files of the node by their names; of others only what kind of name it is."""
    if _KNOWN_NAMES.fullmatch(name):
        return name if in_root else f"state/{name}"
    return f"(another{Path(name).suffix if len(Path(name).suffix) < 8 else ''})"


def _log(subject: Subject) -> list[str]:
    """The last records of the log, a traceback with the line it belongs to."""
    try:
        with os.fdopen(open_own(subject.home.log_file), "rb") as stream:
            cut = stream.seek(0, os.SEEK_END) - LOG_BYTES
            stream.seek(max(0, cut))
            if cut > 0:
                # Of a line without its beginning nobody can tell what names somebody.
                stream.readline()
            text = stream.read(LOG_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        return [f"(no log: {error.strerror})"]
    return text.splitlines()[-LOG_LINES:]


def log_lines(lines: Iterable[str], redactor: Redactor) -> Iterator[str]:
    """Lines of a log without names. Of the node's own events, those that may hold names of people,
    songs or groups keep only their kind."""
    for line in lines:
        match = LOG_LINE.fullmatch(line)
        if match is None:
            yield redactor.text(line)
            continue
        own = OWN_EVENT.fullmatch(match["rest"])
        if own is not None and own[1] not in _OPEN_KINDS:
            yield f"{match['head']}openfl.node {own[1]}: (left out: may hold names)"
        else:
            # What is behind the tab is the data of an event, as JSON.
            text, tab, data = match["rest"].partition("\t")
            yield match["head"] + redactor.text(text) + (_numbers_in(data) if tab else "")


def _numbers_in(data: str) -> str:
    try:
        plain = json.loads(data)
    except ValueError:
        return ""  # cut off
    numbers = _numbers(plain) if isinstance(plain, dict) else {}
    return f"\t{json.dumps(numbers)}" if numbers else ""


_OPEN_KINDS = frozenset(kind.kind for name in OPEN_SECTIONS for kind in SECTIONS[name])


def _readme(redactor: Redactor) -> str:
    replaced = ", ".join(f"{count} x {sort}" for sort, count in sorted(redactor.counts.items()))
    lines = [
        "A report on an OpenFL node, made by its owner with: openfl-node bugreport",
        "",
        "In it:",
        *(f"  {name:<14} {what}" for name, what in INSIDE.items()),
        "",
        "Left out:",
        *(f"  {what}" for what in LEFT_OUT),
        "",
        f"Replaced by stand-ins: {replaced or 'nothing'}.",
        "Look through it before you hand it on: it is yours.",
    ]
    return "\n".join(lines) + "\n"
