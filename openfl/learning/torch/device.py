"""Where a module is trained: the processor, or an accelerator that PyTorch sees.

First values are always made on the processor, from its generator: those of accelerators give other
numbers for the same seed, and members must agree on the digest of what they begin with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from openfl.core.errors import ConfigError
from openfl.learning.torch.library import GENERATOR, Module, torch_library

DeviceName = Literal["auto", "cpu", "cuda", "mps"]

_NAMES: tuple[str, ...] = get_args(DeviceName)


def chosen_device(wanted: str, model: str, module: Module) -> Any:
    """The `torch.device` that `TorchSettings.device` asks for.

    "auto": the first of CUDA, MPS and the processor that is there and can hold `module`.
    ConfigError, in one line: no such word, or the device is not there or cannot hold the module.
    """
    torch = torch_library()
    if wanted not in _NAMES:
        raise ConfigError(f"TorchSettings.device is {wanted!r:.40}: one of {', '.join(_NAMES)}")
    if wanted == "auto":
        fitting = (n for n in ("cuda", "mps") if _problem(n, model, module) is None)
        return torch.device(next(fitting, "cpu"))
    problem = _problem(wanted, model, module)
    if problem is not None:
        raise ConfigError(f'TorchSettings.device is "{wanted}": {problem}; "cpu" always works')
    return torch.device(wanted)


def _problem(name: str, model: str, module: Module) -> str | None:
    torch = torch_library()
    if name == "cuda" and not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no CUDA device here"
    if name == "mps":
        if not torch.backends.mps.is_available():
            return f"PyTorch {torch.__version__} sees no MPS device here"
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.dtype in (torch.float64, torch.complex128):
                return f"{path} of model {model} is {tensor.dtype}, which MPS has not"
    return None


@contextmanager
def seeded(seed: int, device: Any = None) -> Iterator[None]:
    """Everything random inside comes from `seed`, on the processor and on `device`; the generators
    of the program are as before afterwards, and nobody else in this process is let in meanwhile."""
    torch = torch_library()
    apart = None if device is None or device.type == "cpu" else getattr(torch, device.type)
    with GENERATOR:
        before = torch.default_generator.get_state()
        before_apart = None if apart is None else apart.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            if apart is not None:
                apart.manual_seed(seed)
            yield
        finally:
            torch.default_generator.set_state(before)
            if apart is not None:
                apart.set_rng_state(before_apart)
