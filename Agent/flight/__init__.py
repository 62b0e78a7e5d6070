"""Runs: what a recorded task was made of, and the states that it went through. Names only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.flight.run_recorder import Recorder, recorder
    from Agent.flight.runs import RunRecord, RunSummary, find_run, list_runs, read_run

__all__ = ["find_run", "list_runs", "read_run", "Recorder", "recorder", "RunRecord", "RunSummary"]

_HOMES = {
    "find_run": "runs",
    "list_runs": "runs",
    "read_run": "runs",
    "Recorder": "run_recorder",
    "recorder": "run_recorder",
    "RunRecord": "runs",
    "RunSummary": "runs",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
