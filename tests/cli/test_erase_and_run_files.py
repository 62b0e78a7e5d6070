"""`erase`, `runs --export`, `runs --import` and what `verify` and `recover` say of artifacts, as they are typed."""

import json
import sys
from pathlib import Path

import pytest
from support.session_files import session_directories

from Agent import setup_logging, shutdown_logging
from Agent.flight import Recorder
from Agent.utils import AgentLogger

VALUE = "jane.doe@example.com"


@pytest.fixture
def recorded(trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("clerk").log_action("write", {"to": VALUE})
    AgentLogger("other").log_action("read", {"n": 1})
    recorder = Recorder(agent="clerk", labels={"of": "test"})
    with recorder.run() as run:
        with recorder.step("one") as step:
            step.output = {"to": VALUE}
        recorder.save_artifact("large.txt", "filler " * 2000)
        recorder.save_artifact("same.txt", "filler " * 2000)
    shutdown_logging()
    return trace_root, run.run_id


def test_a_dry_run_says_what_would_go_and_erasing_proves_it(run, recorded):
    root, _ = recorded
    told = run("erase", "--match", VALUE, "--dry-run", "--root", root)
    assert told.returncode == 0
    assert "2 events, 1 artifact would be erased" in told.stdout and "proven" not in told.stdout
    done = run("erase", "--match", VALUE, "--yes", "--root", root)
    assert done.returncode == 0, done.stderr
    assert "2 events, 1 artifact erased" in done.stdout and "proven: " in done.stdout
    again = run("erase", "--match", VALUE, "--yes", "--root", root)
    assert again.returncode == 0 and "nothing like that is recorded here" in again.stdout
    sound = run("verify", "--root", root)
    assert sound.returncode == 0 and "2 events of the retired ones were erased" in sound.stderr


def test_what_is_left_is_named_and_makes_the_answer_negative(run, recorded):
    root, _ = recorded
    (root / "mine.txt").write_text(f"{VALUE} again")
    done = run("erase", "--match", VALUE, "--yes", "--root", root)
    assert done.returncode == 1
    assert "NOT ERASED" in done.stdout and "mine.txt: literal" in done.stdout
    answer = run("erase", "--match", VALUE, "--yes", "--json", "--root", root)
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["proof"]["left"] == [{"file": "mine.txt", "form": "literal"}]


def test_an_erasure_that_was_cut_short_is_told_and_finished(run, recorded):
    from Agent.archive.erase.erasing import target_of, write_plan

    root, _ = recorded
    write_plan(root, target_of(match=VALUE))
    assert "agent-trace erase finishes it" in run("verify", "--root", root).stderr
    done = run("erase", "--yes", "--root", root)
    assert done.returncode == 0 and "finished an interrupted erasure" in done.stderr
    assert "interrupted" not in run("verify", "--root", root).stderr


def test_it_asks_and_takes_no_for_an_answer(run, recorded, monkeypatch):
    root, _ = recorded
    silent = run("erase", "--agent", "clerk", "--root", root)
    assert silent.returncode == 2 and "give --yes" in silent.stderr
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert b"clerk" in (session_directories(root)[0] / "agents" / "clerk.log").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "no erasure was interrupted"),
        (("--agent", "a", "--match", "abc"), 2, "exactly one option"),
        (("--match", "ab"), 2, "too short"),
        (("--run", "nobody"), 3, "no run or session"),
        (("--run", "last"), 2, "agent-trace prune"),
    ],
)
def test_mistakes_are_one_line(run, recorded, words, code, told):
    done = run("erase", *words, "--yes", "--root", recorded[0])
    assert (done.returncode, done.stdout) == (code, "") and told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_is_erased_by_the_beginning_of_its_id(run, recorded):
    root, run_id = recorded
    done = run("erase", "--run", run_id[:18], "--yes", "--root", root)
    assert done.returncode == 0 and "1 run erased" in done.stdout
    assert run("runs", "--root", root).stdout == ""
    assert json.loads(run("verify", "--json", "--root", root).stdout)["sound"]


def test_a_run_goes_out_and_comes_in_elsewhere(run, recorded, tmp_path):
    root, run_id = recorded
    file, elsewhere = tmp_path / "run.zip", tmp_path / "elsewhere"
    out = run("runs", run_id, "--export", file, "--root", root)
    assert out.returncode == 0 and "the run, " in out.stdout
    twice = run("runs", run_id, "--export", file, "--root", root)
    assert twice.returncode == 2 and "already exists" in twice.stderr
    come = run("runs", "--import", file, "--json", "--root", elsewhere)
    assert come.returncode == 0 and json.loads(come.stdout)["run_id"] == run_id
    assert run_id in run("runs", "--root", elsewhere).stdout
    shown = run("runs", run_id, "--artifact", "steps/one.json", "--root", elsewhere)
    assert json.loads(shown.stdout) == {"to": VALUE}
    analysed = run("analyze", "--root", elsewhere)
    assert analysed.returncode == 0, analysed.stderr
    assert run("verify", "--root", elsewhere).returncode == 0


@pytest.mark.parametrize(
    "words",
    [("--export", "x.zip"), ("last", "--import", "x.zip"), ("--import", "x.zip", "--steps")],
)
def test_an_export_needs_a_run_and_an_import_nothing_but_its_file(run, recorded, words):
    done = run("runs", *words, "--root", recorded[0])
    assert done.returncode == 2 and done.stdout == ""


def test_a_file_that_is_no_run_is_one_line(run, recorded, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"nothing")
    done = run("runs", "--import", tmp_path / "x.zip", "--root", recorded[0])
    assert done.returncode == 3 and "it is not a zip file" in done.stderr
    assert run("runs", "--import", tmp_path / "no.zip", "--root", recorded[0]).returncode == 3


def test_verify_reads_artifacts_and_names_one_that_is_not_what_was_saved(run, recorded):
    root, run_id = recorded
    whole = run("verify", "--root", root)
    assert whole.returncode == 0 and "and 3 artifacts read" in whole.stdout
    place = session_directories(root)[0] / "runs" / run_id / "artifacts"
    (place / "steps" / "one.json").write_text("{}")
    (place / "same.txt").unlink()
    done = run("verify", "--root", root)
    assert done.returncode == 1 and "2 damaged artifacts" in done.stdout
    answer = json.loads(run("verify", "--json", "--root", root).stdout)
    told = {Path(each["path"]).name: each["problem"] for each in answer["damaged_artifacts"]}
    assert told["one.json"] == "it differs from what was saved" and "missing" in told["same.txt"]
    assert not answer["sound"] and answer["artifacts"] == 3


def test_recover_removes_what_of_artifacts_was_half_saved(run, recorded):
    root, _ = recorded
    left = session_directories(root)[0] / "blobs" / ".123-abcdef.new"
    left.write_bytes(b"half")
    assert run("recover", "--root", root).returncode == 0
    assert not left.exists()
    assert "nothing to do" in run("recover", "--root", root).stdout
