"""Packages that this Python cannot have: a test that fails for want of one is skipped, and says so.

Only where the environment names them: ``PERSISTABLE_TESTS_WITHOUT="pandas scikit-learn:sklearn"``, a package and its module, as
`tests/newer_python` does. Everywhere else a missing package is a failure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

MODULES = {module for named in os.environ.get("PERSISTABLE_TESTS_WITHOUT", "").split() for module in named.split(":")}
_MISSED = re.compile(r"No module named '([\w.]+)'|needs ([\w-]+), which is not installed|([\w.]+) is not installed")


def _said(report: Any) -> None:
    """Make a failure for want of one of `MODULES` a skip."""
    if not (MODULES and report.failed):
        return
    missed = {(found[1] or found[2] or found[3]).partition(".")[0] for found in _MISSED.finditer(str(report.longrepr))} & MODULES
    if missed:
        report.outcome = "skipped"
        report.longrepr = (str(report.nodeid).partition("::")[0], 0, f"Skipped: this Python has no {', '.join(sorted(missed))}")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _said(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    _said(report)
    return report
