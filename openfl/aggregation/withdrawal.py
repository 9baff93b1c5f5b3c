"""What a member's influence is measured at: the model with the judge's own register partly out.

A model that holds what the judge taught fits the judge's own training examples too well. With its
register out it fits them too badly, where few others hold a row: these have learned their part of
the row beside the judge's, and what they carry is what the judge's part had left over. The judge
then takes them for harmful, the more the more they hold. (24 people of MovieLens 100K, a person a
node, after 18 rounds: loss on training examples 0.63 with the register in, 1.12 with it out; on
held-out ones 1.05 and 1.05.) So of each row as much is withdrawn as others hold of its evidence:
nearly all in a row of many, half in a row of two (there: 1.01).

Where members train from a common model instead (`openfl.learning.group_comparison.TaughtTask`),
what the judge taught stays in their registers: then the whole of its own goes out.
"""

from __future__ import annotations

import numpy as np

from openfl.core.model_view import DenseModel, DenseTable


def partly_without(without: DenseModel, full: DenseModel) -> DenseModel:
    """The rows of `without`, the model without one member, moved towards those of `full`, the model
    with it, by the member's part of the evidence of each row."""
    tables = {}
    for name, table in without.tables.items():
        whole = full.evidence(name, table.keys)
        kept = 1 - np.divide(table.evidence, whole, out=np.ones_like(whole), where=whole > 0)
        np.clip(kept, 0.0, 1.0, out=kept)
        rows = table.rows + kept[:, None] * (full.rows(name, table.keys) - table.rows)
        tables[name] = DenseTable(table.keys, rows.astype(np.float32), table.evidence)
    return DenseModel(without.charter, tables)
