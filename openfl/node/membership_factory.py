"""`MembershipFactory`: opens memberships: the first one of a run, and one after another.

What one begins with is a `MembershipStart`: nothing, what was saved, or a snapshot of the group
that the node moves to. Its epoch is above every earlier one of this node in that group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

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
from openfl.node.loop_watch import LoopWatch
from openfl.node.membership import Membership
from openfl.node.parts import Environment, Learning, Links
from openfl.node.privacy_budget import no_private_step
from openfl.node.trainer import Trainer
from openfl.storage.membership import SavedMembership
from openfl.switching.seed import MembershipStart, Seed


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
            return self._open(charter, MembershipStart(replica, SessionStart(self._new_epoch())))
        membership = self._open(charter, self._resumed(charter, resume))
        if resume.private and not membership.trainer.restore(resume.private):
            self.log.tell("info", "data-changed", "the data has changed since the last run")
        return membership

    def next(self, charter: Charter, old: GroupSession, seed: Seed) -> Membership:
        """A membership to take the place of the one in the `old` session; ConfigError."""
        return self._open(charter, MembershipStart.after(old, seed, self._new_epoch()))

    def _resumed(self, charter: Charter, saved: SavedMembership) -> MembershipStart:
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
        session = SessionStart(epoch, round=saved.round, history=saved.history)
        return MembershipStart(replica, session, saved.invitations)

    def _new_epoch(self) -> int:
        """Above those of earlier runs, unless the clock was set back."""
        return max(1, int(self.environment.unix_time() * 1000))

    def _task(self, charter: Charter) -> LearningTask:
        task = self.learning.workload.task(charter)
        if self.learning.privacy is not None and not isinstance(task, PrivateLearner):
            raise ConfigError(no_private_step(charter.task))
        return task

    def _open(self, charter: Charter, start: MembershipStart) -> Membership:
        task, group_id = self._task(charter), charter.group_id
        session = GroupSession(
            start.replica,
            self.links.sealer,
            self.settings,
            self.environment.rng,
            replace(start.session, train_examples=task.train_examples),
            admission=self.learning.eligibility.admission(charter, start.invitations),
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
            watch=LoopWatch(measures=self.environment.measures_load),
            snapshot=start.snapshot,
        )
