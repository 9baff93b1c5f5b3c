"""The four questions of `openfl-node init` on a terminal. Nothing is written before all of them are
answered."""

from __future__ import annotations

import argparse
import contextlib
import errno
import glob
import os
import re
import shlex
import shutil
import socket
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import UsageError, UserError
from openfl.core.files import expanded
from openfl_cli import options
from openfl_cli.text import clean, count_of

if TYPE_CHECKING:
    from openfl.config.settings import Value
    from openfl.sources.summary import Summary

Answers = dict[str, "Value"]
"""Setting -> what was answered; what keeps its default is not in it."""

_INDENT = " " * 5
_FIRST = "first"


class Again(Exception):
    """The answer will not do; the text says why."""


def ask_all(arguments: argparse.Namespace, home: Path) -> Answers:
    """All answers. KeyboardInterrupt on Ctrl-C, UsageError when the input ends; nothing was written
    then."""
    _say("Four questions. Enter takes what is in [brackets]; Ctrl-C leaves all as it is.", indent=0)
    print(f"The node will live in {home}")
    answers: Answers = {}
    with _completing_paths():
        answers |= _asked(
            1,
            "Where is your data? An export as you downloaded it (Spotify, Last.fm, ...), a folder"
            " of them, or a table of ratings or plays. It never leaves this machine.",
            "file or folder [none yet]",
            data_answer,
        )
    answers |= _asked(
        2,
        "How is the node to join others? By the address of any running node, or its HOST:PORT;"
        ' "lan" finds those on this network; "first" begins a new network.',
        f"address, lan or first [{_FIRST}]",
        lambda text: join_answer(text, arguments, home),
    )
    answers |= _asked(
        3,
        "Which group is it to learn in?",
        "name [the largest that fits]",
        group_answer,
    )
    answers |= _asked(
        4,
        "Where does it listen? On any free port, which it then keeps, or on one that you name."
        ' Behind a router at home add "upnp": the router is asked to forward it.',
        "any, or a port, with or without upnp [any]",
        listen_answer,
    )
    print()
    return answers


def _asked(number: int, question: str, prompt: str, answer_of: Callable[[str], Answers]) -> Answers:
    print()
    _say(question, f"{number}/4")
    while True:
        try:
            text = input(f"{_INDENT}{prompt}: ")
        except UnicodeDecodeError:
            _say("that is not text in this terminal's encoding")
            continue
        except EOFError:
            print()
            raise UsageError("the input ended before the last answer; nothing was made") from None
        try:
            return answer_of(text.strip())
        except Again as problem:
            for line in str(problem).splitlines():
                _say(line)


def _say(text: str, number: str = "", indent: int = len(_INDENT)) -> None:
    """`text`, wrapped and indented; `number` in front of its first line."""
    width = max(40, min(80, shutil.get_terminal_size().columns) - 1)
    lines = textwrap.wrap(clean(text, 2000), width - indent, break_on_hyphens=False)
    for line in lines or [""]:
        print(f"{number:<{indent}}{line}")
        number = ""


def data_answer(text: str) -> Answers:
    """Of a path: what is recognised in it is told. Again when nothing can be learned from it."""
    if not text:
        return {}
    from openfl.app.data_paths import is_to_be_taken, read_options
    from openfl.config import load_config
    from openfl.sources.reading import read_paths
    from openfl.sources.summary import summarize
    from openfl_cli import imports

    try:
        path = as_typed(text).absolute()
        there = path.exists()
        str(path).encode()
    except OSError as error:
        raise Again(f"{text}: {error.strerror}") from None
    except UnicodeEncodeError:
        raise Again(f"{text}: its name is no UTF-8, and config.toml can hold no other") from None
    if not there:
        raise Again(f"there is no {path}")
    config = load_config(None, {"HOME": os.environ.get("HOME", "")}, {})
    try:
        with imports.progress("reading") as advance:
            imported = read_paths([path], read_options(config), advance=advance)
    except UserError as error:
        raise Again(str(error)) from None
    summary = summarize(imported, int(time.time()))
    for line in told_of(summary):
        _say(line)
    answers: Answers = {"data.ratings_file": str(path)}
    if not is_to_be_taken(config, [path]):
        # A file that a node reads itself; of an export, `start` finds these out.
        if summary.task != config.task.kind:
            answers["task.kind"] = summary.task
        if summary.items_are != "opaque":
            answers["task.items"] = summary.items_are
    return answers


def told_of(summary: Summary) -> Iterator[str]:
    """What was recognised, in a line or two."""
    things = {"music": "song", "film": "film", "book": "book"}.get(summary.items_are, "item")
    kinds = " and ".join(f"{count:,} {word}" for word, count in summary.kinds.items())
    yield (
        f"{clean(', '.join(summary.titles))}: {kinds} of {count_of(summary.items, things)} by"
        f" {count_of(summary.people, 'person', 'people')}"
    )
    if summary.dropped:
        rows = sum(rows for rows, _ in summary.dropped.values())
        yield f"{rows:,} rows cannot be used (openfl-node data inspect tells why)"
    for problem in summary.problems[:3]:
        yield clean(problem, 300)


def join_answer(text: str, arguments: argparse.Namespace, home: Path) -> Answers:
    """Of a way to join. Again when nobody can be dialled so, or it is not whom it should be."""
    from openfl.app.who_is_there import place_of
    from openfl_cli import bootstraps

    if text.lower() in ("", _FIRST):
        return {}
    if text.lower() == "lan":
        return {"network.mdns": True}
    try:
        place = place_of(text)
        if place is None and not text.startswith("/"):
            raise Again(
                "that is neither an address (/ip4/...), nor HOST:PORT, nor one of the two words"
            )
        if place is not None:
            address = bootstraps.confirmed(place, arguments, home)
        else:
            address = bootstraps.require_whole(text)
    except UserError as error:
        raise Again(str(error)) from None
    return {"network.bootstrap": (address,)}


def group_answer(text: str) -> Answers:
    """Of a group's name. Again when none may be called so."""
    if not text:
        return {}
    from openfl.config import parse_value
    from openfl.core.names import name_problem, normal

    name = normal(text)
    if (problem := name_problem(name)) is not None:
        raise Again(f"a group's name {problem}")
    try:
        return {"group.name": parse_value("group.name", [name], {})}
    except UserError as error:
        raise Again(str(error)) from None


def listen_answer(text: str) -> Answers:
    """Of a port, and whether a router is to forward it. Again when it cannot be had."""
    words = text.lower().replace(",", " ").split()
    answers: Answers = {}
    if "upnp" in words:
        answers["network.upnp"] = True
        words.remove("upnp")
    if words and words != ["any"]:
        if len(words) > 1 or not re.fullmatch("[0-9]{1,5}", words[0]) or int(words[0]) > 65535:
            raise Again("that is no port: a number from 1 to 65535, such as 4001")
        port = int(words[0])
        if port == 0:
            return answers
        if (problem := port_problem(port)) is not None:
            raise Again(f"port {port} {problem}")
        answers["network.port"] = port
    return answers


def port_problem(port: int) -> str | None:
    """Why nobody could listen on this TCP port now; None when one can."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is in use, perhaps by another node: take another"
        if error.errno in (errno.EACCES, errno.EPERM):
            return "is not permitted: those below 1024 need privileges"
        return f"cannot be listened on: {error.strerror}"
    return None


def as_typed(text: str) -> Path:
    """A path as people type or drop it: in quotes, or with its spaces escaped."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    plain = expanded(text)
    if len(words) != 1 or plain.exists():
        return plain
    return expanded(words[0])


@contextlib.contextmanager
def _completing_paths() -> Iterator[None]:
    """Tab completes paths, where Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return

    def path(text: str, state: int) -> str | None:
        begun = os.path.expanduser(text)
        found = sorted(glob.glob(f"{glob.escape(begun)}*"))[: state + 1]
        if len(found) <= state:
            return None
        return found[state] + ("/" if os.path.isdir(found[state]) else "")

    before, delimiters = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer_delims("")
    readline.set_completer(path)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_completer_delims(delimiters)


def next_steps(home: Path, answers: Answers) -> Iterator[str]:
    """What to type now."""
    data = "" if "data.ratings_file" in answers else " --data PATH"
    yield f"start it with: openfl-node start{options.home_option(home)}{data}"
    yield f"or as a service: openfl-node service install{options.home_option(home)}"
