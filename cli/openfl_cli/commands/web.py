"""`openfl-node web`: the link to the page of a running node."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "web"
HELP = "the node in a browser: prints the link, and opens it on a desktop"
DESCRIPTION = """\
Print the link to the page that shows the node running in this home folder, and open it in a
browser when this is a terminal on a desktop. A node that was started without --web opens the page
now, for as long as it runs. The page is for this machine alone and only shows; the link holds the
token that keeps others out, so give it to nobody."""
EXAMPLES = """\
  openfl-node web
  openfl-node web --no-open
  curl -H "Authorization: Bearer $(cat ~/.local/share/openfl-node/players.token)" \\
    "$(openfl-node web --json | jq -r .url)/metrics\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="open it in a browser (default: on a desktop)",
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.core.errors import NotRunningError
    from openfl_cli import ask
    from openfl_cli.page_link import open_in_browser, page_link, wanted_here

    home = options.home_folder(arguments)
    told = ask.running_node(home, "web")
    try:
        url, token_file = str(told["url"]), str(told["token_file"])
    except (KeyError, TypeError):
        raise NotRunningError("the node does not say where its page is: restart it") from None
    link = page_link(home, url)
    if arguments.json:
        options.print_json({"url": url, "link": link, "token_file": token_file})
    else:
        print(link)
    wanted = arguments.open
    if wanted is None:
        wanted = wanted_here() and not arguments.json
    if wanted and not open_in_browser(home, link):
        options.note("no browser was found here: copy the link into one")
    return exit_codes.SUCCESS
