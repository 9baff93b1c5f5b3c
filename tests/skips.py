"""In CI nothing is skipped: with CI=true a test that skips itself has failed.

A kind of test that needs a program, a package or a right which is missing would otherwise go
untested for long, and all would be green.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

MAY_SKIP: dict[str, str] = {}
"""The exceptions: beginning of a test's id -> why it need not run in CI."""


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1", "yes")


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    # What is expected to fail (xfail) is reported as skipped, too.
    if not report.skipped or hasattr(report, "wasxfail") or not _in_ci():
        return
    if any(report.nodeid.startswith(beginning) for beginning in MAY_SKIP):
        return
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {why}\nIn CI nothing may be skipped: see tests/skips.py."


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    _judge(report)
    return report
