"""`analyze`, `errors`, `debug`: what happened and why, in words and as data."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections import Counter

import pytest
from support.session_files import of_kind, session_events

ISSUE = "Agent creator_017 stopped publishing"

WITHIN = 3


def test_analyze_reports_the_session_in_a_page(ask, recorded):
    done = ask("analyze")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Session {recorded.session_id}")
    for title in ("Agents", "Actions", "Errors", "Learning", "Interactions", "Performance", "Completeness"):
        assert f"\n{title}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100 + len(str(recorded.session))


@pytest.mark.further
def test_analyze_counts_what_is_in_the_files(ask, recorded):
    answer = json.loads(ask("analyze", "--json").stdout)
    events = session_events(recorded.session)
    assert answer["session_id"] == recorded.session_id
    assert answer["total_events"] == len(events)
    assert answer["actions"] == Counter(e["extra"]["action_type"] for e in of_kind(events, "agent_action"))
    assert answer["errors"]["total_errors"] == len(of_kind(events, "error"))


@pytest.mark.first_case
@pytest.mark.parametrize("name", ["last", "{id}", "{prefix}", "{path}"])
def test_a_session_is_named_by_id_prefix_path_or_last(ask, recorded, name):
    words = {"id": recorded.session_id, "prefix": recorded.session_id[:9], "path": recorded.session}
    done = ask("tail", "-n", "1", "--json", "--session", name.format(**words))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["session_id"] == recorded.session_id


@pytest.mark.further
def test_analyze_takes_the_session_as_its_argument_too(run, recorded):
    done = run("analyze", recorded.session_id[:9], "--json", "--root", recorded.root)
    assert json.loads(done.stdout)["session_id"] == recorded.session_id


def test_a_journey_that_is_cut_names_a_tick_before_which_the_rest_is(ask, recorded):
    cut = ask("journey", "creator_017")
    (tick,) = re.findall(r"--until (tick:\d+)", cut.stderr)
    before = ask("journey", "creator_017", "--until", tick, "--json")
    assert before.returncode == 0 and before.stdout.count("\n") > 1, before.stderr


@pytest.mark.further
def test_errors_are_grouped_with_count_first_last_and_an_example(ask, recorded):
    answer = json.loads(ask("errors", "--json").stdout)
    errors = of_kind(session_events(recorded.session), "error")
    assert answer["total_errors"] == len(errors) > 2
    by_type = Counter(event["extra"]["error_type"] for event in errors)
    assert answer["by_type"] == by_type
    rows = {row["error_type"]: row for row in answer["fingerprints"]}
    assert {name: row["count"] for name, row in rows.items()} == by_type
    timeouts = [event for event in errors if event["extra"]["error_type"] == "TrendTimeout"]
    row = rows["TrendTimeout"]
    assert (row["first_seen"], row["last_seen"]) == (timeouts[0]["timestamp"], timeouts[-1]["timestamp"])
    assert row["example_id"] in {event["id"] for event in timeouts}
    page = ask("errors")
    assert f"{by_type['TrendTimeout']} x  TrendTimeout: no answer within 200 ms" in page.stdout
    assert row["example_id"] in page.stdout
    assert page.stderr == f"{len(errors)} errors in total\n"
    assert "1 pattern more" in ask("errors", "-n", "1").stderr


def test_no_errors_are_a_note_and_no_failure(run, trace_root):
    from Agent import AgentLogger, shutdown_logging

    AgentLogger("a", "worker").log_action("x")
    shutdown_logging()
    done = run("errors")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no errors\n")
    assert json.loads(run("errors", "--json").stdout)["total_errors"] == 0


@pytest.mark.integration
def test_debug_finds_the_planted_fault(ask):
    done = ask("debug", ISSUE)
    answer = json.loads(ask("debug", ISSUE, "--json").stdout)
    assert done.returncode == (0 if answer["status"] == "cause" else 1), done.stderr
    # In a session as small as this one it may be a hint, and others may stand before it.
    found = next(cause for cause in answer["causes"][:WITHIN] if "cooldown_until" in cause["explanation"])
    assert "creator_017" in found["explanation"]
    assert "TrendQuotaExceeded" in found["explanation"]


@pytest.mark.integration
def test_debug_answers_as_json_and_markdown_too(ask):
    answer = json.loads(ask("debug", ISSUE, "--json").stdout)
    assert answer["issue"] == ISSUE
    assert any("cooldown_until" in cause["explanation"] for cause in answer["causes"][:WITHIN])
    assert ask("debug", ISSUE, "--markdown").stdout.startswith(f"# {ISSUE}\n")


def test_debug_that_finds_nothing_is_exit_code_1(run, trace_root):
    from Agent import AgentLogger, shutdown_logging

    AgentLogger("a", "worker").log_action("x")
    shutdown_logging()
    done = run("debug", "the moon is too bright")
    assert done.returncode == 1
    assert "Nothing found" in done.stdout
    assert json.loads(run("debug", "the moon is too bright", "--json").stdout)["causes"] == []


@pytest.mark.parametrize("text", ["", "   "])
def test_debug_wants_words(ask, text):
    done = ask("debug", text)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "option", [["--target", "json:loads"], ["--seeds", "3"], ["--outcome", "sold"], ["--live", "x"]]
)
def test_how_to_test_goes_with_test(ask, option):
    done = ask("debug", ISSUE, *option)
    assert done.returncode == 2
    assert "require --test" in done.stderr


@pytest.mark.integration
def test_a_target_that_is_none_is_refused_before_anything_is_read(ask):
    done = ask("debug", ISSUE, "--test", "--target", "no_such_module:build", "--all")
    assert (done.returncode, done.stdout) == (3, "")
    assert "the target no_such_module cannot be imported" in done.stderr


@pytest.mark.parametrize("command", [["analyze"], ["errors"], ["debug", "x"]])
def test_a_session_that_is_not_there_is_one_line_and_exit_code_3(ask, run, command):
    for done in (ask(*command, "--session", "1999"), run(*command)):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


def test_an_ambiguous_prefix_names_the_sessions(run, recorded, trace_root):
    for name in ("session_20200101_000000", "session_20200101_000001"):
        shutil.copytree(recorded.session, trace_root / name)
    done = run("analyze", "2020")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "20200101_000000, 20200101_000001" in done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("command", [["analyze"], ["errors"], ["debug", ISSUE]])
def test_nothing_is_coloured_in_a_pipe(ask, command):
    assert "\x1b" not in ask(*command, TERM="xterm-256color").stdout


@pytest.mark.further
@pytest.mark.parametrize(
    "command", [("analyze", "--html"), pytest.param(("view", "--share"), marks=pytest.mark.integration)]
)
def test_a_page_replaces_an_earlier_one_and_no_other_file(command, run, recorded, tmp_path):
    asked = (*command, str(tmp_path / "target"), "--root", str(recorded.root))
    assert [run(*asked).returncode for _ in range(2)] == [0, 0]
    (tmp_path / "target").write_text("root:x:0:0::/root:/bin/sh\n")
    done = run(*asked)
    assert done.returncode == 3 and "remove it, or name another file" in done.stderr
    assert (tmp_path / "target").read_text().startswith("root:")


@pytest.mark.further
@pytest.mark.parametrize(
    "command", [("analyze", "--html"), pytest.param(("view", "--share"), marks=pytest.mark.integration)]
)
def test_a_page_is_written_through_a_link_and_into_a_pipe_which_both_stay(command, run, recorded, tmp_path):
    (tmp_path / "kept").mkdir()
    link, pipe = tmp_path / "link.html", tmp_path / "pipe"
    link.symlink_to(tmp_path / "kept" / "page.html")
    os.mkfifo(pipe)
    root = ("--root", str(recorded.root))
    assert run(*command, str(link), *root).returncode == 0
    page = (tmp_path / "kept" / "page.html").read_bytes()
    assert link.is_symlink() and b"</html>" in page
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run(*command, str(pipe), *root).returncode == 0
    reader.join(20)
    assert pipe.is_fifo() and b"</html>" in read[0]
