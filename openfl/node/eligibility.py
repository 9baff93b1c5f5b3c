"""`Eligibility`: which groups a node can be a member of: by its data, and by invitation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openfl.core.contribution import Charter
from openfl.group.admission import Admission
from openfl.learning.workload import Workload
from openfl.network.base import Sealer


@dataclass(frozen=True, slots=True)
class Eligibility:
    """invitations: envelopes of those that the node's owner has given it."""

    workload: Workload
    sealer: Sealer
    unix_time: Callable[[], float]
    invitations: tuple[bytes, ...]

    def admission(self, charter: Charter, remembered: tuple[bytes, ...] = ()) -> Admission:
        """Who may be in the group, by these and the `remembered` invitations."""
        known = (*remembered, *self.invitations)
        return Admission(charter, self.sealer, self.unix_time, known)

    def problem(self, charter: Charter) -> str | None:
        """Why this node cannot join a group of that charter; None when it can."""
        return self.workload.problem(charter) or self.admission(charter).problem()
