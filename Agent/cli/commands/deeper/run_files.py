"""`runs --export` and `runs --import`: a run as a file, and back; `Agent.archive` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from Agent.cli.output import render

if TYPE_CHECKING:
    from Agent.flight.runs.reading import RunRef

__all__ = ["export_file", "import_file"]


def export_file(ref: RunRef, target: str, *, as_json: bool) -> None:
    """Write a run into a new file, and say what went along."""
    from Agent.archive.run_export import export_run

    done = export_run(ref, target)
    if as_json:
        render.emit_json(done.to_dict())
        return
    what = "run" if len(done.runs) == 1 else f"run with {render.plural(len(done.runs) - 1, 'run')} in it"
    if ref.run_id is None:
        what = f"session with {render.plural(len(done.runs), 'run')}"
    render.emit(
        f"{done.path}: the {what}, {render.plural(done.events, 'event')}, {render.size(done.size_bytes)}"
    )
    render.note("it contains inputs and outputs of the run; share it only with people who may see them")


def import_file(source: str, root: Path, *, as_json: bool) -> None:
    """Take in a run, and say under which name it is found."""
    from Agent.archive.run_import import import_run

    done = import_run(source, root)
    if as_json:
        render.emit_json(done.to_dict())
        return
    session = done.session.name.removeprefix("session_")
    render.emit(f"{render.plural(done.events, 'event')} imported as session {session}")
    for run_id in done.runs:
        render.emit(f"  run {run_id}")
    render.note(f"agent-trace runs {done.run_id or session} shows it")
