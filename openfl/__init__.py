"""OpenFL: decentralized nodes that learn together with nobody in the middle.

This is the public face of the library: what is named in `__all__` is what to build on, the rooms
below may be rebuilt. docs/embedding.md shows how to run a node from a program, docs/tasks.md how to
write a learning task.

A name is imported when it is first used, so that `import openfl` costs nothing.
"""

TYPE_CHECKING = False  # type checkers take it for true, and nothing need be imported to say so

if TYPE_CHECKING:
    from openfl.aggregation.robust import Stack
    from openfl.aggregation.rules import by_centre, register_rule
    from openfl.app.blocking import RunningNode, run
    from openfl.app.configuration import load_config
    from openfl.app.open_node import open_node
    from openfl.config.kinds.description import KindDescription
    from openfl.config.sections import Config
    from openfl.config.settings import setting
    from openfl.core.contribution import (
        Charter,
        Contribution,
        Evaluation,
        GroupId,
        ModelView,
        PeerId,
        RowBlock,
        TableSchema,
    )
    from openfl.core.errors import (
        ConfigError,
        DataError,
        GroupError,
        LearningError,
        NetworkError,
        NotRunningError,
        OpenFLError,
        StateError,
        UsageError,
        UserError,
    )
    from openfl.core.telemetry import GroupView, NodeEvent, NodeSnapshot
    from openfl.learning.factorization.recommend import Recommendations
    from openfl.learning.factorization.similar import SimilarSongs
    from openfl.learning.factorization.wishes import Wishes
    from openfl.learning.kind import Kind
    from openfl.learning.kinds import register_kind
    from openfl.learning.own_losses import OwnLosses
    from openfl.learning.sharding import Sharding
    from openfl.learning.task import LearningTask
    from openfl.learning.torch.charter import torch_charter, torch_problem
    from openfl.learning.torch.model import TorchModel, TorchSettings
    from openfl.learning.torch.task import TorchTask
    from openfl.learning.workload import TaskWorkload, Workload
    from openfl.node.node import Node

__version__ = "0.1.0"

__all__ = [
    "Charter",
    "Config",
    "ConfigError",
    "Contribution",
    "DataError",
    "Evaluation",
    "GroupError",
    "GroupId",
    "GroupView",
    "Kind",
    "KindDescription",
    "LearningError",
    "LearningTask",
    "ModelView",
    "NetworkError",
    "Node",
    "NodeEvent",
    "NodeSnapshot",
    "NotRunningError",
    "OpenFLError",
    "OwnLosses",
    "PeerId",
    "Recommendations",
    "RowBlock",
    "RunningNode",
    "Sharding",
    "SimilarSongs",
    "Stack",
    "StateError",
    "TableSchema",
    "TaskWorkload",
    "TorchModel",
    "TorchSettings",
    "TorchTask",
    "UsageError",
    "UserError",
    "Wishes",
    "Workload",
    "by_centre",
    "load_config",
    "open_node",
    "register_kind",
    "register_rule",
    "run",
    "setting",
    "torch_charter",
    "torch_problem",
]

_NAMES_OF = {
    "openfl.aggregation.robust": ("Stack",),
    "openfl.aggregation.rules": ("by_centre", "register_rule"),
    "openfl.app.blocking": ("RunningNode", "run"),
    "openfl.app.configuration": ("load_config",),
    "openfl.app.open_node": ("open_node",),
    "openfl.config.sections": ("Config",),
    "openfl.config.kinds.description": ("KindDescription",),
    "openfl.config.settings": ("setting",),
    "openfl.core.contribution": (
        "Charter",
        "Contribution",
        "Evaluation",
        "GroupId",
        "ModelView",
        "PeerId",
        "RowBlock",
        "TableSchema",
    ),
    "openfl.core.errors": (
        "ConfigError",
        "DataError",
        "GroupError",
        "LearningError",
        "NetworkError",
        "NotRunningError",
        "OpenFLError",
        "StateError",
        "UsageError",
        "UserError",
    ),
    "openfl.core.telemetry": ("GroupView", "NodeEvent", "NodeSnapshot"),
    "openfl.learning.factorization.recommend": ("Recommendations",),
    "openfl.learning.factorization.similar": ("SimilarSongs",),
    "openfl.learning.factorization.wishes": ("Wishes",),
    "openfl.learning.kind": ("Kind",),
    "openfl.learning.kinds": ("register_kind",),
    "openfl.learning.own_losses": ("OwnLosses",),
    "openfl.learning.sharding": ("Sharding",),
    "openfl.learning.task": ("LearningTask",),
    "openfl.learning.torch.charter": ("torch_charter", "torch_problem"),
    "openfl.learning.torch.model": ("TorchModel", "TorchSettings"),
    "openfl.learning.torch.task": ("TorchTask",),
    "openfl.learning.workload": ("TaskWorkload", "Workload"),
    "openfl.node.node": ("Node",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


if not TYPE_CHECKING:  # which would take every name for one of these

    def __getattr__(name):
        """Import a public name from where it is defined (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value  # once
        return value


def __dir__() -> list[str]:
    """With the names that were not used yet."""
    return sorted({*globals(), *__all__})
