"""Coverage-guided fuzzing of what strangers can reach without a network: docs/security.md.

`decoder`: every function that reads bytes from the network. `session`: a `GroupSession` fed with
events, true, false and damaged. Each has `check(data)`, which returns for any bytes or fails, and
`seeds()`, the inputs to begin with. `python -m fuzz` runs them under atheris; the test suite
replays the corpus without it.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
