"""What every demo needs around its nodes: a folder that goes away, homes in it, a place for its
pictures, and the last words of a node that ended early."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import RenderableType

from openfl.core.errors import LearningError
from openfl_cli import options
from openfl_cli.demo.children import ChildEnded
from openfl_cli.terminal import Keyboard, in_foreground
from openfl_cli.text import clean

V = TypeVar("V")


@contextmanager
def demo_folder(keep: bool) -> Iterator[Path]:
    """A new folder for the nodes' homes, gone afterwards unless `keep`."""
    folder = Path(tempfile.mkdtemp(prefix="openfl-demo-"))
    try:
        yield folder
    finally:
        if keep:
            options.note(f"kept the nodes' homes: {folder}/node-1 ...")
            options.note(f"try: openfl-node status --home {folder}/node-1")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def make_homes(folder: Path, nodes: int) -> list[Path]:
    """A home for each node, which nobody else can look into."""
    homes = [folder / f"node-{number + 1}" for number in range(nodes)]
    for home in homes:
        home.mkdir(mode=0o700)
    return homes


@contextmanager
def pictures(
    quiet: bool, drawn: Callable[[V], RenderableType], lines: Callable[[V], None]
) -> Iterator[Callable[[V], None]]:
    """Where a demo's views go: `drawn` on the terminal, else to `lines`, or nowhere."""
    if quiet:
        yield lambda view: None
    elif in_foreground():
        from rich.live import Live

        with (
            Keyboard() as keyboard,
            Live(
                console=options.stdout_console(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            ) as live,
        ):
            keyboard.silence()
            yield lambda view: live.update(drawn(view), refresh=True)
    else:
        yield lines


def told(group: BaseExceptionGroup[BaseException]) -> LearningError:
    """The first node that ended early, after its last lines were shown on stderr."""
    ended: BaseException = group
    while isinstance(ended, BaseExceptionGroup):
        ended = ended.exceptions[0]
    assert isinstance(ended, ChildEnded)
    for line in ended.child.lines:
        print(f"{ended.child.name} | {clean(line)}", file=sys.stderr)
    return ended
