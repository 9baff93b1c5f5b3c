"""Where PyTorch modules are trained, and how their Fisher information is measured.

No accelerator is needed: what is tested is what is chosen and refused, that nothing of two devices
meets (PyTorch's `meta` device refuses that), and that numbers come back. Skipped where PyTorch is
not installed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openfl.core.contribution import Charter
from openfl.core.errors import ConfigError
from openfl.core.model_view import DenseModel
from openfl.learning.torch import fisher
from openfl.learning.torch.charter import torch_charter
from openfl.learning.torch.device import chosen_device, seeded
from openfl.learning.torch.layout import Layout
from openfl.learning.torch.model import TorchModel, TorchSettings
from openfl.learning.torch.task import TorchTask

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
nn = torch.nn


def small() -> Any:
    return nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 3))


MODEL = TorchModel("small", small)
CHARTER = torch_charter("devices", MODEL)


def examples(count: int = 90) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((count, 6)).astype(np.float32)
    return torch.tensor(inputs), torch.tensor(inputs[:, :3].argmax(axis=1))


def task(charter: Charter = CHARTER, model: TorchModel = MODEL, **settings: Any) -> TorchTask:
    chosen = replace(TorchSettings(local_epochs=1), **settings)
    return TorchTask.from_charter(charter, model, *examples(), None, chosen)


def sees(monkeypatch: pytest.MonkeyPatch, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


# --- what is chosen -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted", "found"),
    [
        (False, False, "auto", "cpu"),
        (True, False, "auto", "cuda"),
        (False, True, "auto", "mps"),
        (True, True, "auto", "cuda"),
        (True, True, "mps", "mps"),
        (True, True, "cpu", "cpu"),
    ],
)
def test_the_device_is_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, wanted: str, found: str
) -> None:
    sees(monkeypatch, cuda, mps)
    assert chosen_device(wanted, "small", small()).type == found


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("cuda", r'device is "cuda": PyTorch .* sees no CUDA device here; "cpu" always works'),
        ("mps", r'device is "mps": PyTorch .* sees no MPS device here; "cpu" always works'),
        ("gpu", "device is 'gpu': one of auto, cpu, cuda, mps"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, wanted: str, words: str
) -> None:
    sees(monkeypatch)
    with pytest.raises(ConfigError, match=words) as refused:
        task(device=wanted)
    assert "\n" not in str(refused.value)


def test_mps_has_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    sees(monkeypatch, mps=True)
    module = nn.Linear(2, 2).double()
    assert chosen_device("auto", "wide", module).type == "cpu"
    with pytest.raises(ConfigError, match=r"weight of model wide is torch.float64, which MPS"):
        chosen_device("mps", "wide", module)


# --- what must not depend on it -------------------------------------------------------------------


def test_first_values_are_made_on_the_processor_whatever_the_programs_default_is() -> None:
    torch.set_default_device("meta")
    try:
        assert torch_charter("devices", MODEL) == CHARTER
    finally:
        torch.set_default_device(None)


def test_the_programs_generator_goes_on_as_if_nothing_had_been_made() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with seeded(7):
        first = torch.rand(4)
    with seeded(7):
        assert torch.rand(4).equal(first)
    assert torch.rand(4).equal(expected)


def test_training_and_weighing_bring_no_two_devices_together() -> None:
    """On PyTorch's `meta` device, which has shapes and no numbers: what brings its tensors together
    with those of the processor fails there as on an accelerator."""
    one = task()
    device = torch.device("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        Layout(MODEL, 0).module.to(device)(one._inputs).sum().backward()
    one._layout.move(device)
    one._device = device
    one._buffers = {n: b.to(device) for n, b in one._buffers.items()}
    rng = np.random.default_rng(0)
    assert one._train(rng).device.type == "meta"
    assert {p.device.type for p in one.module.parameters()} == {"meta"}
    one._layout.fill(np.ones((len(one._layout.keys), 64), dtype=np.float32))
    found = fisher.of_batches(one.module, MODEL.losses, one._examples, one._batches(rng))
    assert {squares.device.type for squares in found} == {"meta"}
    assert one._layout._to_rows(found).device.type == "meta"


def test_examples_too_many_for_the_device_are_taken_there_batch_by_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = DenseModel.empty(CHARTER)
    (whole,) = task().local_step(model, np.random.default_rng(0)).blocks
    monkeypatch.setattr("openfl.learning.torch.task.MAX_RESIDENT_BYTES", 1)
    (parts,) = task().local_step(model, np.random.default_rng(0)).blocks
    assert whole.values.tobytes() == parts.values.tobytes()


def test_rows_come_back_as_they_were_filled_in() -> None:
    layout = Layout(TorchModel("plain", lambda: nn.Linear(70, 3)), 0)
    layout._first = [torch.zeros_like(first) for first in layout._first]
    rows = np.random.default_rng(0).standard_normal((len(layout.keys), 64)).astype(np.float32)
    rows.reshape(-1)[210:256] = 0  # 70 x 3 numbers end inside the fourth row,
    rows[4, 3:] = 0  # and the three biases in the fifth
    rows.flags.writeable = False
    layout.fill(rows)
    assert layout.read().tobytes() == rows.tobytes()
    ones = [torch.ones_like(p) for p in layout.trainable]
    assert layout.means(ones).tolist() == [1.0] * 5, "the unused ends of rows do not count"


# --- Fisher information ---------------------------------------------------------------------------


def one_by_one(module: Any, inputs: Any, targets: Any) -> list[Any]:
    total = [torch.zeros_like(p) for p in module.parameters()]
    for n in range(len(inputs)):
        module.zero_grad()
        nn.functional.cross_entropy(module(inputs[n : n + 1]), targets[n : n + 1]).backward()
        for squares, parameter in zip(total, module.parameters(), strict=True):
            squares += parameter.grad**2
    return total


class InPlace(nn.Module):  # type: ignore[misc]
    """Writes into a buffer-like tensor of its own: `vmap` refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, inputs: Any) -> Any:
        scratch = torch.zeros(3)
        scratch += self.inner(inputs)[0]
        return scratch[None]


class Asking(nn.Module):  # type: ignore[misc]
    """What it does next depends on a number: `vmap` refuses that, too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, inputs: Any) -> Any:
        return self.inner(inputs) * (2.0 if float(inputs.sum()) > 0 else 1.0)


CONVOLUTION = nn.Sequential(
    nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 3)
)


@pytest.mark.parametrize("most", [1, 3000, 1 << 28], ids=["one", "few", "all at once"])
@pytest.mark.parametrize(
    "module",
    [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), CONVOLUTION, InPlace(), Asking()],
    ids=["linear", "convolution", "in place", "asking"],
)
def test_gradients_of_examples_at_once_are_those_one_by_one(
    monkeypatch: pytest.MonkeyPatch, module: Any, most: int
) -> None:
    monkeypatch.setattr(fisher, "MAX_GRADIENT_BYTES", most)
    inputs, targets = examples(40)
    truth = one_by_one(module, inputs, targets)
    found = fisher.of_examples(
        module, MODEL.losses, lambda rows: (inputs[rows], targets[rows]), np.arange(40)
    )
    assert max(float(t.max()) for t in truth) > 0.1
    for a, b in zip(found, truth, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "taken"), [(InPlace, False), (Asking, False), (small, True)])
def test_which_modules_go_at_once(kind: Any, taken: bool) -> None:
    inputs, targets = examples(8)
    arguments = (MODEL.losses, lambda rows: (inputs[rows], targets[rows]), [np.arange(8)])
    if taken:
        assert len(fisher._at_once(kind(), *arguments)) == 4
        return
    with pytest.raises(RuntimeError):
        fisher._at_once(kind(), *arguments)


def test_batch_normalisation_goes_by_the_batch() -> None:
    def normed() -> Any:
        return nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False))

    assert fisher.mixes_examples(normed())
    assert not fisher.mixes_examples(small())
    model = TorchModel("normed", normed)
    charter = torch_charter("normed", model)
    empty = DenseModel.empty(charter)
    blocks = [
        task(charter, model, fisher=how).local_step(empty, np.random.default_rng(0)).blocks[0]
        for how in ("batches", "examples")
    ]
    assert len(set(blocks[0].evidence)) > 1
    assert blocks[0].evidence.tobytes() == blocks[1].evidence.tobytes()


def test_evidence_by_examples_is_the_mean_square_of_their_gradients() -> None:
    model = TorchModel("line", lambda: nn.Linear(6, 3))
    charter = torch_charter("line", model)
    one = task(charter, model, fisher="examples", learning_rate=0.0)
    (block,) = one.local_step(DenseModel.empty(charter), np.random.default_rng(0)).blocks
    inputs, targets = examples()
    rows = one._split.train
    truth = one_by_one(one.module, inputs[rows], targets[rows])
    means = np.array([float(t.detach().mean()) / len(rows) for t in truth])
    assert np.allclose(block.evidence, np.ceil(len(rows) * (0.1 + means / 1e-3)), atol=1)
