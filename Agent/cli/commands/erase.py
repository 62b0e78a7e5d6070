"""`erase`: an agent, a run or a value out of a trace root, with the proof; `Agent.archive` does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from Agent.cli import parameters, render

if TYPE_CHECKING:
    from Agent.archive.erase.erasing import Erasure, Proof
    from Agent.archive.erase.target import Target

_SHOWN = 20
_FORMS = {
    "literal": "as it is",
    "JSON": "escaped for JSON",
    "URL": "quoted for a URL",
    "base64": "inside base64",
}


@click.command(
    epilog=parameters.examples(
        "agent-trace erase --agent creator_001 --dry-run",
        "agent-trace erase --match jane.doe@example.com",
        "agent-trace erase --run 01a1f918 --yes",
        "agent-trace erase",
    )
)
@click.option("--agent", metavar="ID", help="Everything that an agent recorded, and the runs started for it.")
@click.option("--run", metavar="ID", help="A run, its nested runs, and the session's events in them.")
@click.option(
    "--match", metavar="VALUE", help="Everything that contains this text, in any form used in a file."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", "-n", is_flag=True, help="Show what would be erased, without erasing it.")
@parameters.common_options
def erase(
    agent: str | None,
    run: str | None,
    match: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    root: Path,
) -> int:
    """Erase an agent, a run or a value, with proof.

    Removes whole events, artifacts and checkpoints from the logs, the mirrors, the archive and every cache
    under the trace root, then searches every byte for the erased data. Erased events count as retired, so the
    session stays sound. After a kill, the next erase continues; without an option, erase does only that. Exit
    code 1: something is left.
    """
    from Agent.archive.erase.erasing import erase as erase_from
    from Agent.archive.erase.erasing import pending

    target = _target(root, agent, run, match)
    if not dry_run and not yes:
        _ask(target or pending(root), root)
    from Agent.cli.progress import bar

    with bar("erasing") as show:
        done = erase_from(root, target, dry_run=dry_run, progress=lambda _step, part: show(part))
    if as_json:
        render.emit_json({"root": str(root), **done.to_dict()})
    else:
        _show(done)
    return 1 if done.proof is not None and not done.proof.clean else 0


def _target(root: Path, agent: str | None, run: str | None, match: str | None) -> Target | None:
    """What is named; None where nothing is."""
    from Agent.archive.erase.erasing import pending, target_of
    from Agent.errors import RunNotFound, UsageError

    if agent is run is match is None:
        return None
    target = target_of(agent=agent, run=run, match=match)
    before = pending(root)
    if run is None or (before is not None and (before.kind, before.value) == ("run", run)):
        return target
    from Agent.flight.run_reading import find_run

    ref = find_run(run, root)
    if ref.agent_id is not None:
        raise RunNotFound(f"{run!r} is an agent, not a run", path=root, remedy="use --agent")
    if ref.run_id is None:
        raise UsageError(
            f"{run!r} is a session, not a run",
            path=ref.session,
            remedy="remove its directory, or let agent-trace prune do so",
        )
    return target_of(run=ref.run_id)


def _ask(target: Target | None, root: Path) -> None:
    """Go on only if somebody says so."""
    from Agent.errors import UsageError

    if target is None:
        return  # there is nothing to erase, which is said in a moment
    if not sys.stdin.isatty():
        raise UsageError(
            "erase asks for confirmation, and there is no terminal", remedy="give --yes, or try --dry-run"
        )
    named = {"match": "everything that contains"}.get(target.kind, f"the {target.kind}")
    click.confirm(f"Erase {named} {target.value!r} from {root}? It cannot be undone.", abort=True, err=True)


def _show(done: Erasure) -> None:
    if done.resumed:
        render.note("finished an interrupted erasure; what it had erased before is not counted")
    verb = "would be erased" if done.dry_run else "erased"
    for session in done.sessions[:_SHOWN]:
        parts = [
            render.plural(number, noun)
            for number, noun in (
                (session.events, "event"),
                (session.artifacts, "artifact"),
                (session.checkpoints, "checkpoint"),
                (session.replays, "replay"),
                (session.runs, "run"),
                (session.damaged_lines, "damaged line"),
            )
            if number
        ]
        render.emit(f"{session.session_id}: {', '.join(parts) or 'the description'} {verb}")
    if len(done.sessions) > _SHOWN:
        render.emit(f"and {render.plural(len(done.sessions) - _SHOWN, 'more session')}")
    if done.mirror_lines:
        render.emit(f"mirrors: {render.plural(done.mirror_lines, 'line')} {verb}")
    if not done.sessions and not done.mirror_lines:
        render.emit("nothing like that is recorded here")
    if done.proof is not None:
        _show_proof(done.proof)


def _show_proof(proof: Proof) -> None:
    looked_for = ", ".join(text for form, text in _FORMS.items() if form in proof.forms)
    searched = (
        f"{render.plural(proof.files, 'file')} of {render.size(proof.size_bytes)} searched "
        f"({looked_for}), {proof.unpacked_files:,} of them unpacked"
    )
    if proof.clean:
        render.emit(f"proven: {searched}, nothing found")
    else:
        render.emit(render.paint(f"NOT ERASED: {searched}", fg="red"))
        for left in proof.left[:_SHOWN]:
            render.emit(f"  {render.clean(left.file)}: {left.form}")
        if len(proof.left) > _SHOWN:
            render.emit(f"  and {render.plural(len(proof.left) - _SHOWN, 'more file')}")
    if "base64" not in proof.forms:
        render.note("it is too short to be searched inside base64")
    for kind, number in proof.not_looked_into.items():
        render.note(f"{render.plural(number, 'file')} of kind {kind} searched as raw bytes, not decoded")
