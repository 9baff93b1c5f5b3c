"""What the owner of a node brings: a module, and how to train it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from openfl.learning.torch.device import DeviceName
from openfl.learning.torch.library import Module, Tensor, torch_library


@dataclass(frozen=True)
class TorchModel:
    """name: what the owners call the architecture. make: a fresh module (`torch.nn.Module`).

    loss(outputs, targets): a tensor of one loss an example; default cross entropy. metric: what the
    mean of it is called.
    """

    name: str
    make: Callable[[], Module]
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    metric: str = "log_loss"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """A tensor of one loss an example."""
        if self.loss is not None:
            return self.loss(outputs, targets)
        return torch_library().nn.functional.cross_entropy(outputs, targets, reduction="none")


@dataclass(frozen=True, slots=True)
class TorchSettings:
    """How this node trains; each node may choose its own."""

    local_epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0
    outer_momentum: float = 0.0
    """How much of the group's last step to go ahead before training. Of use when members step
    together; taken back when it makes the loss worse."""
    device: DeviceName = "cpu"
    """Where it trains and evaluates. "auto": CUDA or MPS where PyTorch sees one that can hold the
    module, else the processor. A step is reproducible to the bit on the processor alone."""
    fisher: Literal["batches", "examples"] = "batches"
    """How Fisher information is measured where the charter weighs by it: by the gradients of
    batches, or of each example, which moves as many numbers an example as the module has."""
