"""What a round of a model of millions of numbers costs, part by part, and its bytes.

    python benchmarks/large_models.py [--model numbers] [--device cpu] [--rounds 5] [--threads 1]

Models: `numbers`, 11.2 million made-up ones that take a random step a round (needs no PyTorch);
`digits`, the small network of examples/digits_torch.py on images of its size; `transformer`, an
encoder of 9.0 million numbers on sequences of 64 words; `resnet`, ResNet-18 with GroupNorm, 11.2
million numbers, on images of 32 x 32. The examples are made up.

A member trains, weighs (`fisher`), chooses rows, quantizes, encodes, signs, decodes and merges what
it is going to publish; then another member, whose deltas are merged the same way, takes its place.
Each line is the median of all rounds but the first, in seconds; the first, in which every row is
new, has a column of its own. `--row-fraction 1` sends every row each round.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from openfl.aggregation.quantize import quantize, split
from openfl.aggregation.replica import MergeKind, Replica, ReplicaLimits
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Charter, Contribution, RowBlock, TableSchema
from openfl.core.model_view import DenseModel
from openfl.group.publisher import DELTA_HEADROOM_BYTES
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
from openfl.wire import messages as wire

WIDTH = 64
NUMBERS = 11_176_970
"""As many as the ResNet-18 below has."""
AGGREGATION = ("choose rows", "quantize", "encode", "merge")


class Clock:
    """Seconds of the parts of each round, by `now`."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.rounds: list[dict[str, float]] = []
        self.now = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = self.now()
        try:
            yield
        finally:
            self.rounds[-1][name] += self.now() - began

    def next_round(self) -> None:
        self.rounds.append(defaultdict(float))


class MadeUp:
    """Proposals without a module: every number takes a small random step a round."""

    def __init__(self, encoding: Any) -> None:
        rows = -(-NUMBERS // WIDTH)
        self._keys = np.arange(rows, dtype=np.uint64)
        self._values = np.zeros((rows, WIDTH), dtype=np.float32)
        table = TableSchema(
            "parameters", WIDTH, (0.0,) * WIDTH, (0.0,) * WIDTH, (0.0,) * WIDTH, encoding, 32
        )
        self.charter = Charter("large", "made-up", (table,))

    def step(self, model: DenseModel, rng: np.random.Generator, clock: Clock) -> Contribution:
        scale = np.float32(0.01) * rng.random((len(self._keys), 1), dtype=np.float32)
        self._values += scale * rng.standard_normal(self._values.shape, dtype=np.float32)
        evidence = np.ceil(1000 * rng.random(len(self._keys), dtype=np.float32))
        evidence = np.maximum(evidence, np.float32(1))
        block = RowBlock(
            "parameters", self._keys, self._values.copy(), evidence, np.ones(WIDTH, np.float32)
        )
        return Contribution((block,))


class Trained:
    """A module on made-up examples; training and weighing are timed apart."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        import torch

        from openfl import TorchModel, TorchSettings, TorchTask, torch_charter

        torch.set_num_threads(options.threads)
        generator = torch.Generator().manual_seed(options.seed)
        if name == "transformer":
            inputs = torch.randint(256, (options.examples, 64), generator=generator)
            targets = torch.randint(10, (options.examples,), generator=generator)
        else:
            shape = (1, 8, 8) if name == "digits" else (3, 32, 32)
            inputs = torch.rand((options.examples, *shape), generator=generator)
            targets = torch.randint(10, (options.examples,), generator=generator)
        model = TorchModel(name, _networks()[name])
        self.charter = torch_charter("large", model, encoding=options.encoding)
        settings = TorchSettings(local_epochs=1, device=options.device)
        self._task = TorchTask.from_charter(self.charter, model, inputs, targets, settings=settings)
        self._torch = torch
        device = self._task.device
        print(
            f"PyTorch {torch.__version__} on {device}, {options.threads} threads,"
            f" {self._task.train_examples} examples to train on"
        )

    def step(self, model: DenseModel, rng: np.random.Generator, clock: Clock) -> Contribution:
        weigh: Callable[..., Any] = self._task._fisher

        def timed(*args: Any) -> Any:
            self._wait()
            with clock.part("fisher"):
                return weigh(*args)

        self._task._fisher = timed  # type: ignore[method-assign]
        began, whole = clock.now(), clock.rounds[-1]
        before = whole["fisher"]
        try:
            contribution = self._task.local_step(model, rng)
        finally:
            self._task._fisher = weigh  # type: ignore[method-assign]
        whole["train"] += clock.now() - began - (whole["fisher"] - before)
        return contribution

    def _wait(self) -> None:
        if self._task.device.type == "cuda":
            self._torch.cuda.synchronize()
        elif self._task.device.type == "mps":
            self._torch.mps.synchronize()


def _networks() -> dict[str, Callable[[], Any]]:
    from torch import Tensor, nn
    from torch.nn import functional

    def digits() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(256, 384)
            self.places = nn.Parameter(0.02 * _normal(64, 384))
            layer = nn.TransformerEncoderLayer(384, 6, 1152, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
            self.head = nn.Linear(384, 10)

        def forward(self, words: Tensor) -> Tensor:
            inner = self.layers(self.words(words) + self.places)
            outputs: Tensor = self.head(inner.mean(dim=1))
            return outputs

    class Residual(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            self.first_norm = nn.GroupNorm(32, outside)
            self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.second_norm = nn.GroupNorm(32, outside)
            self.past: nn.Module = nn.Identity()
            if stride != 1 or inside != outside:
                self.past = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.GroupNorm(32, outside)
                )

        def forward(self, x: Tensor) -> Tensor:
            inner = functional.relu(self.first_norm(self.first(x)))
            return functional.relu(self.second_norm(self.second(inner)) + self.past(x))

    def resnet() -> nn.Module:
        widths = (64, 128, 256, 512)
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 3, padding=1, bias=False),
            nn.GroupNorm(32, 64),
            nn.ReLU(),
        ]
        inside = 64
        for width in widths:
            stride = 1 if width == 64 else 2
            layers += [Residual(inside, width, stride), Residual(width, width, 1)]
            inside = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 10))

    return {"digits": digits, "transformer": Encoder, "resnet": resnet}


def _normal(*shape: int) -> Any:
    import torch

    return torch.randn(*shape)


class Member:
    """Publishes what it proposes into a replica, and times the parts. `sent`: bytes of the last
    round; `deltas`: in how many messages."""

    def __init__(self, row_fraction: float) -> None:
        self._selector = RowSelector(row_fraction)
        self._sealer = Libp2pSealer(generate_identity())
        self._seqno = 0
        self.sent = self.deltas = 0

    def publish(
        self,
        replica: Replica,
        contribution: Contribution,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        charter = replica.charter
        self.sent = self.deltas = 0
        with clock.part("choose rows"):
            chosen = self._selector.select(contribution)
        with clock.part("quantize"):
            blocks = tuple(quantize(b, charter.table(b.table), rng) for b in chosen.blocks)
            parts = list(split(blocks, wire.LIMITS.max_delta_bytes - DELTA_HEADROOM_BYTES))
        for part in parts:
            self._seqno += 1
            delta = wire.Delta(charter.group_id, 1, self._seqno, 1, 1, None, part)
            with clock.part("encode"):
                body = wire.encode_delta(delta)
            with clock.part("sign"):
                envelope = self._sealer.seal(wire.DELTA_TYPE, body)
            with clock.part("verify"):
                author, body = self._sealer.open(wire.DELTA_TYPE, envelope)
            with clock.part("decode"):
                delta = wire.decode_delta(body)
            with clock.part("merge"):
                result = replica.merge(author, delta, envelope, 0.0)
            if result.kind is not MergeKind.MERGED:
                raise SystemExit(f"not merged: {result.detail}")
            self.sent += len(envelope)
            self.deltas += 1
        with clock.part("choose rows"):
            self._selector.record(blocks)


def model_digest(replica: Replica) -> str:
    """Of the sums' outcome: equal for equal rounds, whatever version worked them out."""
    whole = hashlib.sha256()
    for name in sorted(replica.view().tables):
        table = replica.view().tables[name]
        for array in (table.keys, table.rows, table.evidence):
            whole.update(np.ascontiguousarray(array))
    return whole.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--model", choices=("numbers", "digits", "transformer", "resnet"), default="numbers"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="cpu")
    parser.add_argument("--encoding", choices=("int8", "int4", "float16"), default="float16")
    parser.add_argument("--examples", type=int, default=1250, help="a fifth are held out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; NumPy has one here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processor-time", action="store_true", help="of this thread: beside other work"
    )
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2, for the first is not like the others")

    made = (
        MadeUp(options.encoding) if options.model == "numbers" else Trained(options.model, options)
    )
    rng = np.random.default_rng(options.seed)
    replica = Replica(made.charter, ReplicaLimits(max_bytes=1 << 40))
    members = [Member(options.row_fraction) for _ in range(2)]
    clock = Clock(time.thread_time if options.processor_time else time.perf_counter)
    sent, deltas = [], []
    for _ in range(options.rounds):
        clock.next_round()
        with clock.part("model"):
            model = replica.view()
        for n, member in enumerate(members):
            own = clock if not n else Clock()  # the other one is company, not measured
            if n:
                own.next_round()
            member.publish(replica, made.step(model, rng, own), rng, own)
        sent.append(members[0].sent / 1e6)
        deltas.append(members[0].deltas)

    numbers = replica.model_rows * WIDTH
    print(f"{options.model}: {replica.model_rows} rows of {WIDTH}, as {options.encoding}")
    print(f"sent: {np.median(sent[1:]):.2f} MB in {np.median(deltas[1:]):.0f} deltas a round")
    print(f"first round: {sent[0]:.2f} MB in {deltas[0]} deltas; {numbers / 1e6:.1f} M numbers")
    print(f"{'':<36}{'first':>8}{'round':>8}  seconds")
    names = ("train", "fisher", *AGGREGATION, "sign", "verify", "decode", "model")
    for name in names:
        if any(name in seconds for seconds in clock.rounds):
            _line(name, [seconds[name] for seconds in clock.rounds])
    _line(" + ".join(AGGREGATION), [sum(s[n] for n in AGGREGATION) for s in clock.rounds])
    print(f"model {model_digest(replica)}")


def _line(name: str, seconds: list[float]) -> None:
    print(f"{name:<36}{seconds[0]:>8.3f}{np.median(seconds[1:]):>8.3f}")


if __name__ == "__main__":
    main()
