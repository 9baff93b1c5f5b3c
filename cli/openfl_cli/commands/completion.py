"""`openfl-node completion`: what a shell needs to complete commands."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes

NAME = "completion"
HELP = "let your shell complete commands, options and names of groups"
DESCRIPTION = """\
Print what your shell has to run for Tab to complete commands, options, settings, homes, and the
names of groups that your running node knows. Put the line below into the file that your shell
reads when it starts."""
EXAMPLES = """\
  eval "$(openfl-node completion bash)"                    in ~/.bashrc
  eval "$(openfl-node completion zsh)"                     in ~/.zshrc, after compinit
  openfl-node completion fish | source                     in ~/.config/fish/config.fish"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="which one")


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.completion import script

    print(script(arguments.shell), end="")
    return exit_codes.SUCCESS
