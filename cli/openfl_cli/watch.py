"""Following a running node from another terminal, through its control socket: `top`, and
`status --watch`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from openfl.core.errors import NotRunningError
from openfl_cli import exit_codes, options
from openfl_cli.ask import running_snapshot
from openfl_cli.live.handle import Handle, SocketHandle
from openfl_cli.screen import Screen, print_frame
from openfl_cli.session import heeded_signals
from openfl_cli.status_json import status_json
from openfl_cli.text import to_json
from openfl_cli.threads import in_thread
from openfl_cli.view import NodeView

LINES_EVERY_SECONDS = 1.0


def watch(home: Path, as_json: bool) -> int:
    """Until the node stops or Ctrl-C. NotRunningError when none runs to begin with."""
    if sys.stdout.isatty() and not as_json:
        return attach(home)
    running_snapshot(home)

    async def lines() -> None:
        console = options.stdout_console()
        while True:
            shot = await in_thread(partial(running_snapshot, home))
            if as_json:
                print(to_json(status_json(shot, running=True)), flush=True)
            else:
                console.print(NodeView(shot), crop=False)
                print(flush=True)
            await trio.sleep(LINES_EVERY_SECONDS)

    try:
        trio.run(lines)
    except KeyboardInterrupt:
        pass  # this is how watching ends
    except NotRunningError:
        options.note("the node stopped")
    return exit_codes.SUCCESS


def attach(home: Path) -> int:
    """The live view of the node that runs in `home`, until its viewer leaves, a signal comes, or
    the node stops. NotRunningError when none runs to begin with."""
    running_snapshot(home)
    screen = Screen()
    gone = trio.run(_attached, SocketHandle(home), screen)
    if gone is not None:
        if screen.last is not None:
            print_frame(screen.last, running=False)
        options.note(f"the view has ended: {gone}")
    return exit_codes.SUCCESS


async def _attached(handle: Handle, screen: Screen) -> NotRunningError | None:
    """Why the node could be asked no more; None: its viewer left."""
    gone: NotRunningError | None = None
    with screen, heeded_signals() as signals:
        async with trio.open_nursery() as nursery:

            async def end_at_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(end_at_signal)
            try:
                await screen.show(handle, ends_node=False)
            except NotRunningError as error:
                gone = error
            nursery.cancel_scope.cancel()
    return gone
