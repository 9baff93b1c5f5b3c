"""Sums of squared gradients: the diagonal of the empirical Fisher information, before averaging.

`of_batches` squares the gradient of each batch and counts it for all of its examples: one more pass
over them, with all examples of a batch at once. Where gradients of one batch agree it is too high:
of batches of m it expects E[g^2] + (m - 1) E[g]^2. `of_examples` squares the gradient of each
example, as the definition has it, by `torch.func`; that moves as many numbers an example as the
module has, so it is for small modules and for accelerators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.learning.torch.library import Module, Tensor, torch_library

Rows = NDArray[np.intp]
Examples = Callable[[Rows], tuple[Tensor, Tensor]]
"""Inputs and targets of some examples, where the module is."""
Losses = Callable[[Tensor, Tensor], Tensor]

MAX_GRADIENT_BYTES = 1 << 28
"""Gradients of examples that are held at once; those of one example always are."""


def of_batches(
    module: Module, losses: Losses, examples: Examples, batches: Iterable[Rows]
) -> list[Tensor]:
    """Like the module's trainable parameters: the sum over batches of the squared gradient of the
    mean loss, each times the number of its examples."""
    torch = torch_library()
    trainable = [p for p in module.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in trainable]
    for batch in batches:
        inputs, targets = examples(batch)
        module.zero_grad()
        losses(module(inputs), targets).mean().backward()
        with torch.no_grad():
            for squares, parameter in zip(total, trainable, strict=True):
                if parameter.grad is not None:
                    squares.addcmul_(parameter.grad, parameter.grad, value=len(batch))
    module.zero_grad()
    return total


def mixes_examples(module: Module) -> bool:
    """Whether an example's output depends on the batch it is in, so that it has no gradient of its
    own: batch normalisation, which in training goes by the batch."""
    batch_norm = torch_library().nn.modules.batchnorm._BatchNorm
    return any(isinstance(part, batch_norm) and part.training for part in module.modules())


def of_examples(module: Module, losses: Losses, examples: Examples, rows: Rows) -> list[Tensor]:
    """Like the module's trainable parameters: the sum over examples of each one's squared gradient.

    Modules that `torch.func.vmap` cannot take (they write into what they were given, or ask a
    tensor what to do next) are asked for one example after another: the same sums, more slowly.
    """
    numbers = sum(p.numel() for p in module.parameters() if p.requires_grad)
    each = max(1, MAX_GRADIENT_BYTES // (4 * numbers))
    chunks = [rows[at : at + each] for at in range(0, len(rows), each)]
    try:
        return _at_once(module, losses, examples, chunks)
    except RuntimeError:
        return of_batches(module, losses, examples, [rows[n : n + 1] for n in range(len(rows))])


def _at_once(
    module: Module, losses: Losses, examples: Examples, chunks: Sequence[Rows]
) -> list[Tensor]:
    torch = torch_library()
    named = {name: p.detach() for name, p in module.named_parameters()}
    trainable = {n: named[n] for n, p in module.named_parameters() if p.requires_grad}
    fixed = {n: p for n, p in named.items() if n not in trainable}
    fixed |= dict(module.named_buffers())

    def loss(parameters: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        outputs = torch.func.functional_call(module, {**parameters, **fixed}, (one[None],))
        return losses(outputs, target[None]).mean()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="different")
    total = {name: torch.zeros_like(p) for name, p in trainable.items()}
    for chunk in chunks:
        for name, found in gradients(trainable, *examples(chunk)).items():
            total[name] += found.square_().sum(dim=0)
    return list(total.values())
