"""The ways to record that are measured, by name; how each of them is set up stands in the module named.

Nothing of a peer is imported before `load` is called, in the process that measures it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from benchmarks.contenders.contract import Contender

_MODULES = {
    "own": ("Agent Trace", "floor"),
    "structured": (
        "structlog, one file",
        "structlog, a file each",
        "structlog, rotating",
        "eliot",
    ),
    "handlers": (
        "stdlib logging",
        "concurrent-log-handler",
        "loguru",
        "loguru, enqueued",
    ),
    "spans": ("OpenTelemetry span", "OpenTelemetry span, batched"),
    "decorated": (
        "@trace_agent_action",
        "@eliot.log_call",
        "OpenTelemetry span around",
        "OpenTelemetry span around, batched",
        "@logfire.instrument",
        "@reeltime.tool",
        "undecorated",
    ),
    "tools": ("@record_tool",),
}
DECORATED = (*_MODULES["decorated"], *_MODULES["tools"])
NAMES = tuple(name for names in _MODULES.values() for name in names)


def load(name: str) -> Contender:
    """The contender of that name."""
    for module, names in _MODULES.items():
        if name in names:
            contender: Contender = import_module(f"benchmarks.contenders.{module}").CONTENDERS[name]
            return contender
    raise LookupError(name)


def missing(name: str) -> str:
    """The packages of a contender that are not installed, in words; "" if all are."""
    absent = [package for package in load(name).packages if not _version(package)]
    return f"{', '.join(absent)} not installed" if absent else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
