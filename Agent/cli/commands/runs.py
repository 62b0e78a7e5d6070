"""`runs`: the recorded runs, or one of them: its steps, calls of tools and models, and checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from Agent.cli import parameters, render
from Agent.cli.commands.analyze import indented
from Agent.cli.event_lines import origin_of
from Agent.tree.default_root import default_root
from Agent.tree.files.session import as_tree, lineage_of
from Agent.tree.layout import session_id_of

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import CheckpointInfo, Removed
    from Agent.flight.run_fold import ModelCall, RunSummary, Step, ToolCall
    from Agent.flight.run_reading import RunRecord, RunRef


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
    session = session_id_of(done.session)
    render.emit(f"{render.plural(done.events, 'event')} imported as session {session}")
    for run_id in done.runs:
        render.emit(f"  run {run_id}")
    render.note(f"agent-trace runs {done.run_id or session} shows it")


STATE_STYLES: dict[str, dict[str, Any]] = {
    "running": {"fg": "green"},
    "crashed": {"fg": "red"},
    "failure": {"fg": "red"},
    "error": {"fg": "red"},
    "open": {"fg": "yellow"},
}
_LISTED = 20
_SHOWN_ROWS = 8
_SHOWN_LABEL_CHARS = 40


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the newest runs, and the sessions."""
    from Agent.flight.run_reading import list_runs

    root = Path(ctx.params.get("root") or default_root())
    found = [each.run_id for each in islice(list_runs(root), 50)]
    runs = [CompletionItem(run_id) for run_id in found if run_id.startswith(incomplete)]
    return runs + parameters.complete_runs(ctx, param, incomplete)


@parameters.command(
    "agent-trace runs",
    "agent-trace runs 01a1f918",
    "agent-trace runs 01a1f918 --steps",
    "agent-trace runs 01a1f918 --models",
    "agent-trace runs 01a1f918 --artifact steps/plan.json",
    "agent-trace runs 01a1f918 --export run.zip",
    "agent-trace runs --import run.zip",
)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=_complete)
@click.option("--steps", "what", flag_value="steps", help="Every step of RUN.")
@click.option("--tools", "what", flag_value="tool_calls", help="Every tool call of RUN.")
@click.option(
    "--models", "what", flag_value="model_calls", help="Every model call of RUN: tokens, cost, time."
)
@click.option("--artifacts", "what", flag_value="artifacts", help="Every artifact of RUN.")
@click.option("--checkpoints", "what", flag_value="checkpoints", help="Every checkpoint of RUN.")
@click.option("--metrics", is_flag=True, help="Statistics of checkpoints, replays and forks of all runs.")
@click.option("--artifact", metavar="REF", help="Print one artifact, checked against its digest.")
@click.option("--export", "target", metavar="FILE", help="Write RUN, and its nested runs, to a new file.")
@click.option("--import", "source", metavar="FILE", help="Import a run that was exported elsewhere.")
@parameters.limit_option(f"How many to list; default {_LISTED}.")
@parameters.common_options
def runs(
    run: str | None,
    what: str | None,
    metrics: bool,
    artifact: str | None,
    target: str | None,
    source: str | None,
    limit: int | None,
    as_json: bool,
    root: Path,
) -> None:
    """List the recorded runs, newest first, or show one.

    RUN is a run's id or a unique prefix, a session (its root run: everything outside of runs),
    SESSION/agent_id, or last (the newest session). A run that was never finished and whose process is gone is
    crashed; its open steps are named. A forked or resumed run is listed under its origin.
    """
    context = click.get_current_context()
    if metrics:
        alone = (run, what, artifact, target, source, limit)
        _metrics(root, context, as_json=as_json, is_alone=set(alone) == {None})
        return
    if source is not None:
        if any(given is not None for given in (run, what, artifact, target)):
            raise click.UsageError("--import takes only the file", context)
        import_file(source, root, as_json=as_json)
        return
    if run is None:
        if what is not None or artifact is not None or target is not None:
            raise click.UsageError("steps, artifacts and exports need a RUN", context)
        _list(root, limit, as_json=as_json)
        return
    from Agent.flight.run_reading import find_run, read_run

    if target is not None:
        export_file(find_run(run, root), target, as_json=as_json)
        return
    record = read_run(find_run(run, root))
    if artifact is not None:
        _print_artifact(record, artifact)
    elif what == "checkpoints":
        _checkpoints(record, as_json=as_json)
    elif as_json:
        render.emit_json(_as_data(record) if what is None else [asdict(row) for row in getattr(record, what)])
    elif what == "steps":
        _steps(record.steps)
    elif what == "tool_calls":
        tools(record.tool_calls)
    elif what == "model_calls":
        models(record.model_calls, record.summary)
    elif what == "artifacts":
        _artifacts(record)
    else:
        _show(record)
    _point_at_children(record, what, as_json=as_json)


def _point_at_children(record: RunRecord, what: str | None, *, as_json: bool) -> None:
    """Where a run itself has none of what was asked for, name the runs in it."""
    if what is None or as_json:
        return
    rows = record.checkpoints() if what == "checkpoints" else getattr(record, what)
    if record.children and not rows:
        more = len(record.children) - 2
        named = ", ".join(record.children[:2]) + (f" and {more} more" if more > 0 else "")
        render.note(f"it has {render.plural(len(record.children), 'run')}: {named}")


def _list(root: Path, limit: int | None, *, as_json: bool) -> None:
    from Agent.flight.run_reading import list_runs

    count = limit or _LISTED
    found = list(islice(list_runs(root), count + 1))
    rows, more = found[:count], len(found) > count
    if as_json:
        render.emit_json({"root": str(root), "runs": [_row(each) for each in rows], "more": more})
        return
    if not rows:
        render.note(f"no run was recorded in {root} yet; `agent-trace runs last` shows a session's root run")
        return
    tree = as_tree((each.run_id, (_origin(each) or {}).get("run")) for each in rows)
    by_id = {each.run_id: each for each in rows}
    render.table(
        ("RUN", "STARTED (UTC)", "DURATION", "STATE", "STEPS", "MODEL", "AGENT", "LABELS"),
        [
            (
                indented(each.run_id, depth),
                render.clock(each.started_at, date=True),
                "-" if each.duration_s is None else render.duration(each.duration_s),
                each.state,
                render.count(each.steps),
                render.count(each.model_calls),
                each.agent or "-",
                _labels(each),
            )
            for each, depth in ((by_id[name], depth) for name, depth in tree)
        ],
        right=("DURATION", "STEPS", "MODEL"),
        styles={"STATE": STATE_STYLES},
    )
    if more:
        render.note(f"the newest {count}; -n shows more")


def _row(summary: RunSummary) -> dict[str, Any]:
    return {**asdict(summary), "session": str(summary.session), "origin": _origin(summary)}


def _origin(summary: RunSummary) -> dict[str, Any] | None:
    """What a forked or resumed run comes from; None for an original."""
    lineage = lineage_of(summary.session)
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
    facts = [("agent", run.agent), ("labels", _labels(run, whole=True) or None), ("session", run.session_id)]
    facts += [("started", run.started_at and render.clock(run.started_at, date=True))]
    facts += [("parent run", run.parent_run_id)]
    if run.duration_s is not None and run.state != "root":
        facts.append(("duration", render.duration(run.duration_s)))
    if run.error is not None:
        facts.append(("error", str(run.error)))
    if run.open_steps:
        facts.append(("open steps", ", ".join(run.open_steps[:_SHOWN_ROWS])))
    if run.model_calls:
        tokens = f"{render.count(run.prompt_tokens)} + {render.count(run.completion_tokens)} tokens"
        paid = "".join(f", {cost(sum_, currency)}" for currency, sum_ in run.costs.items())
        facts.append(("model calls", f"{render.count(run.model_calls)} ({tokens}{paid}), --models"))
    if run.tool_calls:
        facts.append(("tool calls", f"{render.count(run.tool_calls)}, --tools"))
    kept = len(record.checkpoints())
    if kept:
        facts.append(("checkpoints", f"{render.count(kept)}, --checkpoints"))
    if record.children:
        more = len(record.children) - 2
        facts.append(
            ("nested runs", ", ".join(record.children[:2]) + (f" and {more} more" if more > 0 else ""))
        )
    render.pairs((name, value) for name, value in facts if value is not None)
    if run.started_at is None and run.state == "root":
        if record.children:
            render.emit(
                f"  it has no steps of its own; agent-trace runs {record.children[-1]} shows that run"
            )
        else:
            render.emit(
                "  nothing is recorded in it; Agent.flight.recorder records steps, calls and artifacts"
            )
    if record.steps:
        render.heading("Steps", _of(record.steps, "--steps"))
        _steps(record.steps[:_SHOWN_ROWS])
    if record.artifacts:
        render.heading("Artifacts", _of(record.artifacts, "--artifacts"))
        _artifacts(record, _SHOWN_ROWS)


def _checkpoints(record: RunRecord, *, as_json: bool) -> None:
    found = record.checkpoints()
    if as_json:
        render.emit_json([asdict(row) for row in found])
    else:
        show(found)


def _of(rows: tuple[Any, ...], option: str) -> str:
    return f"{_SHOWN_ROWS} of {render.count(len(rows))}, {option} for all" if len(rows) > _SHOWN_ROWS else ""


def _steps(steps: tuple[Step, ...]) -> None:
    render.table(
        ("STEP", "NAME", "STATE", "DURATION", "OUTPUT"),
        [
            (
                step.step_id,
                step.name or "-",
                step.state,
                "-" if step.duration_ms is None else render.duration(step.duration_ms / 1000),
                _short(step.output_ref) if step.error is None else f"{step.error}",
            )
            for step in steps
        ],
        right=("DURATION",),
        styles={"STATE": STATE_STYLES},
    )


def _artifacts(record: RunRecord, limit: int | None = None) -> None:
    render.table(
        ("ARTIFACT", "SIZE", "TYPE", "STEP"),
        [
            (
                each.path,
                "-" if each.size_bytes is None else render.size(each.size_bytes),
                each.media_type or "-",
                each.step_id or "",
            )
            for each in record.artifacts[:limit]
        ],
        right=("SIZE",),
    )
    if record.artifacts:
        first = record.artifacts[0]
        render.note(f"in {record.path_of(first.ref).parents[first.path.count('/')]}")


def _print_artifact(record: RunRecord, wanted: str) -> None:
    from Agent.errors import InputError

    found = next((each for each in record.artifacts if wanted in {each.path, each.ref}), None)
    if found is None:
        raise InputError(
            f"no artifact {wanted!r}",
            path=record.ref.session,
            remedy=f"`agent-trace runs {record.summary.run_id} --artifacts` lists what there is",
        )
    for _ in record.read(found.ref):
        pass  # nothing is shown before all of it is known to be what was saved
    if sys.stdout.isatty():  # whole: a character may begin in one chunk and end in the next
        render.emit_bytes(b"".join(record.read(found.ref)).removesuffix(b"\n") + b"\n")
        return
    for chunk in record.read(found.ref):
        render.emit_bytes(chunk)


def _short(ref: str | None) -> str:
    return "-" if ref is None else ref.removeprefix("artifact://artifacts/")


def _state(run: RunSummary) -> str:
    return render.paint(run.state, **STATE_STYLES.get(run.state, {}))


def _labels(run: RunSummary, *, whole: bool = False) -> str:
    text = " ".join(f"{key}={value}" for key, value in run.labels.items())
    return text if whole else render.clip(render.clean(text), _SHOWN_LABEL_CHARS)


def _metrics(root: Path, context: click.Context, *, as_json: bool, is_alone: bool) -> None:
    """How checkpoints, replays and forks do: rates with the counts that they are made of."""
    if not is_alone:
        raise click.UsageError("--metrics covers all runs, and takes no other option", context)
    from Agent.replay.diff.metrics import replay_metrics

    found = replay_metrics(root)
    if as_json:
        render.emit_json({"root": str(root), **found.to_dict()})
        return
    render.pairs(
        [
            ("checkpoint success", _rate(found.checkpointed_runs, found.runs, "run")),
            ("checkpoint storage", render.size(found.storage_bytes)),
            ("replay success", _rate(found.completed_replays, found.replays, "replay")),
            ("replay latency", "-" if found.latency_ms is None else f"{found.latency_ms:,.1f} ms, median"),
            ("divergence", _rate(found.diverged_forks, found.forks, "fork")),
        ]
    )
    for problem in found.unread:
        render.note(problem)


def _rate(count: int, of: int, noun: str) -> str:
    return "-" if not of else f"{count / of:.0%}, {render.count(count)} of {render.plural(of, noun)}"


_STATES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red"},
    "cancelled": {"fg": "yellow"},
    "closed": {"fg": "yellow"},
    "recorded": {"fg": "cyan"},
}
"""`closed` is a stream that nobody read to its end, `recorded` an answer that a replay gave."""


def tools(calls: Sequence[ToolCall]) -> None:
    """A row for each call of a tool, in recorded order."""
    if not calls:
        render.note("no tool calls in this run; @record_tool records them")
        return
    render.table(
        ("TIME (UTC)", "TOOL", "KIND", "STATE", "DURATION", "CALLED IN", "WITHIN"),
        [
            (
                render.clock(each.timestamp),
                each.name,
                each.kind or "-",
                _call_state(each.outcome, each.answered_by),
                _duration(each.duration_ms),
                each.site or "-",
                " > ".join(each.path) or "-" if each.error is None else str(each.error),
            )
            for each in calls
        ],
        right=("DURATION",),
        styles={"STATE": _STATES},
    )


def models(calls: Sequence[ModelCall], run: RunSummary) -> None:
    """A row for each call of a model, and their sum."""
    if not calls:
        render.note("no model calls in this run; recorder.record_model_call and recorded_model record them")
        return
    render.table(
        ("TIME (UTC)", "MODEL", "STATE", "IN", "OUT", "COST", "FIRST", "DURATION", "WITHIN"),
        [
            (
                render.clock(each.timestamp),
                each.model_name or "-",
                _call_state(each.outcome, each.answered_by),
                _count(each.prompt_tokens),
                _count(each.completion_tokens),
                "-" if each.cost is None else cost(each.cost, each.currency),
                _duration(each.first_chunk_ms),
                _duration(each.latency_ms),
                " > ".join(each.path) or each.step_id or "-",
            )
            for each in calls
        ],
        right=("IN", "OUT", "COST", "FIRST", "DURATION"),
        styles={"STATE": _STATES},
    )
    sums = [f"{render.count(run.prompt_tokens)} + {render.count(run.completion_tokens)} tokens"]
    sums += [cost(paid, currency) for currency, paid in run.costs.items()]
    unpriced = sum(each.cost is None and each.answered_by is None for each in calls)
    if unpriced:
        sums.append(f"{unpriced} of unknown cost (set_prices sets prices)")
    render.note("together " + ", ".join(sums))


def cost(paid: float, currency: str | None) -> str:
    """A sum of money with enough digits for a single call."""
    digits = 2 if paid >= 1 else 6
    return f"{paid:,.{digits}f} {currency or ''}".rstrip()


def _call_state(outcome: str | None, answered_by: str | None) -> str:
    return outcome or ("ok" if answered_by is None else "recorded")


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else render.count(tokens)


def _duration(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else render.duration(milliseconds / 1000)


_DAY_S = 86_400
_STYLES: dict[str, dict[str, Any]] = {"error": {"fg": "red"}}


def show(found: Sequence[CheckpointInfo]) -> None:
    """A row for each checkpoint, in the order in which they were saved, and their sum."""
    if not found:
        render.note(
            "no checkpoints in this run; recorder.run(..., checkpoints=CheckpointPolicy(...)) saves them"
        )
        return
    render.table(
        ("STEP", "AGENT", "TIME (UTC)", "WHY", "TICK", "PHASE", "STATE", "STORED", "AS", "VERSION", "CODE"),
        [
            (
                each.step_id,
                each.agent_id or "-",
                render.clock(each.timestamp),
                each.reason or "-",
                "-" if each.tick is None else str(each.tick),
                each.phase or "-",
                render.size(each.state_bytes),
                render.size(each.size_bytes),
                each.kind,
                each.agent_version or "-",
                (each.code or "-")[:8],
            )
            for each in found
        ],
        right=("TICK", "STATE", "STORED"),
        styles={"WHY": _STYLES},
    )
    whole, stored = sum(each.state_bytes for each in found), sum(each.size_bytes for each in found)
    render.note(
        f"{render.plural(len(found), 'checkpoint')}: {render.size(whole)} of state in {render.size(stored)}"
    )


def prune_runs(
    root: Path,
    older_than_s: float | None,
    failed_older_than_s: float | None,
    keep_last: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove checkpoints by a policy, those of failed runs later."""
    from Agent.archive.prune import prune_checkpoints
    from Agent.flight.checkpoints.model import RetentionPolicy

    usual = RetentionPolicy()
    policy = RetentionPolicy(
        keep_days=usual.keep_days if older_than_s is None else older_than_s / _DAY_S,
        keep_failed_days=usual.keep_failed_days
        if failed_older_than_s is None
        else failed_older_than_s / _DAY_S,
        keep_last=keep_last,
    )
    verb = "would be removed" if dry_run else "removed"

    def tell(session_id: str, removed: Removed) -> None:
        if not as_json:
            render.emit(f"{session_id}: {_told(removed)} {verb}")

    done = prune_checkpoints(root, policy, dry_run=dry_run, on_session=tell)
    if as_json:
        render.emit_json({"root": str(root), "dry_run": dry_run, **asdict(done)})
        return
    freed = "" if dry_run else f", {render.size(max(done.size_bytes, 0))} freed"
    render.emit(f"{_told(done)} {verb}{freed}")
    if done.waiting:
        render.note(
            f"{done.waiting} more will be removed once the process that writes to their run has ended"
        )
    if done.damaged:
        render.note(f"{done.damaged} of the remaining ones cannot be loaded")


def _told(removed: Removed) -> str:
    runs = f", {render.plural(removed.runs, 'run')} whole" if removed.runs else ""
    return render.plural(removed.checkpoints, "checkpoint") + runs
