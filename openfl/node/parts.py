"""What a node is made from: records of parts that belong together, handed on as one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from openfl.core.course import Course
from openfl.discovery.discovery import Discovery
from openfl.learning.workload import Workload
from openfl.network.base import Network, Sealer
from openfl.node.compute import Compute
from openfl.node.eligibility import Eligibility
from openfl.node.fault_points import FaultPoints
from openfl.node.privacy_budget import PrivacyBudget
from openfl.storage.base import KeptCourse, KeptLabels, NodeStorage, Standing
from openfl.storage.membership import SavedMembership


@dataclass(frozen=True, slots=True)
class Links:
    """How a node reaches others: the open network, its signature, and who finds peers."""

    network: Network
    sealer: Sealer
    discovery: Discovery


@dataclass(frozen=True, slots=True)
class SavedNode:
    """What a node keeps on disk, and what an earlier run has left there. resume: the membership to
    go on with; None begins anew. standing: how the node stood with other groups. labels: what
    others told of what items are called; None keeps none. course: of the node's life so far, and
    where it is kept from now on; None keeps none."""

    storage: NodeStorage
    resume: SavedMembership | None = None
    standing: Standing | None = None
    labels: KeptLabels | None = None
    course: Course = field(default_factory=Course)
    kept_course: KeptCourse | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What differs between a real node and a simulated one. compute: where training runs; None is
    threads of the node's own. unix_time: seconds. faults: where a test lets the node crash.
    measures_load: whether the event loop is watched for it; not on virtual time."""

    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    compute: Compute | None = None
    unix_time: Callable[[], float] = time.time
    faults: FaultPoints = field(default_factory=FaultPoints)
    measures_load: bool = True


@dataclass(frozen=True, slots=True)
class Learning:
    """What a node learns, in which groups it can, and under which privacy budget (None: none)."""

    workload: Workload
    eligibility: Eligibility
    privacy: PrivacyBudget | None = None
