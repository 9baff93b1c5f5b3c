"""`openfl-node predict`: the labels of rows of numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.app.offline import PredictedFile

NAME = "predict"
HELP = "the label of each row of a file (task.kind = classification)"
DESCRIPTION = """\
Predict the class of every row of a CSV file with the model that this node last saved (a running
node saves its model as it learns; it need not be stopped). The file has the columns that
the group learns from, in any order. When it also has the label, how often the model was right is
printed on stderr."""
EXAMPLES = """\
  openfl-node predict --data new.csv
  openfl-node predict --data new.csv --json | jq -r '.rows[].label'
  openfl-node predict --data test.csv --model flowers.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="FILE", type=Path, required=True, help="the rows to label, a CSV file"
    )
    options.add_model(parser)
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import lazy_imports

    lazy_imports.set_up()
    from openfl.app import offline

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home)
    found = offline.predict_saved(config, home, arguments.data, arguments.model)
    if arguments.json:
        options.print_json(as_json(found))
        return exit_codes.SUCCESS
    from openfl_cli.text import clean, count_of

    width = max(len("label"), *(len(clean(name, 40)) for name in found.predictions.classes))
    print(f"{'row':>5}  {'label':{width}}  probability")
    rows = zip(found.predictions.labels, found.predictions.probability, strict=True)
    for number, (label, probability) in enumerate(rows, start=1):
        print(f"{number:5}  {clean(label, 40):{width}}  {probability:11.4f}")
    if found.accuracy is not None:
        options.note(
            f"{count_of(found.labelled, 'row')} with a label: {100 * found.accuracy:.1f} % right,"
            f" log loss {found.log_loss:.4f}"
        )
    return exit_codes.SUCCESS


def as_json(found: PredictedFile) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    true = found.true
    return {
        "group": {"id": found.group_id, "name": found.group},
        "classes": list(found.predictions.classes),
        "accuracy": found.accuracy,
        "log_loss": found.log_loss,
        "rows": [
            {
                "row": n + 1,
                "label": label,
                "probability": float(found.predictions.probability[n]),
                "true": None if true is None or not true[n] else true[n],
            }
            for n, label in enumerate(found.predictions.labels)
        ],
    }
