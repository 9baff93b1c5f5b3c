"""Python's cyclic garbage collector, while a node starts.

What importing makes stays for as long as the process, and the collector would look at it again and
again: a tenth of the time until a node listens. So it rests until then; from then on it leaves what
there is by then alone, which makes every later collection, in which nothing else runs, short.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def resting() -> Iterator[None]:
    """Nothing is collected in the block, or until `go_on` is called within it. For a process of our
    own only: this is a setting of the whole of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def go_on() -> None:
    """Collect again, but never what there is now."""
    gc.freeze()
    gc.enable()
