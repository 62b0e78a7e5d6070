"""Links in the place of a session's directories: nothing behind them is read, changed or removed."""

import shutil

import pytest

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.cli.main import main
from Agent.flight import checkpoint_store, recorder
from tests.support.session_files import only_session

PLACES = [
    "agents", "blobs", "runs", ".state", ".state/view", ".state/chain", "runs/a-run", "runs/a-run/artifacts",
    "runs/a-run/artifacts/notes", "runs/a-run/checkpoints",
]  # fmt: skip
COMMANDS = [
    ["analyze"], ["tail", "-n", "99"], ["sql", "SELECT * FROM events"], ["runs", "a-run", "--artifact", "notes/page.txt"],
    ["runs", "a-run", "--checkpoints"], ["export", "bundle", "last", "{out}/bundle.zip"],
    ["runs", "a-run", "--export", "{out}/run.zip"], ["export", "csv", "last", "{out}/all.csv"],
    ["view", "--share", "{out}/page.html"], ["recover", "--mirrors"], ["seal", "--all", "--remove"],
    ["prune", "--checkpoints", "--older-than", "0d"], ["erase", "--match", "PRECIOUS", "--yes"],
]  # fmt: skip


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.integration
@pytest.mark.parametrize("place", PLACES)
def test_no_command_reads_or_changes_what_a_link_in_a_session_leads_to(trace_root, tmp_path, capsys, place):
    setup_logging(trace_root=trace_root)
    AgentLogger("a", "x").log_action("w", {"note": "PRECIOUS"})
    recorder.start_run("a", run_id="a-run")
    recorder.save_artifact("notes/page.txt", "PRECIOUS")
    checkpoint_store.save_checkpoint("a-run", "one", {"note": "PRECIOUS"})
    recorder.finish_run(ok=True)
    shutdown_logging()
    session, elsewhere, out = only_session(trace_root), tmp_path / "elsewhere", tmp_path / "out"
    out.mkdir()
    (session / place).mkdir(exist_ok=True)
    shutil.move(session / place, elsewhere)
    (session / place).symlink_to(elsewhere)
    (elsewhere / "OTHERS.log").write_text("OTHERS")
    before = contents(elsewhere)
    for command in COMMANDS:
        code = main([*(word.format(out=out) for word in command), "--root", str(trace_root)])
        said = capsys.readouterr()
        assert code in {0, 1, 2, 3}, (command, said.err)
        assert contents(elsewhere) == before, command
        if place in {"agents", "runs/a-run/artifacts"}:
            assert "PRECIOUS" not in said.out, command
    assert all(b"OTHERS" not in path.read_bytes() for path in out.iterdir())


def test_the_category_files_behind_a_link_are_not_written_anew(trace_root, tmp_path, capsys):
    setup_logging(trace_root=trace_root)
    AgentLogger("a", "x").log_action("w", {})
    shutdown_logging()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(trace_root / "agents", elsewhere)
    (trace_root / "agents").symlink_to(elsewhere)
    (elsewhere / "agents.log").write_text("of somebody else\n")
    assert main(["recover", "--mirrors", "--root", str(trace_root)]) == 3
    assert "something else is in the place" in capsys.readouterr().err
    assert (elsewhere / "agents.log").read_text() == "of somebody else\n"
