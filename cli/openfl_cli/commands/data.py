"""`openfl-node data`: what is in an export or a data file, and the form a node learns from."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from openfl.core.errors import UsageError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.config import Config

NAME = "data"
HELP = "look into your own exports, or convert them: `data inspect`, `data convert`"
DESCRIPTION = """\
Look into what you have downloaded of yourself (Spotify, Last.fm, ListenBrainz, Apple Music, iTunes,
YouTube Music, Letterboxd, IMDb, Goodreads) or into any table of ratings or plays, and turn it into
the files that a node learns from. PATH is a file, a folder, or the zip file as it was downloaded;
what it is, is told by what is in it. Nothing leaves this machine."""
EXAMPLES = """\
  openfl-node data inspect my_spotify_data.zip
  openfl-node data inspect ratings.csv --set data.columns.user=who --json
  openfl-node data convert my_spotify_data.zip mine
  openfl-node start --data mine/plays.csv --set task.kind=implicit --set task.items=music"""
_INSPECT = """\
Say what is in the files: source, people, items, interactions, period, scale, what was left out and
why, what does not look right, and which task fits."""
_CONVERT = """\
Write what is in the files as a node reads it, into the folder OUT: plays.csv or ratings.csv, and
songs.csv with the names. When OUT is there already, what is new is added, and nothing is counted
twice: convert a newer export of yours over the same OUT."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, text, out in (("inspect", _INSPECT, False), ("convert", _CONVERT, True)):
        short = text.partition(",")[0].partition(":")[0].replace("\n", " ")
        action = options.add_action(actions, name, short, text, EXAMPLES)
        action.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="what to read")
        if out:
            action.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
            action.add_argument(
                "--user",
                metavar="ID",
                default="me",
                help="what to call you, in an export that is one person's (default: me)",
            )
        options.add_config(action)
        options.add_json(action)


def run(arguments: argparse.Namespace) -> int:
    config = options.effective_config(arguments, options.home_folder(arguments))
    with _stopped_like_ctrl_c():
        return (
            _inspect(arguments, config)
            if arguments.action == "inspect"
            else _convert(arguments, config)
        )


def _inspect(arguments: argparse.Namespace, config: Config) -> int:
    from openfl.app.data_paths import read_options
    from openfl.sources.reading import read_paths
    from openfl.sources.summary import summarize
    from openfl_cli import imports

    with imports.progress("reading") as advance:
        imported = read_paths(arguments.paths, read_options(config), advance=advance)
    summary = summarize(imported, int(time.time()))
    if arguments.json:
        options.print_json(summary.to_plain())
    else:
        for line in imports.lines(summary):
            print(line)
    return exit_codes.SUCCESS


def _convert(arguments: argparse.Namespace, config: Config) -> int:
    from openfl.app.data_paths import read_options
    from openfl.app.own_exports import take
    from openfl.core.names import is_unseen
    from openfl.sources.summary import summarize
    from openfl_cli import imports

    out, person = arguments.out, arguments.user.strip()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: OUT is a folder to write into, and this is a file")
    if not person or any(is_unseen(character) for character in person):
        raise UsageError("--user needs a name that can be seen")
    with imports.progress("reading") as advance:
        taken = take(arguments.paths, out, read_options(config), person, advance)
    summary = summarize(taken.imported, int(time.time()))
    written, data, there = taken.written, taken.data, taken.before
    added = summary.interactions - there
    if arguments.json:
        plain = summary.to_plain()
        plain["written"] = {str(path): rows for path, rows in written.rows.items()}
        plain["songs_file"] = None if written.songs is None else str(written.songs)
        plain["data_file"] = str(data)
        plain["added"] = added
        options.print_json(plain)
        return exit_codes.SUCCESS
    for line in imports.lines(summary):
        print(line)
    for path, rows in written.rows.items():
        print(f"written       {path}: {rows:,} rows")
    if there:
        print(f"added         {added:,} to the {there:,} rows that were there")
    task = "" if summary.task == "rating" else " --set task.kind=implicit"
    if summary.items_are != "opaque":
        task += f" --set task.items={summary.items_are}"
    print(f"now           openfl-node start --data {shlex.quote(str(data))}{task}")
    return exit_codes.SUCCESS


@contextlib.contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """SIGTERM ends this as Ctrl-C does, so that nothing half written is left."""

    def stop(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
