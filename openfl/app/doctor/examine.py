"""`examine`: every check there is, each with a time-out, so that one that hangs (a dead network
disk, a name server that does not answer) holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import trio

from openfl.app.doctor import of_data, of_group, of_home, of_machine, of_network
from openfl.app.doctor.finding import ORDER, Finding, fault, fine, warning
from openfl.app.doctor.subject import Subject
from openfl.app.lazy_imports import set_up
from openfl.core.errors import UserError

log = logging.getLogger(__name__)

Look = Callable[[Subject], Iterable[Finding]]
AsyncLook = Callable[[Subject], Awaitable[Iterable[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """`look` runs in a thread; `dial` in trio. One of them is given. seconds: its time-out."""

    name: str
    look: Look | None = None
    dial: AsyncLook | None = None
    seconds: float = 15.0


CHECKS: tuple[Check, ...] = (
    Check("config", of_home.configuration),
    Check("home", of_home.home),
    Check("identity", of_home.identity),
    Check("state", of_home.state, seconds=30.0),
    Check("disk", of_home.disk),
    Check("data", of_data.data, seconds=60.0),
    Check("port", of_network.port),
    Check("reach", of_network.reach),
    Check("bootstrap", dial=of_network.bootstrap, seconds=30.0),
    Check("clock", of_machine.clock),
    Check("limits", of_machine.limits),
    Check("versions", of_machine.versions),
    Check("songs", of_group.songs),
    Check("notices", of_group.notices),
)
"""In the order in which they are told."""


async def examine(subject: Subject, checks: Sequence[Check] = CHECKS) -> tuple[Finding, ...]:
    """What the checks find, in their order, the worst of each first; each finds something, if only
    that all is well."""
    set_up()  # before any thread imports what it postpones
    found: dict[str, list[Finding]] = {}

    async def run(check: Check) -> None:
        found[check.name] = await _found_by(check, subject)

    async with trio.open_nursery() as nursery:
        for check in checks:
            nursery.start_soon(run, check)
    return tuple(
        replace(finding, check=check.name)
        for check in checks
        for finding in sorted(found[check.name], key=lambda f: ORDER.index(f.severity))
    )


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether one of them is a fault."""
    return any(finding.severity == "fault" for finding in findings)


async def _found_by(check: Check, subject: Subject) -> list[Finding]:
    with trio.move_on_after(check.seconds):
        try:
            if check.dial is not None:
                told = list(await check.dial(subject))
            else:
                assert check.look is not None
                told = await _in_thread(check.look, subject)
            return told or [fine("nothing is wrong")]
        except UserError as error:
            return [fault("not-checked", f"cannot be looked at: {error}", "")]
        except Exception as error:
            # A bug of ours must not hide what the other checks have found.
            log.exception("the check %s failed", check.name)
            text = f"the check itself failed: {type(error).__name__}: {error}"
            return [fault("check-failed", text, "this is a bug in OpenFL: please report it")]
    text = f"it was not done after {check.seconds:g} s"
    return [warning("timed-out", text, "something it looks at hangs: a disk, a name server?")]


async def _in_thread(look: Look, subject: Subject) -> list[Finding]:
    return await trio.to_thread.run_sync(
        lambda: list(look(subject)),
        abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs are of an older trio
        limiter=trio.CapacityLimiter(1),  # whoever hangs takes nobody's turn
    )
