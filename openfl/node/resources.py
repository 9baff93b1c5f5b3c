"""What a running node holds of its machine: memory, files, threads, tasks, connections, streams."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]
import trio

from openfl.core.telemetry import ResourcesView
from openfl.network.base import NetworkStatistics


def resources_now(statistics: NetworkStatistics) -> ResourcesView:
    """Asked of the system and of trio: some 50 microseconds. To be called in trio."""
    process = psutil.Process()
    with process.oneshot():
        return ResourcesView(
            memory_bytes=process.memory_info().rss,
            open_files=process.num_fds(),
            threads=process.num_threads(),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            connections=statistics.connections,
            streams=statistics.streams,
        )
