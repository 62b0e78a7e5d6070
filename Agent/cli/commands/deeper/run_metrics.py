"""What `runs --metrics` shows: how checkpoints, replays and forks under a root are doing."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli.output import render


def show(root: Path, context: click.Context, *, as_json: bool, is_alone: bool) -> None:
    """Rates with the counts that they are made of; `-` where there is nothing to count.

    Raises:
        UsageError: the option does not stand alone.
    """
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
