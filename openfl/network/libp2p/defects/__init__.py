"""What is wrong in py-libp2p, one row a defect: what happens, what we do about it, and its test.

`make defects` runs each test against the installed py-libp2p with the workaround taken away, and
says which are still needed. docs/py-libp2p.md is drawn from this table (`make docs-defects`).

References are to py-libp2p 0.8.1, below its package folder; workarounds and what is taken away are
below `openfl.network.libp2p`, as `module:name`. How a workaround is taken away (`without`):

    delete module:Class.method          what py-libp2p has in its place is used again
    skip module:function                it is called and does nothing
    pass module:function                it gives back its first argument as it is
    drop module:DICT.key                py-libp2p's own default counts again
    swap module:name for module:name    another stands in its place (from tests/upstream.py)
"""

from __future__ import annotations

from openfl.network.libp2p.defects.connections import CONNECTIONS
from openfl.network.libp2p.defects.dht import DHT
from openfl.network.libp2p.defects.gossip import GOSSIP
from openfl.network.libp2p.defects.process import PROCESS
from openfl.network.libp2p.defects.row import Defect

__all__ = ["DEFECTS", "VERSION", "Defect", "defects_markdown"]

VERSION = "0.8.1"
"""The release of py-libp2p that was read."""

DEFECTS: tuple[Defect, ...] = (*GOSSIP, *CONNECTIONS, *DHT, *PROCESS)

_PARTS = (
    ("Gossip", GOSSIP),
    ("Connections", CONNECTIONS),
    ("DHT and peer store", DHT),
    ("The process", PROCESS),
)
_INTRODUCTION = """\
# Defects of py-libp2p

<!-- Written by `make docs-defects` from openfl/network/libp2p/defects; a test compares them. -->

What is wrong in py-libp2p {version}, the release that is pinned, and what works around it.
`make defects` runs each test against the py-libp2p that is installed, with the workaround taken
away, and says which are still needed: when a new release comes, that is where to begin. Places in
py-libp2p are below its package folder, and lead to the report there where one is known. {judged} of
the {all} workarounds can be taken away one by one; the last column says why the others cannot.
"""


def defects_markdown() -> str:
    """The text of docs/py-libp2p.md."""
    judged = sum(bool(defect.without) for defect in DEFECTS)
    parts = [_INTRODUCTION.format(version=VERSION, judged=judged, all=len(DEFECTS))]
    for title, defects in _PARTS:
        parts += [f"## {title}\n", "| id | where | what goes wrong | workaround | test |"]
        parts[-1] += "\n|---|---|---|---|---|\n" + "\n".join(map(_line, defects)) + "\n"
    return "\n".join(parts)


def _line(defect: Defect) -> str:
    where = f"[{defect.where}]({defect.issue})" if defect.issue else defect.where
    file, _, name = defect.test.partition("::")
    test = f"`{file.rpartition('/')[2]}::{name}`"
    if defect.unjudged:
        test += f"; cannot be judged: {defect.unjudged}"
    module, _, function = defect.workaround.partition(":")
    place = module.replace(".", "/") + ".py"
    if not module.startswith("openfl."):
        place = f"openfl/network/libp2p/{place}"
    workaround = f"`{function}` in [{place.rpartition('/')[2]}](../{place})"
    cells = (f"`{defect.id}`", where, defect.harm, workaround, test)
    return "| " + " | ".join(cells) + " |"
