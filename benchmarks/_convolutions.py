"""The small convolutional network of `clusters.py`, for the baselines: needs PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from _clustered import Vectors
from _image_nodes import module_maker
from _images import Images, Numbers
from numpy.typing import NDArray


class Convolutions:
    """A `Model` of `_clustered.py`; the same module that OpenFL learns."""

    def __init__(self, side: int) -> None:
        import torch

        self._torch, self._side = torch, side
        self._module: Any = module_maker("cnn", side)()
        self._parameters = list(self._module.parameters())

    def first(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """As PyTorch begins."""
        torch = self._torch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(1 << 62)))
            for part in self._module.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
        with torch.no_grad():
            found: NDArray[np.float32] = torch.cat(
                [p.reshape(-1) for p in self._parameters]
            ).numpy()
        return found.copy()

    def gradients(self, models: Vectors, images: Images, labels: Numbers) -> Vectors:
        """See `Model`."""
        torch = self._torch
        found = np.empty_like(models)
        for row, (model, own, true) in enumerate(zip(models, images, labels, strict=True)):
            self._fill(model)
            loss = torch.nn.functional.cross_entropy(self._outputs(own), torch.from_numpy(true))
            slopes = torch.autograd.grad(loss, self._parameters)
            found[row] = torch.cat([slope.reshape(-1) for slope in slopes]).numpy()
        return found

    def scores(self, models: Vectors, images: Images) -> NDArray[np.float32]:
        """See `Model`."""
        found = []
        with self._torch.no_grad():
            for model, own in zip(models, images, strict=True):
                self._fill(model)
                found.append(self._outputs(own).numpy())
        return np.stack(found)

    def _outputs(self, images: Images) -> Any:
        side = self._side
        return self._module(self._torch.from_numpy(images.reshape(-1, 1, side, side)))

    def _fill(self, model: NDArray[np.float32]) -> None:
        at = 0
        with self._torch.no_grad():
            for parameter in self._parameters:
                flat = self._torch.from_numpy(model[at : at + parameter.numel()].copy())
                parameter.copy_(flat.view(parameter.shape))
                at += parameter.numel()
