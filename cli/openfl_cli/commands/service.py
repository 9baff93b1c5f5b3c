"""`openfl-node service`: have the machine run the node."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import StateError, UsageError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl_cli.last_start import LastStart
    from openfl_cli.service_managers import Manager
    from openfl_cli.services import Service

NAME = "service"
HELP = "have the machine run the node: install, remove, status"
DESCRIPTION = """\
Have systemd, or launchd on macOS, run the node of this home folder: from boot or login on, and
again when it failed. A user installs it for themselves; root for the whole machine. It is started
with the options behind `--`, or else as this home was last started; config.toml counts as ever."""
EXAMPLES = """\
  openfl-node service install --print
  openfl-node service install -- --data ~/ratings.csv --bootstrap ADDRESS
  openfl-node service status
  openfl-node service remove"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    install = actions.add_parser("install", help="write the service, and start it")
    install.add_argument(
        "start",
        metavar="OPTION",
        nargs="*",
        help="behind --: options of start (default: those of the last start)",
    )
    install.add_argument(
        "--print", action="store_true", help="print what would be written, and change nothing"
    )
    install.add_argument(
        "--no-start", action="store_true", help="have it start with the machine, but not now"
    )
    install.add_argument(
        "--run-as",
        metavar="USER",
        default="",
        help="as whom it runs when root installs it (default: the owner of the home folder)",
    )
    remove = actions.add_parser("remove", help="end the service and remove it; the home stays")
    status = actions.add_parser("status", help="whether it is installed and runs")
    options.add_json(status)
    for action in (install, remove, status):
        action.add_argument(
            "--name", metavar="NAME", help="of the service (default: openfl-node, or with the home)"
        )
        action.add_argument(
            "--home", metavar="DIR", default=argparse.SUPPRESS, help=options.HOME_HELP
        )


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.home_folder import Home
    from openfl_cli.service_managers import manager
    from openfl_cli.services import check_name, name_for

    # Not `options.home_folder`: for root it may be the home of the user that the node runs as.
    home = Home.find(arguments.home, os.environ).root
    usual = not options.home_option(home)
    name = check_name(arguments.name) if arguments.name else name_for(home, usual)
    of_machine = manager(system=os.geteuid() == 0)
    if arguments.action == "install":
        return _install(arguments, home, name, of_machine)
    if arguments.action == "remove":
        return _remove(home, name, of_machine)
    return _status(arguments, home, name, of_machine)


def _install(arguments: argparse.Namespace, home: Path, name: str, of_machine: Manager) -> int:
    from openfl_cli.background import check_start

    start = _start(arguments, home)
    service = _service(home, name, start, of_machine, arguments.run_as)
    code = check_start(home, start, service.user)
    if code:
        return code
    if arguments.print:
        print(of_machine.text_of(service), end="")
        return exit_codes.SUCCESS
    of_machine.require()
    _require_free(home, name, of_machine)
    if _runs(home) and not of_machine.state(name).active:
        raise StateError(
            f"a node runs in {home} already; stop it first: openfl-node stop"
            f"{options.home_option(home)}"
        )
    _make_home(home, service)
    for complaint in of_machine.complaints(service):
        options.note(complaint)
    path = of_machine.write(service)
    print(f"wrote    {path}")
    of_machine.enable(name, start=not arguments.no_start)
    print(f"enabled  {name}" if arguments.no_start else f"started  {name}")
    for hint in of_machine.hints(name):
        print(hint)
    print(f"how it is: openfl-node service status{options.home_option(home)}")
    return exit_codes.SUCCESS


def _start(arguments: argparse.Namespace, home: Path) -> LastStart:
    """How the service is to start its node."""
    from openfl_cli import last_start
    from openfl_cli.last_start import LastStart, working_folder

    if "--detach" in arguments.start:
        raise UsageError("--detach: a service is in the background anyway: leave it out")
    if arguments.start:
        return LastStart.of(["start", *arguments.start], working_folder(), os.environ)
    try:
        last = last_start.load(home)
    except StateError as error:
        raise StateError(f"{error}; or give the options of start behind --") from None
    return last or LastStart.of(["start"], working_folder(), os.environ)


def _runs(home: Path) -> bool:
    """Whether a node runs there, whoever's home it is."""
    import fcntl  # here: commands are listed on Windows, too, where it is not

    from openfl.app.home_folder import is_locked

    with contextlib.suppress(StateError):
        return is_locked(home)
    # Somebody else's, which root may look at: only whether it is locked, not what is in it.
    try:
        lock = os.open(home / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _remove(home: Path, name: str, of_machine: Manager) -> int:
    path = of_machine.file_of(name)
    if not path.exists():
        raise StateError(f"there is no service {name} ({path}); which one is it? (--name)")
    _require_free(home, name, of_machine)
    of_machine.require()
    of_machine.disable(name)
    try:
        path.unlink()
    except OSError as error:
        raise StateError(f"{path}: cannot be removed: {error.strerror or error}") from None
    of_machine.forget()
    print(f"removed  {path}")
    print(f"the node's home stays: {home}")
    return exit_codes.SUCCESS


def _status(arguments: argparse.Namespace, home: Path, name: str, of_machine: Manager) -> int:
    path = of_machine.file_of(name)
    ours = path.exists() and of_machine.home_of(name) == str(home)
    state = of_machine.state(name) if ours else None
    active = state is not None and state.active
    if arguments.json:
        options.print_json(
            {
                "name": name,
                "manager": of_machine.kind,
                "file": str(path),
                "installed": ours,
                "enabled": state is not None and state.enabled,
                "active": active,
                "running": _runs(home),
            }
        )
    elif state is None:
        print(f"not installed: there is no service {name} for {home}")
        if _runs(home):
            print("a node runs in this home folder, started by hand")
    else:
        print(f"{name}: {state.words} ({path})")
    return exit_codes.SUCCESS if active else exit_codes.UNMET


def _service(home: Path, name: str, start: LastStart, of_machine: Manager, run_as: str) -> Service:
    from openfl_cli.background import command_of_start
    from openfl_cli.services import Service

    words = ["--no-view", "--service", of_machine.label(name)]
    kept = [word for word in start.arguments if word != "--no-view"]
    environment = dict(start.environment)
    if "PYTHONPATH" in os.environ:
        folders = os.environ["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(f) for f in folders if f)
    if run_as and not of_machine.system:
        raise UsageError("--run-as: only root can install a service that runs as somebody else")
    user = (run_as or _owner(home)) if of_machine.system else ""
    if user == "root":
        options.note("the node would run as root: better as a user of its own (--run-as USER)")
    return Service(
        name=name,
        home=home,
        command=tuple(command_of_start(home, [*kept, *words])),
        folder=start.folder,
        environment=environment,
        user=user,
        system=of_machine.system,
    )


def _require_free(home: Path, name: str, of_machine: Manager) -> None:
    """StateError when a service of that name is there and not of this home."""
    path = of_machine.file_of(name)
    of = of_machine.home_of(name)
    if path.exists() and of != str(home):
        whose = f"of the home folder {of}" if of else "not of openfl-node"
        raise StateError(f"{path} is {whose}: choose another with --name")


def _owner(home: Path) -> str:
    """The name of whoever the home folder belongs to, or will."""
    import pwd

    try:
        owner = home.stat().st_uid
    except OSError:
        owner = os.geteuid()
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _make_home(home: Path, service: Service) -> None:
    """The home folder is there, and is the service's user's. StateError when that cannot be."""
    if not service.user:
        return
    import pwd

    try:
        user = pwd.getpwnam(service.user)
    except KeyError:
        if service.user.isdigit():
            return
        raise UsageError(f"--run-as {service.user}: there is no such user") from None
    if not home.exists():
        try:
            home.mkdir(mode=0o700, parents=True)
            # Not through a link that whoever owns the folder above has put there meanwhile.
            os.chown(home, user.pw_uid, user.pw_gid, follow_symlinks=False)
        except OSError as error:
            raise StateError(f"{home}: cannot be made: {error.strerror or error}") from None
    elif home.stat().st_uid != user.pw_uid:
        raise StateError(
            f"the home folder {home} is not {service.user}'s;"
            f" run: chown -R {service.user} {shlex.quote(str(home))}"
        )
