from __future__ import annotations

import sys
from pathlib import Path

# The rig is shared with other folders of tests; importmode=importlib puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from network_rig import rig

__all__ = ["rig"]
