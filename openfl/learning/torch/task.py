"""`TorchTask`: any PyTorch module on any tensors, learned without moving the examples.

    pip install "openfl-node[torch]"

The group's model is what its members have changed about the module's first values. All trainable
tensors, in the module's order, are cut into rows of `WIDTH` consecutive numbers, a tensor beginning
with a new row; so any architecture fits one table, within every bound of the protocol. Each round a
node

1. puts the group's rows into the module (optionally gone ahead along the group's last step);
2. trains it for some epochs of minibatch gradient descent on its own examples;
3. proposes what came out, sure of it by the number of its examples (`count`), or by that times the
   diagonal of the empirical Fisher information, averaged over a row (`fisher`).

With `count` this is FedAvg (McMahan et al. 2017) over registers: nobody waits for anybody, lost
messages are made up for, and a leaver's share goes with it. Unlike the other tasks the place where
it ends depends on how the examples are spread, the less the fewer the epochs.

The first values come from the module itself, made under the charter's seed, and their digest is in
the charter, with the shapes: nodes whose modules differ, or whose PyTorch makes other first values,
refuse each other. So a module may as well begin from pretrained weights.

On the CPU a step depends on nothing but the data, the model and `rng`.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import (
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Encoding,
    Evaluation,
    Floats,
    Hyperparameter,
    Keys,
    ModelView,
    RowBlock,
    TableSchema,
)
from openfl.core.errors import DataError, GroupError, LearningError, UsageError
from openfl.learning.metrics import mean_with_error
from openfl.learning.splitting import Split

TASK_KIND = "torch"
PARAMETERS = "parameters"
WIDTH = 64
"""Numbers in a row: few enough that a row can be skipped when it did not change, enough that its
key and evidence cost little."""
FISHER_UNIT = 1e-3
FISHER_FLOOR = 0.1
"""Fisher information counts in these units, and never less than the floor: a row that is of no use
here must not be given away to whoever happens to have touched it."""
EVALUATION_BATCH = 1024
_MAX_SHAPE_PIECES = 40
_PIECE_CHARS = 250

Tensor = Any
Module = Any
Precision = Literal["count", "fisher"]

_GENERATOR = threading.Lock()
"""PyTorch's random generator belongs to the process; whoever seeds it must not be disturbed."""


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
        """float32[examples]: `loss`, or cross entropy where none is given."""
        if self.loss is not None:
            return self.loss(outputs, targets)
        return _torch().nn.functional.cross_entropy(outputs, targets, reduction="none")


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


def torch_charter(
    name: str,
    model: TorchModel,
    precision: Precision = "fisher",
    prior: float = 0.0,
    encoding: Encoding = "float16",
    seed: int = 0,
) -> Charter:
    """The charter of a group that learns `model`.

    `prior`: how strongly the numbers are held near their first values, in examples. UsageError:
    PyTorch is missing, or the module cannot be learned this way (says why).
    """
    layout = _Layout(model, seed)
    hyperparameters: dict[str, Hyperparameter] = {
        "model": model.name,
        "precision": precision,
        "numbers": layout.count,
        "shapes": layout.fingerprint,
        "first_values": layout.first_values,
        **layout.described(),
    }
    return Charter(
        name=name,
        task=TASK_KIND,
        tables=(
            TableSchema(
                name=PARAMETERS,
                width=WIDTH,
                prior=(float(prior),) * WIDTH,
                prior_per_evidence=(0.0,) * WIDTH,
                initial_scale=(0.0,) * WIDTH,
                encoding=encoding,
                key_bits=32,
            ),
        ),
        hyperparameters=hyperparameters,
        seed=seed,
    )


def torch_problem(own: Charter, theirs: Charter) -> str | None:
    """Why a node with `own` could not learn under `theirs`; None when it could (another name, prior
    or encoding is no obstacle)."""
    group = f'group "{theirs.name}"'
    if theirs.task != own.task:
        return f'{group} learns "{theirs.task}"; this node learns "{own.task}"'
    here, there = own.hyperparameters, theirs.hyperparameters
    if here["model"] != there.get("model"):
        return (
            f"{group} learns the model {there.get('model')!r:.80}; this node's is"
            f" {here['model']!r:.80}"
        )
    if here["shapes"] != there.get("shapes"):
        return f"{group} has another architecture of {here['model']!r:.80}: " + _shape_difference(
            _shapes(own), _shapes(theirs)
        )
    if there.get("first_values") != here["first_values"] or own.seed != theirs.seed:
        return (
            f"{group} starts {here['model']!r:.80} from other first values (another seed, other"
            " pretrained weights, or a PyTorch that makes others)"
        )
    if there.get("precision") not in ("count", "fisher"):
        return f"{group} weighs by {there.get('precision')!r:.40}, which this node does not know"
    table = theirs.tables[0]
    if len(theirs.tables) != 1 or (table.name, table.width) != (PARAMETERS, WIDTH):
        return f"{group}: its tables are not those of this task"
    if any(table.initial_scale) or table.key_bits != 32:
        return f"{group}: its table is not that of this task"
    return None


class TorchTask:
    """A module on one node's private examples (a `LearningTask`)."""

    def __init__(
        self,
        charter: Charter,
        model: TorchModel,
        inputs: Tensor,
        targets: Tensor,
        split: Split,
        settings: TorchSettings,
    ) -> None:
        torch = _torch()
        self._charter = charter
        self._model = model
        self._settings = settings
        self._split = split
        self._layout = _Layout(model, charter.seed)
        self._module = self._layout.module
        self._inputs, self._targets = torch.as_tensor(inputs), torch.as_tensor(targets)
        self._precision = charter.hyperparameters["precision"]
        self._buffers = {n: b.detach().clone() for n, b in self._module.named_buffers()}
        self._before: Floats | None = None
        self._loss = math.inf
        self._ahead = False

    @classmethod
    def from_charter(
        cls,
        charter: Charter,
        model: TorchModel,
        inputs: Tensor,
        targets: Tensor,
        split: Split | None = None,
        settings: TorchSettings | None = None,
    ) -> TorchTask:
        """The task of a node with these examples (tensors or arrays, first axis: the examples).

        `split` defaults to `split_rows(len(inputs))`. GroupError: the charter is of another model.
        DataError: the examples do not fit together, or none is left to train on.
        """
        problem = torch_problem(torch_charter(charter.name, model, seed=charter.seed), charter)
        if problem is not None:
            raise GroupError(problem)
        if len(inputs) != len(targets):
            raise DataError(f"there are {len(inputs)} inputs and {len(targets)} targets")
        split = split_rows(len(inputs)) if split is None else split
        if not len(split.train):
            raise DataError("no example is left to train on")
        return cls(charter, model, inputs, targets, split, settings or TorchSettings())

    @property
    def charter(self) -> Charter:
        """Of the group it learns in."""
        return self._charter

    @property
    def train_examples(self) -> int:
        """Rows of the training split."""
        return len(self._split.train)

    @property
    def module(self) -> Module:
        """The module as it was last filled; use `filled` to have it hold a model."""
        return self._module

    def filled(self, model: ModelView) -> Module:
        """The module with the group's numbers in it, ready to predict."""
        self._layout.fill(self._group_rows(model))
        return self._module.eval()

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        """Train from the model; propose every row. LearningError when training diverges."""
        torch = _torch()
        rows = self._group_rows(model)
        self._layout.fill(self._start(rows))
        self._before = rows
        with _GENERATOR, torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(1 << 62)))
            loss = self._train(rng)
            evidence = self._evidence(rng)
        self._ahead = loss <= self._loss
        self._loss = loss
        changed = [n for n, b in self._module.named_buffers() if not b.equal(self._buffers[n])]
        if changed:
            raise UsageError(
                f"model {self._model.name}: training changes the buffer {changed[0]}, which members"
                " do not exchange; make it a parameter, or leave it out"
            )
        values = self._layout.read()
        if not np.isfinite(values).all():
            raise LearningError(
                f"model {self._model.name}: training diverged; lower learning_rate"
                f" ({self._settings.learning_rate:g})"
            )
        limit = self._charter.table(PARAMETERS).value_limit
        return Contribution(
            (
                RowBlock(
                    PARAMETERS,
                    self._layout.keys.copy(),
                    np.clip(values, -limit, limit),
                    evidence,
                    np.ones(WIDTH, dtype=np.float32),
                ),
            )
        )

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        """The mean loss on held-out examples ("validation", "test" or "train"); NaN without any."""
        held_out = self._split.positions(split)
        if not len(held_out):
            return Evaluation(self._model.metric, math.nan, math.nan, 0)
        parts = self._outputs(model, held_out)
        losses = np.concatenate(
            [self._model.losses(o, t).double().numpy().ravel() for o, t in parts]
        )
        return Evaluation(self._model.metric, *mean_with_error(losses), len(losses))

    def accuracy(self, model: ModelView, split: str = "test") -> float:
        """The part of held-out examples whose highest output is the target; NaN without any."""
        held_out = self._split.positions(split)
        if not len(held_out):
            return math.nan
        parts = self._outputs(model, held_out)
        return sum(int((o.argmax(dim=1) == t).sum()) for o, t in parts) / len(held_out)

    def private_state(self) -> Mapping[str, NDArray[np.generic]]:
        """The group's rows at this node's last step, when it goes ahead along the next."""
        if not self._settings.outer_momentum or self._before is None:
            return {}
        return {"rows": self._before}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back `private_state`; ValueError when it is of another module."""
        rows = state.get("rows")
        if rows is None:
            return
        if rows.shape != (len(self._layout.keys), WIDTH):
            raise ValueError("saved private state is of another module")
        restored = rows.astype(np.float32)
        if not np.isfinite(restored).all():
            raise ValueError("saved private state has values that are not finite")
        self._before = restored

    # --- one step ---------------------------------------------------------------------------------

    def _group_rows(self, model: ModelView) -> Floats:
        rows: Floats = model.rows(PARAMETERS, self._layout.keys)
        return rows

    def _start(self, rows: Floats) -> Floats:
        momentum = self._settings.outer_momentum
        if not momentum or self._before is None or not self._ahead:
            return rows
        ahead: Floats = rows + np.float32(momentum) * (rows - self._before)
        return ahead

    def _batches(self, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        order = rng.permutation(self._split.train)
        size = self._settings.batch_size
        return [order[at : at + size] for at in range(0, len(order), size)]

    def _train(self, rng: np.random.Generator) -> float:
        """Some epochs; the mean loss in the first."""
        torch, settings = _torch(), self._settings
        self._module.train()
        optimizer = torch.optim.SGD(
            self._layout.trainable,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        first = 0.0
        for epoch in range(settings.local_epochs):
            for batch in self._batches(rng):
                optimizer.zero_grad()
                loss = self._batch_loss(batch)
                loss.backward()
                optimizer.step()
                if not epoch:
                    first += float(loss.detach()) * len(batch)
        return first / len(self._split.train)

    def _batch_loss(self, batch: NDArray[np.intp]) -> Tensor:
        outputs = self._module(self._inputs[batch])
        return self._model.losses(outputs, self._targets[batch]).mean()

    def _evidence(self, rng: np.random.Generator) -> Floats:
        """float32[rows]"""
        examples = np.full(len(self._layout.keys), float(len(self._split.train)))
        if self._precision == "fisher":
            examples *= FISHER_FLOOR + self._fisher(rng) / FISHER_UNIT
        evidence: Floats = np.clip(np.ceil(examples), 1, MAX_EVIDENCE).astype(np.float32)
        return evidence

    def _fisher(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """float64[rows]: the mean square of an example's gradient, as far as batches show it."""
        batches = self._batches(rng)
        total = np.zeros(len(self._layout.keys))
        for batch in batches:
            self._module.zero_grad()
            self._batch_loss(batch).backward()
            total += len(batch) * self._layout.mean_square_gradients()
        self._module.zero_grad()
        return total / len(batches)

    # --- held-out examples ------------------------------------------------------------------------

    def _outputs(self, model: ModelView, rows: NDArray[np.intp]) -> list[tuple[Tensor, Tensor]]:
        module = self.filled(model)
        with _torch().no_grad():
            return [
                (module(self._inputs[part]), self._targets[part])
                for part in np.array_split(rows, math.ceil(len(rows) / EVALUATION_BATCH))
            ]


def split_rows(
    count: int, validation_fraction: float = 0.1, test_fraction: float = 0.1, seed: int = 0
) -> Split:
    """A random split of examples that are known by their position only."""
    order = np.random.default_rng(seed).permutation(count)
    tests = int(count * test_fraction + 0.5)
    validations = min(int(count * validation_fraction + 0.5), max(0, count - tests - 1))
    return Split(
        train=np.sort(order[tests + validations :]),
        validation=np.sort(order[tests : tests + validations]),
        test=np.sort(order[:tests]),
    )


# --- the module as rows ---------------------------------------------------------------------------


class _Layout:
    """A module made under a seed, and how its trainable tensors lie in rows."""

    def __init__(self, model: TorchModel, seed: int) -> None:
        torch = _torch()
        with _GENERATOR, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = model.make()
        _check_module(model.name, self.module)
        named = [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]
        if not named:
            raise UsageError(f"model {model.name}: it has no number to train")
        self.trainable = [p for _, p in named]
        self._first = [p.detach().clone() for p in self.trainable]
        self._rows = [math.ceil(p.numel() / WIDTH) for p in self.trainable]
        self.keys: Keys = np.arange(sum(self._rows), dtype=np.uint64)
        self.count = sum(p.numel() for p in self.trainable)
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

    def fill(self, rows: Floats) -> None:
        """Put first values + rows into the module."""
        torch = _torch()
        at = 0
        with torch.no_grad():
            for parameter, first, count in zip(
                self.trainable, self._first, self._rows, strict=True
            ):
                flat = rows[at : at + count].reshape(-1)[: parameter.numel()]
                change = torch.from_numpy(np.array(flat)).view(parameter.shape)
                parameter.copy_(first + change.to(first.dtype))
                at += count

    def read(self) -> Floats:
        """float32[rows, WIDTH]: what the module has now, less the first values."""
        pairs = zip(self.trainable, self._first, strict=True)
        return self._to_rows([(p.detach() - first) for p, first in pairs])

    def mean_square_gradients(self) -> NDArray[np.float64]:
        """float64[rows]"""
        torch = _torch()
        squares = [
            torch.zeros_like(p) if p.grad is None else p.grad.detach() ** 2 for p in self.trainable
        ]
        filled = self._to_rows([torch.ones_like(p) for p in self.trainable]).sum(axis=1)
        means: NDArray[np.float64] = self._to_rows(squares).sum(axis=1, dtype=np.float64) / filled
        return means

    def _to_rows(self, tensors: list[Tensor]) -> Floats:
        rows = np.zeros((len(self.keys), WIDTH), dtype=np.float32)
        at = 0
        for tensor, count in zip(tensors, self._rows, strict=True):
            rows[at : at + count].reshape(-1)[: tensor.numel()] = tensor.float().reshape(-1).numpy()
            at += count
        return rows

    def _digest_of_first_values(self) -> str:
        state = hashlib.sha256()
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        for name, tensor in named:
            state.update(f"\n{name} {tensor.dtype} ".encode())
            state.update(tensor.detach().contiguous().reshape(-1).numpy().tobytes())
        return state.hexdigest()[:32]


def _check_module(name: str, module: Module) -> None:
    """UsageError when a module cannot be learned by exchanging its parameters."""
    torch = _torch()
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


def _shapes(charter: Charter) -> list[list[Any]]:
    pieces = [n for n in charter.hyperparameters if n.startswith("tensors_")]
    try:
        shapes = json.loads("".join(str(charter.hyperparameters[n]) for n in sorted(pieces)))
    except (ValueError, RecursionError):
        return []
    if not isinstance(shapes, list) or not all(isinstance(s, list) and s for s in shapes):
        return []
    return shapes


def _shape_difference(here: list[list[Any]], there: list[list[Any]]) -> str:
    for n in range(max(len(here), len(there))):
        mine = _shown(here[n]) if n < len(here) else "nothing more"
        theirs = _shown(there[n]) if n < len(there) else "nothing more"
        if mine != theirs:
            return f"tensor {n + 1} is {theirs}; here it is {mine}"
    return "its shapes differ from those here"


def _shown(shape: list[Any]) -> str:
    return f"{str(shape[0])!r:.60} of {'x'.join(f'{size!s:.12}' for size in shape[1:9]) or '1'}"


def _torch() -> Any:
    """PyTorch, imported at its first use; UsageError when it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f'PyTorch cannot be imported ({error}); pip install "openfl-node[torch]"'
        ) from None
    return torch
