"""The command `demo`: a simulation recorded, explained, and driven again with the same and with repaired code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli import parameters, render

if TYPE_CHECKING:
    from Agent.demo.platform import Settings
    from Agent.demo.recording import Recording
    from Agent.replay import ReplayReport

AGENTS, TICKS, SEED = 60, 96, 7
"""The defaults of `Agent.demo.platform`, which is not loaded for the help."""

REPAIRED = "Agent.demo.targets:repaired_creator"


@click.command(epilog=parameters.examples("agent-trace demo", "agent-trace demo --seed 3 --agents 200 --place ./trace"))
@click.option("--seed", type=int, default=SEED, metavar="N", help="Where the chance of the simulation begins.")
@click.option("--agents", type=click.IntRange(min=2), default=AGENTS, metavar="N", help="How many creators there are.")
@click.option("--ticks", type=click.IntRange(min=12), default=TICKS, metavar="N", help="How long it runs.")
@click.option(
    "--place",
    "--root",
    "root",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=parameters.DEFAULT_ROOT,
    envvar="AGENT_TRACE_ROOT",
    show_envvar=True,
    help="The trace root to record in.",
)
@parameters.json_option
def demo(seed: int, agents: int, ticks: int, root: Path, as_json: bool) -> int:
    """Record a simulation, explain it and run it again.

    A content platform: creators learn what to publish and when, an audience reacts, posts spread, a tool fails
    now and then, and one creator meets a fault. The fault is found in the record, its agent is driven again
    from what was recorded, and then once more with the fault repaired. The same seed gives the same simulation.
    """
    from Agent.demo.platform import Settings

    settings = Settings(agents=agents, ticks=ticks, seed=seed)
    show = not as_json
    began = time.perf_counter()
    with _progress(settings.ticks) as progress:
        from Agent.demo.recording import record_session

        recording = record_session(root, settings, progress)
    seconds = time.perf_counter() - began
    if show:
        _show_recording(recording, seconds)
    answer: dict[str, Any] = {"recording": _recorded(recording, seconds)}
    answer["analysis"] = _analyze(recording, root, show=show)
    answer["debug"] = _debug(recording, root, show=show)
    answer["replay"], same = _replay_as_it_is(recording, root, show=show)
    answer["replay_repaired"], different = _replay_repaired(recording, root, show=show)
    answer["next_commands"] = _next_commands(recording, root)
    if as_json:
        render.emit_json(answer)
    else:
        _show_end(recording, answer["next_commands"])
    return 0 if same and different else 1


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("ticks"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Simulating", total=total)
        yield lambda number: progress.update(task, completed=number)
