"""`openfl-node config`: what is in force and where it comes from, and one setting changed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import UsageError
from openfl.core.files import expanded
from openfl_cli import exit_codes, options
from openfl_cli.text import clean

if TYPE_CHECKING:
    from openfl.config.settings import Value

NAME = "config"
HELP = "the configuration: show it, or set one thing in it"
DESCRIPTION = """\
Show the configuration in force, or change config.toml. Options of a command win over environment
variables (OPENFL_SECTION_KEY), these over config.toml in the home folder, and that over the
defaults."""
EXAMPLES = """\
  openfl-node config show --changed
  openfl-node config set network.port 4001
  openfl-node config set http.cert_file=cert.pem http.key_file=key.pem
  openfl-node config unset network.port
  openfl-node config get training.interval_seconds
  openfl-node config import config.json
  openfl-node config reference"""
_SHOW = """\
Show the configuration in force. The output is a valid configuration file; a comment behind a value
says where it comes from."""
_GET = "Print the value in force of one setting, without quotes; of a list an entry a line."
_SET = """\
Set KEY in the configuration file to VALUE, or several at once as KEY=VALUE. Everything else in the
file stays as it is, comments too. A value that no node would start with is refused, and nothing is
written. Of a list each VALUE is an entry; one VALUE alone is taken apart at its commas."""
_UNSET = "Take KEY out of the configuration file, so that its default holds again."
_IMPORT = """\
Take over the config.json of the first prototype. Each of its keys becomes a setting in the
configuration file, or is named with the reason why not."""
_REFERENCE = """\
Print a configuration file in which every setting is explained and stands at its default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    def action(name: str, short: str, text: str) -> argparse.ArgumentParser:
        return options.add_action(actions, name, short, text, EXAMPLES)

    show = action("show", "print the effective configuration", _SHOW)
    options.add_config(show)
    show.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    options.add_json(show)
    get = action("get", "print one setting", _GET)
    get.add_argument("key", metavar="KEY", help="such as network.port")
    options.add_config(get)
    options.add_json(get)
    set_ = action("set", "change one setting in config.toml", _SET)
    set_.add_argument("key", metavar="KEY", help="such as network.port; or KEY=VALUE")
    set_.add_argument("values", metavar="VALUE", nargs="*", help="what it is to be")
    _add_file(set_)
    unset = action("unset", "put one setting back to its default", _UNSET)
    unset.add_argument("key", metavar="KEY", help="such as network.port")
    _add_file(unset)
    import_ = action("import", "take over the prototype's config.json", _IMPORT)
    import_.add_argument("file", metavar="FILE", type=Path, help="the prototype's config.json")
    _add_file(import_)
    action("reference", "print all settings, explained", _REFERENCE)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the file to change (default: $OPENFL_CONFIG, else config.toml in the home folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "show":
            return _show(arguments)
        case "get":
            return _get(arguments)
        case "set":
            _change(arguments, _settings(arguments))
        case "unset":
            _change(arguments, {arguments.key: None})
        case "import":
            _import(arguments)
        case _:
            from openfl.config import Config, to_toml

            print(to_toml(Config()), end="")
    return exit_codes.SUCCESS


def _show(arguments: argparse.Namespace) -> int:
    from openfl.config import effective_values, toml_value

    config = options.effective_config(arguments, options.home_folder(arguments))
    values = [
        value
        for value in effective_values(config)
        if not arguments.changed or value.origin.kind != "default"
    ]
    if arguments.json:
        tree: dict[str, dict[str, object]] = {}
        for value in values:
            section, _, name = value.key.partition(".")
            plain = list(value.value) if isinstance(value.value, tuple) else value.value
            tree.setdefault(section, {})[name] = plain
        options.print_json(tree)
        return exit_codes.SUCCESS
    section = ""
    for value in values:
        here, _, name = value.key.partition(".")
        if here != section:
            print(f"[{here}]" if not section else f"\n[{here}]")
            section = here
        origin = value.origin
        source = "" if origin.kind == "default" else f"  # {origin.where or origin.kind}"
        print(f"{name} = {toml_value(value.value)}{source}")
    return exit_codes.SUCCESS


def _get(arguments: argparse.Namespace) -> int:
    from openfl.config import require_setting, value_of

    require_setting(arguments.key)
    config = options.effective_config(arguments, options.home_folder(arguments))
    value = value_of(config, arguments.key)
    origin = config.origin(arguments.key)
    if arguments.json:
        plain = list(value) if isinstance(value, tuple) else value
        options.print_json({"key": arguments.key, "value": plain, "from": str(origin)})
    elif isinstance(value, tuple):
        for entry in value:
            print(clean(entry, 2000))
    elif isinstance(value, bool):
        print(str(value).lower())
    else:
        print(clean(str(value), 2000))
    return exit_codes.SUCCESS


def _settings(arguments: argparse.Namespace) -> dict[str, Value | None]:
    """What `config set` was given."""
    from openfl.config import parse_value

    if "=" in arguments.key:
        pairs = options.assignments([arguments.key, *arguments.values])
        return {key: parse_value(key, [text], os.environ) for key, text in pairs.items()}
    if not arguments.values:
        raise UsageError(
            f"set {clean(arguments.key)} to what? (`openfl-node config unset` puts it back to its"
            " default)"
        )
    return {arguments.key: parse_value(arguments.key, arguments.values, os.environ)}


def _change(arguments: argparse.Namespace, changes: Mapping[str, Value | None]) -> None:
    from openfl_cli.config_changes import change

    home = options.home_folder(arguments)
    change(home, options.config_file(arguments, home) or home / options.CONFIG_FILE, changes)


def _import(arguments: argparse.Namespace) -> None:
    from openfl.config.prototype import read_prototype

    found = read_prototype(expanded(arguments.file), os.environ)
    if found.taken:
        _change(arguments, {key: value for key, value in found.taken.values()})
    for name, remark in found.remarks.items():
        options.note(f"{clean(name, 80)}: {remark}")
    for name, why in found.left.items():
        options.note(f"{clean(name, 80)} is not taken: {why}")
    for address in found.addresses:
        options.note(f"to add that peer: openfl-node bootstrap add {address}")
