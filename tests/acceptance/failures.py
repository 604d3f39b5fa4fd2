"""Failure reports that show what the processes said."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.acceptance.programs import Program


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For the conftest files: adds the last lines of every started program's log."""
    report = yield
    if report.failed:
        report.sections.extend(Program.log_tails())
    return report
