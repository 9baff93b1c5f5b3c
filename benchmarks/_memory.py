"""How much memory a fit takes, for `fit_beside.py` and what it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path


def resident_peak_mb(reset: bool = False) -> float:
    """Peak resident memory of this process, since the last reset if the system can do that."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")
