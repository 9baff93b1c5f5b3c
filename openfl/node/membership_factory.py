"""`MembershipFactory`: opens memberships: the first one of a run, and one after another.

What a membership begins with is a `Beginning`: nothing, what was saved, or a snapshot of the group
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
from openfl.discovery.discovery import Discovery
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings
from openfl.learning.task import LearningTask, PrivateLearner
from openfl.learning.workload import Workload
from openfl.network.base import Network, Sealer
from openfl.node.compute import Compute
from openfl.node.eligibility import Eligibility
from openfl.node.event_log import EventLog
from openfl.node.membership import Membership
from openfl.node.privacy_budget import PrivacyBudget, no_private_step
from openfl.storage.membership import SavedMembership
from openfl.switching.seed import Beginning, Seed


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipFactory:
    """save, on_tell: what each membership does with its state, and with its news."""

    network: Network
    sealer: Sealer
    discovery: Discovery
    workload: Workload
    eligibility: Eligibility
    settings: SessionSettings
    compute: Compute
    rng: np.random.Generator
    unix_time: Callable[[], float]
    privacy: PrivacyBudget | None
    save: Callable[[SavedMembership, ModelView], Awaitable[None]]
    on_tell: Callable[[ev.Tell], None]
    log: EventLog

    def first(self, charter: Charter, resume: SavedMembership | None) -> Membership:
        """The membership that a run of the node begins with; `resume`: of this very group.

        ConfigError when the group's task cannot be learned under the privacy that was asked for.
        """
        if resume is None:
            replica = Replica(charter, self.settings.limits)
            return self._open(charter, Beginning(replica, self._new_epoch()))
        membership = self._open(charter, self._resumed(charter, resume))
        if resume.private and not membership.restore_private(resume.private):
            self.log.tell("info", "data-changed", "the data has changed since the last run")
        return membership

    def next(self, charter: Charter, old: GroupSession, seed: Seed) -> Membership:
        """A membership to take the place of the one in the `old` session; ConfigError."""
        return self._open(charter, Beginning.after(old, seed, self._new_epoch()))

    def _resumed(self, charter: Charter, saved: SavedMembership) -> Beginning:
        epoch = max(self._new_epoch(), saved.epoch + 1)
        replica, refused = saved.rebuild(self.sealer, self.settings.limits, trio.current_time())
        self.log.tell(
            "info",
            "resumed",
            f"resumed group {charter.name} at round {saved.round}"
            f" with {replica.member_count} members' contributions",
        )
        if refused:
            self.log.tell("warning", "state-refused", f"{refused} saved contributions are invalid")
        return Beginning(
            replica, epoch, saved.round, history=saved.history, invitations=saved.invitations
        )

    def _new_epoch(self) -> int:
        """Above those of earlier runs, unless the clock was set back."""
        return max(1, int(self.unix_time() * 1000))

    def _task(self, charter: Charter) -> LearningTask:
        task = self.workload.task(charter)
        if self.privacy is not None and not isinstance(task, PrivateLearner):
            raise ConfigError(no_private_step(charter.task))
        return task

    def _open(self, charter: Charter, beginning: Beginning) -> Membership:
        task, group_id = self._task(charter), charter.group_id
        session = GroupSession(
            beginning.replica,
            self.sealer,
            self.settings,
            self.rng,
            beginning.epoch,
            train_examples=task.train_examples,
            round_number=beginning.round,
            last_round=beginning.last_round,
            history=beginning.history,
            admission=self.eligibility.admission(charter, beginning.invitations),
        )
        return Membership(
            session,
            task,
            self.network,
            self.compute,
            np.random.default_rng(int(self.rng.integers(1 << 63))),
            reachable=lambda: self.discovery.members(group_id),
            tell=self.on_tell,
            save=self.save,
            privacy=self.privacy,
            snapshot=beginning.snapshot,
        )
