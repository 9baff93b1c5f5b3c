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

On the processor a step depends on nothing but the data, the model and `rng`; `device` says what it
does not depend on elsewhere (`openfl.learning.torch.device`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import (
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Evaluation,
    Floats,
    ModelView,
    RowBlock,
)
from openfl.core.errors import DataError, GroupError, LearningError, UsageError
from openfl.learning.held_out import NONE, evaluation
from openfl.learning.own_losses import OwnLosses
from openfl.learning.splitting import Split, evenly, split_rows
from openfl.learning.task import Counterfactuals
from openfl.learning.torch.charter import PARAMETERS, torch_charter, torch_problem
from openfl.learning.torch.device import chosen_device, seeded
from openfl.learning.torch.fisher import mixes_examples, of_batches, of_examples
from openfl.learning.torch.layout import WIDTH, Layout
from openfl.learning.torch.library import Module, Tensor, torch_library
from openfl.learning.torch.model import TorchModel, TorchSettings

FISHER_UNIT = 1e-3
FISHER_FLOOR = 0.1
"""Fisher information counts in these units, and never less than the floor: a row that is of no use
here must not be given away to whoever happens to have touched it."""
EVALUATION_BATCH = 1024
MAX_OWN = 4_096
"""Most own examples that groups are compared by: more do not change a verdict."""
MAX_JUDGED = 512
MAX_PASSES = 16_384
"""Most examples that members are judged by, and most that pass through the module to judge all of
them: as many as train it in a round or two where examples are hundreds."""
MAX_RESIDENT_BYTES = 1 << 30
"""Examples of a node that together take no more are kept on its device; others go there batch by
batch."""
MAX_LOSS = 1e30
"""What a loss counts as that is beyond it, or no number: a member whose numbers blow the module up
is to be told from one that changes nothing."""


class TorchTask:
    """A module on one node's private examples (a `LearningTask`)."""

    metric_power = 1.0
    """See `openfl.learning.own_losses.JudgesByOwn`: the metric is a mean of losses."""

    def __init__(
        self,
        charter: Charter,
        model: TorchModel,
        inputs: Tensor,
        targets: Tensor,
        split: Split,
        settings: TorchSettings,
    ) -> None:
        torch = torch_library()
        self._charter = charter
        self._model = model
        self._settings = settings
        self._split = split
        self._layout = Layout(model, charter.seed)
        self._module = self._layout.module
        self._device = chosen_device(settings.device, model.name, self._module)
        self._layout.move(self._device)
        self._inputs, self._targets = torch.as_tensor(inputs), torch.as_tensor(targets)
        if _bytes(self._inputs) + _bytes(self._targets) <= MAX_RESIDENT_BYTES:
            self._inputs, self._targets = self._moved(self._inputs), self._moved(self._targets)
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
        """See `LearningTask`."""
        return self._charter

    @property
    def train_examples(self) -> int:
        """See `LearningTask`."""
        return len(self._split.train)

    @property
    def device(self) -> Any:
        """The `torch.device` that it trains on."""
        return self._device

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
        rows = self._group_rows(model)
        self._layout.fill(self._start(rows))
        self._before = rows
        with seeded(int(rng.integers(1 << 62)), self._device):
            loss = float(self._train(rng))
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
        return evaluation(self._model.metric, self.held_out_losses(model, split))

    def held_out_losses(self, model: ModelView, split: str = "validation") -> NDArray[np.float64]:
        """See `openfl.learning.comparison.PairedTask`: the model's loss of each example."""
        self.filled(model)
        return self._losses(self._split.positions(split))

    def own_losses(self, model: ModelView) -> OwnLosses:
        """See `openfl.learning.own_losses.JudgesByOwn`: the model's loss of (at most `MAX_OWN`,
        spread evenly) validation examples.

        Not of training examples: what this node taught is in the others' parameters also when its
        own are withdrawn, for they were trained from a common model. Examples have no owners and
        are taken as drawn independently: each is a person of its own, with all losses that the
        model tells of it, which makes a clustered standard error the plain one.
        """
        return self._own_losses(model, evenly(self._split.validation, MAX_OWN))

    def taught_losses(self, model: ModelView, most: int) -> OwnLosses:
        """See `openfl.learning.group_comparison.TaughtTask`."""
        both = np.concatenate((self._split.validation, self._split.train))
        return self._own_losses(model, evenly(both, most))

    def _own_losses(self, model: ModelView, known: NDArray[np.intp]) -> OwnLosses:
        if not len(known):
            return OwnLosses(np.zeros(0), np.zeros(0, dtype=np.int64))
        self.filled(model)
        losses = _bounded(self._losses(known))
        return OwnLosses(losses, np.repeat(np.arange(len(known)), len(losses) // len(known)))

    def fold(self, number: int, folds: int) -> TorchTask:
        """See `openfl.learning.alone.FoldsOwn`."""
        split = self._split.fold(number, folds)
        return TorchTask.from_charter(
            self._charter, self._model, self._inputs, self._targets, split, self._settings
        )

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float64]]:
        """See `openfl.learning.task.InfluenceJudge`: the model's loss of some of the training
        examples, by filling the module with the numbers of one counterfactual after another."""
        parts = list(parts)
        worlds = sum(part.count for part in parts)
        most = min(MAX_JUDGED, max(1, MAX_PASSES // max(1, worlds)))
        judged = evenly(self._split.train, most)
        rows = self._group_rows(model)
        self.filled(model)
        before = _bounded(self._losses(judged))
        for part in parts:
            found = part.changed(PARAMETERS, self._layout.keys)
            changes = np.zeros((len(before), part.count))
            edges = np.searchsorted(found.counterfactual, np.arange(part.count + 1))
            for world in range(part.count):
                mine = slice(edges[world], edges[world + 1])
                if mine.start == mine.stop:
                    continue
                there = rows.copy()
                there[found.row[mine]] += found.change[mine]
                self._layout.fill(there)
                changes[:, world] = _bounded(self._losses(judged)) - before
            self._layout.fill(rows)
            yield changes

    def accuracy(self, model: ModelView, split: str = "test") -> float:
        """The part of held-out examples whose highest output is the target; NaN without any."""
        held_out = self._split.positions(split)
        if not len(held_out):
            return math.nan
        self.filled(model)
        parts = self._outputs(held_out)
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

    def _train(self, rng: np.random.Generator) -> Tensor:
        """Some epochs; the mean loss in the first, a tensor of one number on the device."""
        torch, settings = torch_library(), self._settings
        self._module.train()
        optimizer = torch.optim.SGD(
            self._layout.trainable,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        # Added up where they are made: asking an accelerator for each would wait for each.
        first = torch.zeros((), dtype=torch.float32, device=self._device)
        for epoch in range(settings.local_epochs):
            for batch in self._batches(rng):
                optimizer.zero_grad()
                loss = self._batch_loss(batch)
                loss.backward()
                optimizer.step()
                if not epoch:
                    first += loss.detach() * len(batch)
        return first / len(self._split.train)

    def _batch_loss(self, batch: NDArray[np.intp]) -> Tensor:
        inputs, targets = self._examples(batch)
        return self._model.losses(self._module(inputs), targets).mean()

    def _examples(self, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these examples, where the module is."""
        return self._moved(self._inputs[rows]), self._moved(self._targets[rows])

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)

    def _evidence(self, rng: np.random.Generator) -> Floats:
        """float32[rows]: how many examples stand behind each row."""
        examples = np.full(len(self._layout.keys), float(len(self._split.train)))
        if self._precision == "fisher":
            examples *= FISHER_FLOOR + self._fisher(rng) / FISHER_UNIT
        evidence: Floats = np.clip(np.ceil(examples), 1, MAX_EVIDENCE).astype(np.float32)
        return evidence

    def _fisher(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """float64[rows]: the mean square of an example's gradient (see `torch.fisher`)."""
        batches = self._batches(rng)
        module, losses = self._module, self._model.losses
        if self._settings.fisher == "examples" and not mixes_examples(module):
            rows = np.concatenate(batches)
            return self._layout.means(of_examples(module, losses, self._examples, rows)) / len(rows)
        total = of_batches(module, losses, self._examples, batches)
        return self._layout.means(total) / len(batches)

    # --- examples under the numbers that the module holds -----------------------------------------

    def _losses(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """float64[n]: of the examples `rows`, one after the other."""
        losses = [self._model.losses(o, t) for o, t in self._outputs(rows)]
        # MPS has no float64: they are widened on the processor.
        return np.concatenate([x.cpu().double().numpy().ravel() for x in losses] or [NONE])

    def _outputs(self, rows: NDArray[np.intp]) -> Iterator[tuple[Tensor, Tensor]]:
        with torch_library().no_grad():
            for start in range(0, len(rows), EVALUATION_BATCH):
                inputs, targets = self._examples(rows[start : start + EVALUATION_BATCH])
                yield self._module(inputs), targets


def _bytes(tensor: Tensor) -> int:
    return int(tensor.numel() * tensor.element_size())


def _bounded(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Within +-`MAX_LOSS`; what is no number is as bad as can be."""
    return np.nan_to_num(np.clip(losses, -MAX_LOSS, MAX_LOSS), nan=MAX_LOSS)
