"""`status --watch`: follow a running node from another terminal, through its control socket."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from openfl.core.errors import NotRunningError
from openfl.core.telemetry import NodeSnapshot
from openfl_cli import exit_codes, options
from openfl_cli.ask import running_node
from openfl_cli.screen import Screen, print_frame
from openfl_cli.status_json import status_json
from openfl_cli.text import to_json
from openfl_cli.threads import in_thread
from openfl_cli.view import NodeView

LINES_EVERY_SECONDS = 1.0


def watch(home: Path, as_json: bool) -> int:
    """Until the node stops or Ctrl-C. NotRunningError when none runs to begin with."""
    last = NodeSnapshot.from_plain(running_node(home, "snapshot"))

    async def current() -> NodeSnapshot:
        nonlocal last
        plain = await in_thread(partial(running_node, home, "snapshot"))
        last = NodeSnapshot.from_plain(plain)
        return last

    async def lines() -> None:
        console = options.stdout_console()
        while True:
            shot = await current()
            if as_json:
                print(to_json(status_json(shot, running=True)), flush=True)
            else:
                console.print(NodeView(shot))
                print(flush=True)
            await trio.sleep(LINES_EVERY_SECONDS)

    on_screen = sys.stdout.isatty() and not as_json
    try:
        if on_screen:
            with Screen() as screen:
                trio.run(screen.show, current)
        else:
            trio.run(lines)
    except KeyboardInterrupt:
        pass  # this is how watching ends
    except NotRunningError:
        if on_screen:
            print_frame(last, running=False)
        options.note("the node stopped")
    return exit_codes.SUCCESS
