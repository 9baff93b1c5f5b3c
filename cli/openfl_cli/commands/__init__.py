"""The commands of `openfl-node`, in the order in which `--help` lists them."""

from __future__ import annotations

from openfl_cli.commands import (
    config,
    data,
    demo,
    evaluate,
    export,
    found,
    groups,
    id,
    import_,
    init,
    invite,
    network_key,
    peers,
    predict,
    recommend,
    report,
    similar,
    simulate,
    start,
    status,
    stop,
    switch,
)
from openfl_cli.options import Command

COMMANDS: tuple[Command, ...] = (
    demo,
    init,
    data,
    start,
    status,
    peers,
    groups,
    switch,
    found,
    invite,
    recommend,
    similar,
    predict,
    evaluate,
    export,
    import_,
    id,
    network_key,
    config,
    report,
    simulate,
    stop,
)
