"""`runs`: list the recorded runs, or show one: steps, tool and model calls, artifacts, checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

import click
from click.shell_completion import CompletionItem

from Agent.analysis.report.run_details import COLUMNS, STATE_STYLES, cost
from Agent.cli import parameters, render
from Agent.cli.commands.analyze import indented
from Agent.cli.parameters import Root, SomeLimit, command, misuse
from Agent.errors import InputError
from Agent.flight.run_fold import RunSummary
from Agent.flight.run_reading import RunRecord, RunRef, find_run, list_runs, read_run
from Agent.render import formats, layout
from Agent.render.blocks import Column
from Agent.tree.default_root import default_root
from Agent.tree.files.session import as_tree, lineage_of
from Agent.tree.layout import is_encrypted, readable_sessions, recorded_at, session_id_of

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import Removed


def export_file(ref: RunRef, target: Path) -> None:
    """Write a run to a new file, and report what it contains."""
    from Agent.archive.run_export import export_run

    done = export_run(ref, target)
    render.document(done.to_dict)
    subject = "run" if len(done.runs) == 1 else f"run with {formats.plural(len(done.runs) - 1, 'run')} in it"
    if ref.run_id is None:
        subject = f"session with {formats.plural(len(done.runs), 'run')}"
    render.emit(
        f"{done.path}: the {subject}, {formats.plural(done.events, 'event')}, {formats.size(done.size_bytes)}"
    )
    render.note("it contains inputs and outputs of the run; share it only with people who may see them")


def import_file(source: str, root: Path) -> None:
    """Import a run, and print the names under which it is found."""
    from Agent.archive.run_import import import_run

    done = import_run(source, root)
    render.document(done.to_dict)
    session = session_id_of(done.session)
    render.emit(f"{formats.plural(done.events, 'event')} imported as session {session}")
    for run_id in done.runs:
        render.emit(f"  run {run_id}")
    render.note(f"agent-trace runs {done.run_id or session} shows it")


_LISTED = 20
_SHOWN_ROWS = 8
_SHOWN_LABEL_CHARS = 40


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of the newest 50 runs, and sessions."""
    root = Path(ctx.params.get("root") or default_root())
    summaries = [each.run_id for each in islice(list_runs(root), 50)]
    runs = [CompletionItem(run_id) for run_id in summaries if run_id.startswith(incomplete)]
    return runs + parameters.complete_runs(ctx, param, incomplete)


class RunSections(TypedDict):
    """What `runs RUN` lists.

    Args:
        steps: Every step of RUN.
        tool_calls: Every tool call of RUN.
        model_calls: Every model call of RUN: tokens, cost, time.
        artifacts: Every artifact of RUN.
        checkpoints: Every checkpoint of RUN.
    """

    steps: bool
    tool_calls: Annotated[bool, "--tools"]
    model_calls: Annotated[bool, "--models"]
    artifacts: bool
    checkpoints: bool


@command()
def runs(
    run: Annotated[str | None, "[RUN]", {"shell_complete": _complete}],
    metrics: bool,
    artifact: Annotated[str | None, "--artifact REF"],
    target: Annotated[Path | None, "--export FILE", parameters.OUTPUT],
    source: Annotated[str | None, "--import FILE"],
    limit: SomeLimit,
    root: Root,
    **parts: Unpack[RunSections],
) -> None:
    """List the recorded runs, newest first, or show one.

    RUN is a run's id or a unique prefix, a session (its root run: everything outside of runs),
    SESSION/agent_id, or last (the newest session). A run that was never finished and whose process is gone is
    crashed; its open steps are named. A forked or resumed run is listed under its origin.

    Args:
        metrics: Statistics of checkpoints, replays and forks of all runs.
        artifact: Print one artifact, checked against its digest.
        target: Write RUN, and its nested runs, to a new file.
        source: Import a run that was exported elsewhere.
        limit: How many to list; default 20.

    Examples:
        agent-trace runs
        agent-trace runs 01a1f918
        agent-trace runs 01a1f918 --steps
        agent-trace runs 01a1f918 --models
        agent-trace runs 01a1f918 --artifact steps/plan.json
        agent-trace runs 01a1f918 --export run.zip
        agent-trace runs --import run.zip
    """
    flags = {name.replace("_calls", "s"): wanted for name, wanted in parts.items()}
    parameters.exclusive(artifact=artifact, export=target, **flags)
    part = next((name for name, wanted in parts.items() if wanted), None)
    if metrics:
        if any(given is not None for given in (run, part, artifact, target, source, limit)):
            raise misuse("--metrics covers all runs, and takes no other option")
        _metrics(root)
    elif source is not None:
        if any(given is not None for given in (run, part, artifact, target)):
            raise misuse("--import takes only the file")
        import_file(source, root)
    elif run is not None:
        _show_run(run, root, part, artifact, target)
    elif part is not None or artifact is not None or target is not None:
        raise misuse("steps, artifacts and exports need a RUN")
    else:
        _list(root, limit)


def _show_run(run: str, root: Path, part: str | None, artifact: str | None, target: Path | None) -> None:
    """Show a run, one part of it or one artifact, or export it to a file."""
    if target is not None:
        export_file(find_run(run, root), target)
        return
    record = read_run(find_run(run, root))
    if artifact is not None:
        _print_artifact(record, artifact)
        return
    if part is None:
        render.document(lambda: _as_data(record))
        _show(record)
        return
    rows: Any = record.checkpoints() if part == "checkpoints" else getattr(record, part)
    render.document(lambda: [asdict(row) for row in rows])
    if rows:
        render.table(rows, *COLUMNS[part])
        _note_sums(record, part, rows)
    else:
        render.note(_NONE[part])
    if record.children and not rows:
        render.note(f"it has {formats.plural(len(record.children), 'run')}: {_children(record)}")


def _children(record: RunRecord) -> str:
    """The first two nested runs of a run, and the number of the others."""
    more = len(record.children) - 2
    return ", ".join(record.children[:2]) + (f" and {more} more" if more > 0 else "")


def _list(root: Path, limit: int | None) -> None:
    count = limit or _LISTED
    summaries = list(islice(list_runs(root), count + 1))
    locked = sum(is_encrypted(ref.path) for ref in readable_sessions(root))
    if locked:
        is_are = "is" if locked == 1 else "are"
        render.note(
            f"{formats.plural(locked, 'session')} {is_are} encrypted; with the key, which is in the file "
            "that AGENT_TRACE_ENCRYPTION_KEY_FILE names, their runs are listed, too"
        )
    rows, more = summaries[:count], len(summaries) > count
    render.document(lambda: {"root": str(root), "runs": [_row(each) for each in rows], "more": more})
    if not rows:
        render.note(f"no run was recorded in {root} yet; `agent-trace runs last` shows a session's root run")
        return
    tree = as_tree((each.run_id, (_origin(each) or {}).get("run")) for each in rows)
    by_id = {each.run_id: each for each in rows}
    depths = dict(tree)
    render.table(
        [by_id[name] for name, _ in tree],
        Column("RUN", lambda run: indented(run.run_id, depths[run.run_id])),
        Column("STARTED (UTC)", "started_at", formats.date_time, whole=True),
        Column("DURATION", "duration_s", formats.seconds, spare=1),
        Column("STATE", "state", looks=STATE_STYLES),
        Column("STEPS", "steps", formats.count, spare=2),
        Column("MODEL", "model_calls", formats.count, spare=4),
        Column("AGENT", "agent"),
        Column("LABELS", _labels, spare=3),
    )
    if more:
        render.note(f"the newest {count}; -n shows more")


def _row(summary: RunSummary) -> dict[str, Any]:
    return {**asdict(summary), "session": str(recorded_at(summary.session)), "origin": _origin(summary)}


def _origin(summary: RunSummary) -> dict[str, Any] | None:
    """The origin of a forked or resumed run; None for an original."""
    lineage = lineage_of(summary.session)
    from Agent.analysis.questions.listing import origin_of

    return None if lineage is None or lineage.run_id != summary.run_id else origin_of(lineage)


def _as_data(record: RunRecord) -> dict[str, Any]:
    parts = ("steps", "model_calls", "tool_calls", "artifacts")
    rows = {name: [asdict(row) for row in getattr(record, name)] for name in parts}
    return {"run": _row(record.summary), **rows, "children": list(record.children)}


def _show(record: RunRecord) -> None:
    run = record.summary
    title = "Root run of session" if run.state == "root" else "Run"
    shown = run.session_id if run.state == "root" else run.run_id
    render.emit(f"{render.paint(f'{title} {shown}', bold=True)}  {_state(run)}")
    tokens = f"{formats.count(run.prompt_tokens)} + {formats.count(run.completion_tokens)} tokens"
    paid = "".join(f", {cost(sum_, currency)}" for currency, sum_ in run.costs.items())
    checkpoint_count = len(record.checkpoints())
    render.pairs(
        [
            ("agent", run.agent),
            ("labels", _labels(run, uncut=True)),
            ("session", run.session_id),
            ("started", run.started_at and formats.date_time(run.started_at)),
            ("parent run", run.parent_run_id),
            ("duration", None if run.state == "root" else run.duration_s and formats.seconds(run.duration_s)),
            ("error", run.error),
            ("open steps", ", ".join(run.open_steps[:_SHOWN_ROWS])),
            ("model calls", run.model_calls and f"{run.model_calls:,} ({tokens}{paid}), --models"),
            ("tool calls", run.tool_calls and f"{run.tool_calls:,}, --tools"),
            ("checkpoints", checkpoint_count and f"{checkpoint_count:,}, --checkpoints"),
            ("nested runs", _children(record)),
        ]
    )
    if run.started_at is None and run.state == "root":
        hint = "nothing is recorded in it; Agent.flight.recorder records steps, calls and artifacts"
        if record.children:
            hint = f"it has no steps itself; agent-trace runs {record.children[-1]} shows that run"
        render.emit(f"  {hint}")
    if record.steps:
        render.heading("Steps", _of(record.steps, "--steps"))
        render.table(record.steps[:_SHOWN_ROWS], *COLUMNS["steps"])
    if record.artifacts:
        render.heading("Artifacts", _of(record.artifacts, "--artifacts"))
        render.table(record.artifacts[:_SHOWN_ROWS], *COLUMNS["artifacts"])
        _note_directory(record)


def _of(rows: tuple[Any, ...], option: str) -> str:
    return f"{_SHOWN_ROWS} of {formats.count(len(rows))}, {option} for all" if len(rows) > _SHOWN_ROWS else ""


def _note_directory(record: RunRecord) -> None:
    """Print where the artifacts of a run are."""
    first = record.artifacts[0]
    render.note(f"in {record.path_of(first.ref).parents[first.path.count('/')]}")


def _print_artifact(record: RunRecord, name: str) -> None:
    artifact = next((each for each in record.artifacts if name in {each.path, each.ref}), None)
    if artifact is None:
        raise InputError(
            f"no artifact {name!r}",
            path=record.ref.session,
            remedy=f"`agent-trace runs {record.summary.run_id} --artifacts` lists what there is",
        )
    for _ in record.read(artifact.ref):
        pass  # reads everything, so that nothing is printed before all chunks are verified
    if sys.stdout.isatty():  # joined: a character may be split between two chunks
        render.emit_bytes(b"".join(record.read(artifact.ref)).removesuffix(b"\n") + b"\n")
        return
    for chunk in record.read(artifact.ref):
        if not render.emit_bytes(chunk):
            return


def _state(run: RunSummary) -> str:
    return render.painted(run.state, STATE_STYLES.get(run.state, ""))


def _labels(run: RunSummary, *, uncut: bool = False) -> str:
    text = " ".join(f"{key}={value}" for key, value in run.labels.items())
    return text if uncut else layout.clip(render.clean(text), _SHOWN_LABEL_CHARS)


def _metrics(root: Path) -> None:
    """Print statistics of checkpoints, replays and forks, each with its counts."""
    from Agent.replay.diff.run_comparison import replay_metrics

    metrics = replay_metrics(root)
    render.document(lambda: {"root": str(root), **metrics.to_dict()})
    latency = "-" if metrics.latency_ms is None else f"{metrics.latency_ms:,.1f} ms, median"
    render.pairs(
        [
            ("checkpoint success", _rate(metrics.checkpointed_runs, metrics.runs, "run")),
            ("checkpoint storage", formats.size(metrics.storage_bytes)),
            ("replay success", _rate(metrics.completed_replays, metrics.replays, "replay")),
            ("replay latency", latency),
            ("divergence", _rate(metrics.diverged_forks, metrics.forks, "fork")),
        ]
    )
    for problem in metrics.unread:
        render.note(problem)


def _rate(count: int, of: int, noun: str) -> str:
    return "-" if not of else f"{count / of:.0%}, {formats.count(count)} of {formats.plural(of, noun)}"


def _note_sums(record: RunRecord, kind: str, rows: Sequence[Any]) -> None:
    """Print the totals of one part of a run."""
    if kind == "artifacts":
        _note_directory(record)
    elif kind == "model_calls":
        run = record.summary
        sums = [f"{formats.count(run.prompt_tokens)} + {formats.count(run.completion_tokens)} tokens"]
        sums += [cost(paid, currency) for currency, paid in run.costs.items()]
        unpriced = sum(each.cost is None and each.answered_by is None for each in rows)
        sums += [f"{unpriced} of unknown cost (set_prices sets prices)"] if unpriced else []
        render.note("together " + ", ".join(sums))
    elif kind == "checkpoints":
        state_bytes, stored = sum(each.state_bytes for each in rows), sum(each.size_bytes for each in rows)
        number = formats.plural(len(rows), "checkpoint")
        render.note(f"{number}: {formats.size(state_bytes)} of state in {formats.size(stored)}")


_NONE = {
    "steps": "no steps in this run; recorder.step records them",
    "artifacts": "no artifacts in this run; recorder.save_artifact keeps them",
    "tool_calls": "no tool calls in this run; @record_tool records them",
    "model_calls": "no model calls in this run; recorder.record_model_call and recorded_model record them",
    "checkpoints": "no checkpoints in this run; recorder.run(checkpoints=CheckpointPolicy(...)) saves them",
}

_DAY_S = 86_400


def prune_runs(
    root: Path,
    older_than_s: float | None,
    failed_older_than_s: float | None,
    keep_last: int | None,
    *,
    dry_run: bool,
) -> None:
    """Remove checkpoints by policy; those of failed runs are kept longer."""
    from Agent.archive.prune import prune_checkpoints
    from Agent.flight.checkpoints.model import RetentionPolicy

    ages_s = {"keep_days": older_than_s, "keep_failed_days": failed_older_than_s}
    days: Any = {name: age_s / _DAY_S for name, age_s in ages_s.items() if age_s is not None}
    policy = replace(RetentionPolicy(keep_last=keep_last), **days)
    verb = "would be removed" if dry_run else "removed"

    def tell(session_id: str, removed: Removed) -> None:
        render.emit(f"{session_id}: {_counts_text(removed)} {verb}")

    done = prune_checkpoints(root, policy, dry_run=dry_run, on_session=tell)
    render.document(lambda: {"root": str(root), "dry_run": dry_run, **asdict(done)})
    freed = "" if dry_run else f", {formats.size(max(done.size_bytes, 0))} freed"
    render.emit(f"{_counts_text(done)} {verb}{freed}")
    if done.waiting:
        render.note(
            f"{done.waiting} more will be removed once the process that writes to their run has ended"
        )
    if done.damaged:
        render.note(f"{done.damaged} of the remaining ones cannot be loaded")


def _counts_text(removed: Removed) -> str:
    runs = f", {formats.plural(removed.runs, 'run')} whole" if removed.runs else ""
    return formats.plural(removed.checkpoints, "checkpoint") + runs
