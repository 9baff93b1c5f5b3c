"""`openfl-node config show`: the configuration in force, and where each value comes from."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "config"
HELP = "the configuration in force: `config show`"
DESCRIPTION = """\
Show the configuration in force. Options of a command win over environment variables
(OPENFL_SECTION_KEY), these over config.toml in the home folder, and that over the defaults. The
output is a valid configuration file; a comment behind a value says where it comes from."""
EXAMPLES = """\
  openfl-node config show
  openfl-node config show --changed
  OPENFL_TRAINING_ROUNDS=20 openfl-node config show --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    show = actions.add_parser(
        "show",
        help="print the effective configuration",
        description=DESCRIPTION,
        formatter_class=options.HelpFormatter,
        allow_abbrev=False,
        epilog=f"examples:\n{EXAMPLES}",
    )
    show.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help=options.HOME_HELP)
    options.add_config(show)
    show.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    options.add_json(show)


def run(arguments: argparse.Namespace) -> int:
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
