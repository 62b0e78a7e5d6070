"""How checkpoints, replays and forks are doing, counted from what they left."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from Agent import shutdown_logging
from Agent.cli.main import cli
from Agent.flight import StepEvent, checkpoint_store, recorder
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor, replay_metrics


def test_an_empty_root_has_no_rates(trace_root):
    trace_root.mkdir()
    found = replay_metrics(trace_root)
    assert (found.runs, found.replays, found.forks, found.storage_bytes) == (0, 0, 0, 0)
    assert (found.checkpoint_success_rate, found.replay_success_rate, found.divergence_rate) == (
        None,
        None,
        None,
    )


def test_runs_checkpoints_and_replays_are_counted(trace_root):
    for number in range(2):
        with recorder.run("agent") as run:
            recorder.record_step(StepEvent("s", {"n": 0}, output_state={"n": 1}))
            if number:
                checkpoint_store.save_checkpoint(run.run_id, "s", {"n": 1})
    shutdown_logging()
    before = replay_metrics(trace_root)
    assert (before.runs, before.checkpointed_runs, before.checkpoint_success_rate) == (2, 1, 0.5)
    saved = checkpoint_store.list_checkpoints(run.run_id)
    assert before.storage_bytes == sum(info.size_bytes for info in saved) > 0

    executor = ReplayExecutor(CheckpointManager(trace_root))
    asyncio.run(executor.replay(f"{run.run_id}:s", ReplayConfig(dry_run=True)))
    after = replay_metrics(trace_root)
    assert (after.replays, after.completed_replays, after.replay_success_rate) == (1, 0, 0.0), (
        "nothing proved"
    )
    assert after.latency_ms is not None and after.latency_ms > 0

    done = CliRunner().invoke(cli, ["runs", "--metrics", "--json", "--root", str(trace_root)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["checkpoint_success_rate"] == 0.5
    assert (
        "50%, 1 of 2 runs" in CliRunner().invoke(cli, ["runs", "--metrics", "--root", str(trace_root)]).output
    )
    assert CliRunner().invoke(cli, ["runs", "last", "--metrics", "--root", str(trace_root)]).exit_code == 2


def test_a_report_that_cannot_be_read_is_named(trace_root):
    with recorder.run("agent"):
        pass
    shutdown_logging()
    (session,) = trace_root.glob("session_*")
    broken = session / "runs" / "root" / "replays" / "x" / "report.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("no json")
    found = replay_metrics(trace_root)
    assert found.replays == 0
    assert "report.json" in found.unread[0]
