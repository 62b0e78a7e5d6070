"""The tool decorator: the same method as in `decorated.py`, within a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import own
from benchmarks.contenders.contract import Contender, Opened, Place


def _open(place: Place, _inherited: Any) -> Opened:
    own.set_up(place)

    from Agent.flight import record_tool, recorder

    class Traced:
        @record_tool
        def act(self, topic: str, budget: int) -> dict[str, Any]:
            return {"topic": topic, "spent": budget, "ok": True}

    recorder.start_run("benchmark")
    return own.opened(place, lambda: Traced().act)


def _grown(directory: Path) -> list[Path]:
    runs = directory.glob("trace/session_*/runs/*/events.jsonl")
    return [*runs, *directory.glob("trace/events/events.log*")]


CONTENDERS = {
    "@record_tool": Contender(
        packages=(),
        how="setup_logging with its defaults but the sizes, in a run: arguments and result, redaction, call "
        "site, span path, board, mirror, durability kernel",
        open=_open,
        grown=_grown,
        tail_events=100_000,
        rotates=False,
    ),
}
