"""`openfl-node home`: a node in one file, to be kept, or moved to another machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl.core.files import expanded
from openfl_cli import exit_codes, options
from openfl_cli.text import clean, count_of, human_bytes

NAME = "home"
HELP = "back up this node, or move it: export, import"
DESCRIPTION = """\
Write the home folder of a node to one file, and make a home of such a file. It is the node itself:
its identity, what it has learned, its configuration, invitations and the names of its songs; the
data only when asked for. Whoever has the file can be this node: keep it as you keep a password."""
EXAMPLES = """\
  openfl-node home export backup.zip
  openfl-node home export --move --with-data node.zip     the old home rests from now on
  openfl-node home import node.zip --home ~/nodes/b
  openfl-node home undo-move                              it was not moved after all"""
_EXPORT = """\
Write this home to FILE, readable by you only. The node must not run meanwhile. With --move the home
rests afterwards: no node starts in it, so that one identity does not run in two places."""
_IMPORT = """\
Make the home folder, which must not be there yet or be empty, the one that was exported to FILE.
Everything in FILE is checked first; when something is wrong, nothing is written."""
_UNDO = """\
Let the node of this home start again after `home export --move`. Only when it runs nowhere else."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, short, text in (
        ("export", "write this node to a file", _EXPORT),
        ("import", "make a home of such a file", _IMPORT),
        ("undo-move", "let a node that was moved start here again", _UNDO),
    ):
        action = options.add_action(actions, name, short, text, EXAMPLES)
        if name == "export":
            action.add_argument("file", metavar="FILE", type=Path, help="where to write it (.zip)")
            action.add_argument(
                "--with-data", action="store_true", help="take the data along that it learns from"
            )
            action.add_argument(
                "--move", action="store_true", help="have this home rest from now on"
            )
            action.add_argument("--force", action="store_true", help="replace FILE")
        elif name == "import":
            action.add_argument("file", metavar="FILE", type=Path, help="what was exported")


def run(arguments: argparse.Namespace) -> int:
    home = options.home_folder(arguments)
    match arguments.action:
        case "export":
            _export(arguments, home)
        case "import":
            _import(arguments, home)
        case _:
            from openfl.app.moving import undo_move

            undo_move(home)
            print(f"the node of {home} may start again; see that it runs nowhere else")
    return exit_codes.SUCCESS


def _export(arguments: argparse.Namespace, home: Path) -> None:
    from openfl.app.moving import export_home

    file = expanded(arguments.file)
    done = export_home(
        home,
        file,
        with_data=arguments.with_data,
        move=arguments.move,
        force=arguments.force,
    )
    print(f"written  {done.file}: {count_of(done.files, 'file')}, {human_bytes(done.size)}")
    print(f"node     {done.peer_id}")
    for left in done.left:
        print(f"left     {clean(left, 300)}")
    options.note("whoever has this file can be this node: keep it as you keep a password")
    if arguments.move:
        print(f"rests    {home}: no node starts here from now on")
        print(f"now      take it to the other machine: openfl-node home import {file.name}")


def _import(arguments: argparse.Namespace, home: Path) -> None:
    from openfl.app.moving import import_home

    done = import_home(expanded(arguments.file), home)
    group = "" if done.group is None else f", in group {clean(done.group, 64)}"
    print(f"made     {done.home}: {count_of(done.files, 'file')}")
    print(f"node     {done.peer_id}{group}")
    for remark in done.remarks:
        options.note(remark)
    print(f"start it with: openfl-node start{options.home_option(home)}")
