"""`Layout`: a module as rows of a table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Floats, Hyperparameter, Keys
from openfl.core.errors import UsageError
from openfl.learning.torch.device import seeded
from openfl.learning.torch.library import Module, Tensor, torch_library
from openfl.learning.torch.model import TorchModel

WIDTH = 64
"""Numbers in a row: few enough that a row can be skipped when it did not change, enough that its
key and evidence cost little."""
_MAX_SHAPE_PIECES = 40
_PIECE_CHARS = 250


class Layout:
    """A module made under a seed, and how its trainable tensors lie in rows.

    keys: uint64[rows]. count: how many numbers there are. fingerprint: of names and shapes.
    first_values: digest of what the module begins with.
    """

    def __init__(self, model: TorchModel, seed: int) -> None:
        """The module is made on the processor; see `move`."""
        torch = torch_library()
        with seeded(seed), torch.device("cpu"):
            self.module = model.make()
        check_module(model.name, self.module)
        named = [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]
        if not named:
            raise UsageError(f"model {model.name}: it has no number to train")
        self.trainable = [p for _, p in named]
        self.device = torch.device("cpu")
        self._first = [p.detach().clone() for p in self.trainable]
        self._rows = [math.ceil(p.numel() / WIDTH) for p in self.trainable]
        self.keys: Keys = np.arange(sum(self._rows), dtype=np.uint64)
        self.count = sum(p.numel() for p in self.trainable)
        self._filled = np.full(len(self.keys), float(WIDTH))
        last = np.cumsum(self._rows) - 1
        self._filled[last] -= [-p.numel() % WIDTH for p in self.trainable]
        self._shapes = [[n, *map(int, p.shape)] for n, p in named]
        self.fingerprint = hashlib.sha256(json.dumps(self._shapes).encode()).hexdigest()[:32]
        self.first_values = self._digest_of_first_values()

    def described(self) -> dict[str, Hyperparameter]:
        """The shapes in words, as far as a charter has room: to say what differs."""
        text = json.dumps(self._shapes, separators=(",", ":"))
        if len(text) > _MAX_SHAPE_PIECES * _PIECE_CHARS:
            return {}
        return {
            f"tensors_{at // _PIECE_CHARS:02d}": text[at : at + _PIECE_CHARS]
            for at in range(0, len(text), _PIECE_CHARS)
        }

    def move(self, device: Any) -> None:
        """Take the module and its first values, made on the processor, to a `torch.device`."""
        self.module.to(device)
        self.trainable = [p for p in self.module.parameters() if p.requires_grad]
        self._first = [first.to(device) for first in self._first]
        self.device = device

    def fill(self, rows: Floats) -> None:
        """Put first values + rows into the module."""
        torch = torch_library()
        # The model's rows cannot be written to, and PyTorch has no tensors of that kind.
        change = torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(self.device)
        at = 0
        with torch.no_grad():
            for parameter, first, count in zip(
                self.trainable, self._first, self._rows, strict=True
            ):
                part = change[at : at + count].reshape(-1)[: parameter.numel()]
                parameter.copy_(first + part.view(parameter.shape).to(first.dtype))
                at += count

    def read(self) -> Floats:
        """float32[rows, WIDTH]: what the module has now, less the first values."""
        pairs = zip(self.trainable, self._first, strict=True)
        rows: Floats = self._to_rows(p.detach() - first for p, first in pairs).cpu().numpy()
        return rows

    def means(self, tensors: Iterable[Tensor]) -> NDArray[np.float64]:
        """float64[rows]: the mean over the numbers of each row of tensors like `trainable`."""
        sums: NDArray[np.float64] = (
            self._to_rows(tensors).cpu().numpy().sum(axis=1, dtype=np.float64)
        )
        means: NDArray[np.float64] = sums / self._filled
        return means

    def _to_rows(self, tensors: Iterable[Tensor]) -> Tensor:
        """float32[rows, WIDTH] on the module's device; the ends of last rows are 0."""
        torch = torch_library()
        rows = torch.zeros((len(self.keys), WIDTH), dtype=torch.float32, device=self.device)
        at = 0
        for tensor, count in zip(tensors, self._rows, strict=True):
            rows[at : at + count].view(-1)[: tensor.numel()] = tensor.reshape(-1)
            at += count
        return rows

    def _digest_of_first_values(self) -> str:
        state = hashlib.sha256()
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        for name, tensor in named:
            state.update(f"\n{name} {tensor.dtype} ".encode())
            state.update(tensor.detach().contiguous().reshape(-1).numpy().tobytes())
        return state.hexdigest()[:32]


def check_module(name: str, module: Module) -> None:
    """UsageError when a module cannot be learned by exchanging its parameters."""
    torch = torch_library()
    for path, part in module.named_modules():
        if getattr(part, "track_running_stats", False):
            raise UsageError(
                f"model {name}: {path or type(part).__name__} keeps running statistics of its"
                " batches, which cannot be merged over nodes; use GroupNorm or LayerNorm, or"
                " track_running_stats=False"
            )
    for path, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"model {name}: {path} is {parameter.dtype}; only float32 and float64 are learned"
            )
        if parameter.device.type != "cpu":
            raise UsageError(f"model {name}: {path} is on {parameter.device}; make it on the CPU")
