"""One question to a router, asked by miniupnpc in a process of its own: run as a script.

miniupnpc speaks with the routers there are, and trusts them: it reads any number of bytes for any
length of time, follows a description to whatever host it names, and writes to stderr. So it runs
here, where memory and time have an end, and the node may kill it. Says one JSON object: what was
asked for, or `error` in miniupnpc's words.

    look URL | add URL EXTERNAL INTERNAL LEASE_SECONDS | remove URL EXTERNAL INTERNAL CLIENT
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

LIFE_SECONDS = 15
"""Even when the node has died meanwhile."""
PROCESSOR_SECONDS = 5
MEMORY_BYTES = 96 * 1024 * 1024
MAX_ERROR_CHARACTERS = 200
PLAIN_URL = re.compile(r"http://(\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5})?/[!-~]*", re.ASCII)
"""As miniupnpc reads it too: no name to look up, no user, nothing before the host."""
TAKEN = "ConflictInMappingEntry"
DESCRIPTION = "OpenFL"


def bound() -> None:
    """An end to time and memory, as far as the system knows such limits."""
    if hasattr(signal, "alarm"):
        signal.alarm(LIFE_SECONDS)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        for kind, limit in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, PROCESSOR_SECONDS),
            (resource.RLIMIT_AS, MEMORY_BYTES),
        ):
            resource.setrlimit(kind, (limit, limit))


def host_of(url: str) -> str | None:
    """The address in a plain `http://a.b.c.d:port/path`; None for any other URL."""
    match = PLAIN_URL.fullmatch(url)
    return match.group(1) if match else None


def open_router(url: str) -> Any:
    """The router that the URL describes. Exception: it is none, or would have us talk to another
    host."""
    import miniupnpc

    router = miniupnpc.UPnP()
    control = router.selectigd(url)
    if host_of(url) is None or host_of(str(control)) != host_of(url):
        raise ValueError("control is at another address than its own")
    return router


def answer(arguments: Sequence[str]) -> dict[str, object]:
    """What the router says to one command; ValueError for none of ours."""
    match arguments:
        case ["look", url]:
            router = open_router(url)
            return {"lan": router.lanaddr, "external": router.externalipaddress()}
        case ["add", url, external, internal, lease]:
            router = open_router(url)
            # Some routers take a port away from whoever had it.
            holder = router.getspecificportmapping(int(external), "TCP")
            if holder is not None and holder[:2] != (router.lanaddr, int(internal)):
                return {"error": TAKEN}
            router.addportmapping(
                *(int(external), "TCP", router.lanaddr, int(internal), DESCRIPTION, ""),
                int(lease),
            )
            return {}
        case ["remove", url, external, internal, client]:
            router = open_router(url)
            holder = router.getspecificportmapping(int(external), "TCP")
            if holder is not None and holder[:2] == (client, int(internal)):
                router.deleteportmapping(int(external), "TCP")
            return {}
        case _:
            raise ValueError(f"not understood: {arguments}")


def main() -> None:
    """Do what the arguments say, and print the answer as JSON."""
    bound()
    try:
        said = answer(sys.argv[1:])
    except Exception as error:  # miniupnpc raises nothing more specific
        said = {"error": (str(error) or type(error).__name__)[:MAX_ERROR_CHARACTERS]}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
