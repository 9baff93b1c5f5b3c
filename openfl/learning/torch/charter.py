"""The charter of a group that learns a PyTorch module, and who fits into it."""

from __future__ import annotations

import json
from typing import Any, Literal

from openfl.core.contribution import Charter, Encoding, Hyperparameter, TableSchema
from openfl.learning.torch.layout import WIDTH, Layout
from openfl.learning.torch.model import TorchModel

TASK_KIND = "torch"
PARAMETERS = "parameters"

Precision = Literal["count", "fisher"]


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
    layout = Layout(model, seed)
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
