"""Nodes in the background: started in a session of their own, stopped, started again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError, StateError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.last_start import LastStart
from openfl_cli.text import to_json

if TYPE_CHECKING:
    from openfl.core.telemetry import NodeSnapshot

POLL_SECONDS = 0.05


def command_of_start(home: Path, arguments: Sequence[str]) -> list[str]:
    """`openfl-node start` by this interpreter, for `home`."""
    # -P: what lies in the working folder is not to be imported.
    program = [sys.executable, "-P", "-m", "openfl_cli", "start"]
    return [*program, *arguments, "--home", str(home)]


def importable(environ: dict[str, str]) -> dict[str, str]:
    """`environ`, in which a child finds this very code."""
    return {**environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def check_start(home: Path, start: LastStart, user: str = "") -> int:
    """The exit code that such a start would end with for its options or its configuration; why, is
    said already. user: who would start it, when root asks. StateError when it cannot be tried."""
    import pwd

    identity: dict[str, Any] = {}
    environment = start.environment_over(os.environ)
    try:
        if user and os.geteuid() == 0:
            of_user = pwd.getpwnam(user)
            identity = {"user": of_user.pw_uid, "group": of_user.pw_gid, "extra_groups": ()}
            # What `~` and the usual home folder are taken from.
            of_them = {"HOME": of_user.pw_dir, "USER": user, "LOGNAME": user}
            environment = {**environment, **of_them}
    except KeyError:
        raise UsageError(f"--run-as {user}: there is no such user") from None
    try:
        return subprocess.run(
            [*command_of_start(home, start.arguments), "--check"],
            stdin=subprocess.DEVNULL,
            cwd=start.folder,
            env=importable(environment),
            check=False,
            **identity,
        ).returncode
    except OSError as error:
        raise _not_run(start, error) from None


def start_detached(home: Path, start: LastStart, as_json: bool) -> int:
    """Start a node in the background and wait until it listens; the exit code. What it says until
    then, and why it cannot start, it says itself on this standard error.

    StateError when it cannot be run, or was killed.
    """
    ready, told = os.pipe()
    try:
        process = subprocess.Popen(
            [*command_of_start(home, start.arguments), "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=start.folder,
            env=importable(start.environment_over(os.environ)),
            start_new_session=True,
            pass_fds=(told,),
        )
    except OSError as error:
        os.close(ready)
        raise _not_run(start, error) from None
    finally:
        os.close(told)
    try:
        with os.fdopen(ready, "rb") as pipe:
            line = pipe.readline()
        if not line.endswith(b"\n"):
            return _failed(process.wait())
    except BaseException:
        process.terminate()
        process.wait()
        raise
    process.returncode = 0  # it goes on, and is nobody's child from now on
    _tell_started(home, process.pid, json.loads(line), as_json)
    return exit_codes.SUCCESS


def tell_ready(descriptor: int, snapshot: NodeSnapshot) -> None:
    """Of the node: whoever started it need not wait any longer. Nothing more is said on standard
    error, which is theirs."""
    message = {"peer_id": snapshot.peer_id, "multiaddrs": list(snapshot.multiaddrs)}
    with contextlib.suppress(OSError):  # nobody waits any more: the node goes on
        os.write(descriptor, to_json(message).encode() + b"\n")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    os.close(descriptor)


def _not_run(start: LastStart, error: OSError) -> StateError:
    return StateError(
        f"a node cannot be started in the folder {start.folder}: {error.strerror or error}"
    )


def _failed(code: int) -> int:
    """The exit code of a node that ended before it listened. StateError when it was killed."""
    if code < 0:
        raise StateError(f"the node was ended by signal {-code} before it listened")
    if code == exit_codes.SUCCESS:
        options.note("the node was stopped before it listened")
    return code


def _tell_started(home: Path, pid: int, ready: dict[str, Any], as_json: bool) -> None:
    from openfl.app.home_folder import Home

    log = Home(home).log_file
    if as_json:
        text = f"listening on {', '.join(ready['multiaddrs'])}"
        line = {"time": time.time(), "level": "info", "event": "listening", "message": text}
        print(to_json({**line, "data": {**ready, "process": pid, "log": str(log)}}))
        return
    where = options.home_option(home)
    print(f"the node runs in the background (process {pid})")
    print(f"peer id  {ready['peer_id']}")
    if ready["multiaddrs"]:
        print("address, for others to give as --bootstrap:")
        print(f"  {_for_others(ready['multiaddrs'])}")
    print(f"log      {log}")
    print(f"follow   openfl-node logs -f{where}")
    print(f"stop     openfl-node stop{where}")


def _for_others(multiaddrs: Sequence[str]) -> str:
    """The first address that others can reach; when all are of this machine alone, the first."""
    own = ("/ip4/127.", "/ip6/::1/")
    return next((text for text in multiaddrs if not text.startswith(own)), multiaddrs[0])


def process_of(home: Path) -> str:
    """` (process 123)`, of the node that holds the home folder; empty when it does not say."""
    from openfl.app.home_folder import Home
    from openfl.core.files import open_own

    with contextlib.suppress(OSError):
        with os.fdopen(open_own(Home(home).lock_file), "rb") as file:
            holder = file.read(32).decode("ascii", "replace").strip()
        if holder.isdigit():
            return f" (process {holder})"
    return ""


def stop_node(home: Path, leave: bool, timeout_seconds: float) -> None:
    """Ask the node to stop and wait until it has gone. NotRunningError when none runs; StateError
    when it has not gone in time."""
    from openfl.app import home_folder
    from openfl_cli import ask

    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            ask.running_node(home, "stop", leave=leave)
            break
        except NotRunningError:
            # One that holds its home and does not answer has only just been started.
            if not home_folder.is_locked(home) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)
    while home_folder.is_locked(home):
        if time.monotonic() > deadline:
            raise StateError(
                f"the node in {home}{process_of(home)} is still stopping after"
                f" {timeout_seconds:g} s; wait, or end it with kill -9: what it learned in its last"
                " round may then be lost"
            )
        time.sleep(POLL_SECONDS)
