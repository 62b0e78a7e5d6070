"""`seal`: finished sessions into Parquet; what it does is `Agent.archive`'s."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli.options import parameters
from Agent.cli.output import render

__all__ = ["seal"]


@click.command(
    epilog=parameters.examples(
        "agent-trace seal", "agent-trace seal --all --remove", "agent-trace seal 20261120_103045 --json"
    )
)
@click.argument("session", required=False, shell_complete=parameters.complete_sessions)
@click.option("--all", "every", is_flag=True, help="Every session of the trace root.")
@click.option(
    "--remove",
    is_flag=True,
    help="Remove the JSON lines of sealed segments, once the copy has been read back byte by byte.",
)
@click.option("--restore", is_flag=True, help="Undo: restore the JSON lines exactly.")
@parameters.json_option
@parameters.root_option
def seal(session: str | None, every: bool, remove: bool, restore: bool, as_json: bool, root: Path) -> int:
    """Convert finished segments to Parquet.

    Takes a tenth of the space, and queries are faster with the same answers. Segments that a running process
    still writes, and those already sealed, are left alone. SESSION is an id, a unique prefix of one, a path,
    or last (the default).
    """
    from Agent.tree.layout import find_session, list_sessions

    context = click.get_current_context()
    if every and session is not None:
        raise click.UsageError("give SESSION or --all", context)
    if remove and restore:
        raise click.UsageError("give --remove or --restore", context)
    paths = [ref.path for ref in list_sessions(root)] if every else [find_session(root, session or "last")]
    answers = [_restore(path, as_json) if restore else _seal(path, remove, as_json) for path in paths]
    if as_json:
        render.emit_json(answers if every else answers[0])
    elif not paths:
        render.note("no session here yet")
    return 0


def _seal(path: Path, remove: bool, as_json: bool) -> dict[str, object]:
    from Agent.archive.sealed.sealing import seal as seal_session
    from Agent.cli.output.progress import bar

    name = path.name.removeprefix("session_")
    with bar(f"sealing {name}") as show:
        done = seal_session(path, remove, progress=lambda ready, total: show(ready / max(total, 1)))
    if as_json:
        return done.to_dict()
    if done.segments:
        ratio = done.json_bytes / max(done.parquet_bytes, 1)
        render.emit(
            f"{name}: {render.plural(done.segments, 'file')}, {render.plural(done.events, 'event')} sealed, "
            f"{render.size(done.json_bytes)} in {render.size(done.parquet_bytes)} (1/{ratio:.1f})"
        )
    elif done.already:
        render.emit(f"{name}: already sealed, {render.plural(done.already, 'file')}")
    else:
        render.emit(f"{name}: nothing to seal")
    if done.removed:
        render.emit(
            f"{name}: {render.plural(done.removed, 'JSON file')} removed, {render.size(done.removed_bytes)}"
        )
    if done.damaged:
        render.note(f"{render.plural(done.damaged, 'damaged line')} kept unchanged")
    if done.waiting:
        file, why = next(iter(done.waiting.items()))
        render.note(f"{render.plural(len(done.waiting), 'file')} skipped: {file}: {why}")
    return {}


def _restore(path: Path, as_json: bool) -> dict[str, object]:
    from Agent.archive.sealed.sealed_lines import unseal

    written = unseal(path)
    names = [file.relative_to(path).as_posix() for file in written]
    if not as_json:
        render.emit(f"{path.name.removeprefix('session_')}: {render.plural(len(names), 'file')} restored")
    return {"session": str(path), "restored": names}
