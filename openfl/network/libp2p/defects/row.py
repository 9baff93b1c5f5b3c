"""What is said of one defect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """One row. Exactly one of `without` and `unjudged` is given.

    where: file and line in py-libp2p. harm: what goes wrong without the workaround. workaround:
    `module:name` below openfl.network.libp2p. test: `path::name`; it fails without the workaround.
    without: the steps that take it away. unjudged: why it cannot be taken away. issue: URL of the
    report upstream, where one is known.
    """

    id: str
    where: str
    harm: str
    workaround: str
    test: str
    without: tuple[str, ...] = ()
    unjudged: str = ""
    issue: str = ""
