from __future__ import annotations

import sys
from pathlib import Path

# importmode=importlib puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
