"""The commands of `openfl-node`, as `--help` lists them."""

from __future__ import annotations

from openfl_cli.commands import (
    bootstrap,
    bugreport,
    completion,
    config,
    data,
    demo,
    doctor,
    evaluate,
    export,
    found,
    groups,
    home,
    id,
    import_,
    init,
    invite,
    logs,
    netcheck,
    network_key,
    peers,
    ping,
    predict,
    recommend,
    report,
    restart,
    service,
    similar,
    simulate,
    start,
    status,
    stop,
    switch,
    top,
    wait,
    web,
)
from openfl_cli.options import Command

GROUPS: dict[str, tuple[Command, ...]] = {
    "begin": (demo, init, data, start),
    "see how it does": (status, top, web, logs, report),
    "ask what it learned": (recommend, similar, predict, evaluate, export, import_),
    "which group it learns in": (groups, switch, found, invite),
    "whom it meets": (id, peers, bootstrap, network_key),
    "look after it": (config, home, wait, stop, restart, service),
    "something does not work": (doctor, netcheck, ping, bugreport),
    "more": (simulate, completion),
}
"""The commands under the headings of `--help`."""

COMMANDS: tuple[Command, ...] = tuple(command for part in GROUPS.values() for command in part)
