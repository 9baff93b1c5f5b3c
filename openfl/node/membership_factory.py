"""`MembershipFactory`: opens memberships: the first one of a run, and one after another.

What a membership begins with is a `_Beginning`: nothing, what was saved, or a snapshot of the group
that the node moves to. Its epoch is above every earlier one of this node in that group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import trio

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import ConfigError
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings, SessionStart
from openfl.learning.task import LearningTask, PrivateLearner
from openfl.node.compute import Compute
from openfl.node.event_log import EventLog
from openfl.node.membership import Membership
from openfl.node.parts import Environment, Learning, Links
from openfl.node.privacy_budget import no_private_step
from openfl.node.trainer import Trainer
from openfl.storage.membership import SavedMembership


@dataclass(frozen=True, slots=True)
class Seed:
    """A replica that holds what members of a new group serve, which of them gave it, and the
    invitations they know."""

    replica: Replica
    given: ev.SnapshotGiven
    invitations: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Beginning:
    """last_round: None is the usual of the settings."""

    replica: Replica
    epoch: int
    round: int = 0
    last_round: int | None = None
    history: tuple[float, ...] = ()
    invitations: tuple[bytes, ...] = ()
    snapshot: ev.SnapshotGiven | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipFactory:
    """compute: where training runs; save, on_tell: what each membership does with its
    state, and with its news."""

    links: Links
    learning: Learning
    settings: SessionSettings
    compute: Compute
    environment: Environment
    save: Callable[[SavedMembership, ModelView], Awaitable[None]]
    on_tell: Callable[[ev.Tell], None]
    log: EventLog

    def first(self, charter: Charter, resume: SavedMembership | None) -> Membership:
        """The membership that a run of the node begins with; `resume`: of this very group.

        ConfigError when the group's task cannot be learned under the privacy that was asked for.
        """
        if resume is None:
            replica = Replica(charter, self.settings.limits)
            return self._open(charter, _Beginning(replica, self._new_epoch()))
        membership = self._open(charter, self._resumed(charter, resume))
        if resume.private and not membership.trainer.restore(resume.private):
            self.log.tell("info", "data-changed", "the data has changed since the last run")
        return membership

    def next(self, charter: Charter, old: GroupSession, seed: Seed) -> Membership:
        """A membership to take the place of the one in the `old` session; ConfigError."""
        version = seed.replica.version_of(self.links.network.peer_id)
        beginning = _Beginning(
            seed.replica,
            max(self._new_epoch(), version.epoch + 1),
            old.round,
            # Whoever is done and is moved by its owner is to learn again.
            None if old.phase == "done" else old.last_round,
            tuple(old.history),
            seed.invitations,
            seed.given,
        )
        return self._open(charter, beginning)

    def _resumed(self, charter: Charter, saved: SavedMembership) -> _Beginning:
        epoch = max(self._new_epoch(), saved.epoch + 1)
        replica, refused = saved.rebuild(
            self.links.sealer, self.settings.limits, trio.current_time()
        )
        self.log.tell(
            "info",
            "resumed",
            f"resumed group {charter.name} at round {saved.round}"
            f" with {replica.member_count} members' contributions",
        )
        if refused:
            self.log.tell("warning", "state-refused", f"{refused} saved contributions are invalid")
        return _Beginning(
            replica, epoch, saved.round, history=saved.history, invitations=saved.invitations
        )

    def _new_epoch(self) -> int:
        """Above those of earlier runs, unless the clock was set back."""
        return max(1, int(self.environment.unix_time() * 1000))

    def _task(self, charter: Charter) -> LearningTask:
        task = self.learning.workload.task(charter)
        if self.learning.privacy is not None and not isinstance(task, PrivateLearner):
            raise ConfigError(no_private_step(charter.task))
        return task

    def _open(self, charter: Charter, beginning: _Beginning) -> Membership:
        task, group_id = self._task(charter), charter.group_id
        session = GroupSession(
            beginning.replica,
            self.links.sealer,
            self.settings,
            self.environment.rng,
            SessionStart(
                beginning.epoch,
                task.train_examples,
                beginning.round,
                beginning.last_round,
                beginning.history,
            ),
            admission=self.learning.eligibility.admission(charter, beginning.invitations),
        )
        rng = np.random.default_rng(int(self.environment.rng.integers(1 << 63)))
        trainer = Trainer(task, self.compute, rng, self.on_tell, self.learning.privacy)
        return Membership(
            session,
            trainer,
            self.links.network,
            reachable=lambda: self.links.discovery.members(group_id),
            tell=self.on_tell,
            save=self.save,
            snapshot=beginning.snapshot,
        )
