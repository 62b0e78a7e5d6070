"""A pytest plugin that writes down how each case of a peer's suite ended, and whether our part was called in it."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import pytest

# Shared with processes that a case forks.
_calls = mmap.mmap(-1, 1)


def called() -> None:
    """Say that our part is at work in the case that runs."""
    _calls[0] = 1


class _Case:
    def __init__(self) -> None:
        self.outcome = "passed"
        self.message = ""


_cases: dict[str, _Case] = {}


def _text_of(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longrepr)[-2000:]


def pytest_runtest_logstart(nodeid: str) -> None:
    """A case begins."""
    _calls[0] = 0
    _cases[nodeid] = _Case()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A step of a case ended; after the last one the case is written down."""
    case = _cases[report.nodeid]
    if report.failed:
        case.outcome = "failed"
        case.message = case.message or _text_of(report)
    elif report.skipped and case.outcome == "passed":
        # An expected failure of the suite's own has no reason of being skipped.
        case.outcome = "skipped"
        case.message = _text_of(report) if report.longrepr else str(getattr(report, "wasxfail", ""))
    if report.when == "teardown":
        line = {
            "case": report.nodeid,
            "outcome": case.outcome,
            "ours": bool(_calls[0]),
            "message": case.message[:4000],
        }
        with Path(os.environ["PEER_OUTCOMES"]).open("a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file of the suite that cannot be collected is a failure, too."""
    if report.failed:
        line = {
            "case": report.nodeid,
            "outcome": "failed",
            "ours": False,
            "message": str(report.longrepr)[-4000:],
        }
        with Path(os.environ["PEER_OUTCOMES"]).open("a") as file:
            file.write(json.dumps(line) + "\n")
