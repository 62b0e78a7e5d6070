"""`sessions`, `journey`, `tail`: what is recorded, shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from support.processes import child_environment
from support.session_files import events_in, of_agent, of_kind, session_events

from Agent.cli.commands import tail as newest
from Agent.event.clock import format_timestamp
from Agent.event.codec import decode_line, encode_event
from Agent.event.model import Event

AGENT = "creator_003"


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.integration
def test_sessions_counts_what_is_in_the_files(ask, recorded):
    done = ask("sessions", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (row,) = answer["sessions"]
    events = session_events(recorded.session)
    assert answer["root"] == str(recorded.root)
    assert row["session_id"] == recorded.session_id
    assert row["events"] == len(events)
    assert row["errors"] == len(of_kind(events, "error"))
    assert row["agents"] == len({event["extra"].get("agent_id") for event in events} - {None}) == 20 + 4 + 2
    assert (row["state"], row["lost"]) == ("closed", 0)
    assert row["duration_s"] > 0
    files = [path for path in Path(row["path"]).rglob("*") if path.is_file() and not path.is_symlink()]
    assert row["size_bytes"] == sum(path.stat().st_blocks * 512 for path in files)
    assert datetime.fromisoformat(row["started_at"]) < datetime.fromisoformat(row["ended_at"])


def test_sessions_shows_a_table_with_the_newest_last(run, recorded, trace_root):
    for name in ("session_20200101_000000", "session_20300101_000000"):
        shutil.copytree(recorded.session, trace_root / name)
    done = run("sessions")
    assert done.returncode == 0, done.stderr
    head, first, last = done.stdout.splitlines()
    assert head.split() == [
        "SESSION",
        "STARTED",
        "(UTC)",
        "DURATION",
        "AGENTS",
        "EVENTS",
        "ERRORS",
        "MiB",
        "STATE",
    ]
    assert first.split()[0] == "20200101_000000"
    assert last.split()[0] == "20300101_000000"
    assert (
        json.loads(run("sessions", "-n", "1", "--json").stdout)["sessions"][0]["session_id"]
        == "20300101_000000"
    )


@pytest.mark.process
def test_a_session_whose_process_was_killed_is_crashed_and_one_that_records_is_running(run, trace_root):
    program = (
        "import sys, time\n"
        "from Agent import AgentLogger\n"
        "logger = AgentLogger('a', 'worker')\n"
        "logger.log_action('x')\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=child_environment())
    try:
        assert child.stdout.readline() == b"ready\n"
        state = json.loads(run("sessions", "--json").stdout)["sessions"][0]["state"]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert state == "running"
    (row,) = json.loads(run("sessions", "--json").stdout)["sessions"]
    assert (row["state"], row["ended_at"], row["agents"]) == ("crashed", None, 1)


@pytest.mark.parametrize(("text", "why"), [("{", ""), ("[]", ": its content has another form")])
def test_a_description_that_cannot_be_read_is_told_and_its_session_listed(
    run, recorded, trace_root, text, why
):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    (session / "session.json").write_text(text)
    done = run("sessions")
    assert recorded.session_id in done.stdout
    assert f"{recorded.session_id}: session.json cannot be read{why}" in done.stderr
    (row,) = json.loads(run("sessions", "--json").stdout)["sessions"]
    assert row["problem"].startswith("session.json cannot be read") and row["events"] > 0


def test_a_session_that_lacks_the_file_of_an_agent_says_how_many_events_are_lost(run, recorded, trace_root):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    (log,) = session.glob(f"agents/{AGENT}.log")
    lines = log.read_bytes().count(b"\n")
    before = json.loads(run("sessions", "--json").stdout)["sessions"][0]
    log.unlink()
    (row,) = json.loads(run("sessions", "--json").stdout)["sessions"]
    assert (row["events"], row["lost"]) == (before["events"] - lines, lines)
    assert f"{recorded.session_id} lost {lines} events; agent-trace verify" in run("sessions").stderr


def test_no_session_is_a_note_and_no_failure(run):
    done = run("sessions")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert json.loads(run("sessions", "--json").stdout)["sessions"] == []


def test_journey_is_every_event_of_the_agent_in_order(ask, recorded):
    done = ask("journey", AGENT, "--json")
    assert done.returncode == 0, done.stderr
    assert [event["id"] for event in lines_of(done.stdout)] == [
        event["id"] for event in of_agent(session_events(recorded.session), AGENT)
    ]
    pretty = ask("journey", AGENT, "--all")
    assert len(pretty.stdout.splitlines()) == len(lines_of(done.stdout))
    assert re.search(r"t\d+ +INFO +Agent action: step", pretty.stdout)


def test_journey_passes_the_lines_of_the_record_through(ask, recorded):
    printed = lines_of(ask("journey", AGENT, "--json").stdout)
    files = sorted((recorded.session / "agents").glob(f"{AGENT}*.log"))
    assert sorted(printed, key=lambda event: event["id"]) == sorted(
        events_in(*files), key=lambda event: event["id"]
    )


def test_journey_takes_a_tick_a_time_a_kind_and_a_limit(ask, recorded):
    everything = of_agent(session_events(recorded.session), AGENT)
    from_tick = lines_of(ask("journey", AGENT, "--since", "tick:20", "--json").stdout)
    assert [event["id"] for event in from_tick] == [
        event["id"] for event in everything if event.get("tick", -1) >= 20
    ]
    moment = everything[len(everything) // 2]["timestamp"]
    from_time = lines_of(ask("journey", AGENT, "--since", moment, "--json").stdout)
    assert [event["id"] for event in from_time] == [e["id"] for e in everything if e["timestamp"] >= moment]
    rewards = lines_of(ask("journey", AGENT, "-t", "reward", "-n", "2", "--json").stdout)
    assert [event["id"] for event in rewards] == [event["id"] for event in of_kind(everything, "reward")][-2:]


@pytest.mark.further
def test_tail_begins_with_the_newest_events_of_all_agents(ask, recorded):
    newest = session_events(recorded.session)[-7:]
    assert [event["id"] for event in lines_of(ask("tail", "-n", "7", "--json").stdout)] == [
        e["id"] for e in newest
    ]
    assert len(ask("tail", "-n", "7").stdout.splitlines()) == 7
    assert ask("tail", "-n", "0").stdout == ""


def test_tail_filters_by_agent_level_and_kind(ask, recorded):
    everything = session_events(recorded.session)
    warnings = [event for event in everything if event["level"] in {"WARNING", "ERROR", "CRITICAL"}]
    assert warnings
    shown = lines_of(ask("tail", "-n", "5", "-l", "warning", "--json").stdout)
    assert [event["id"] for event in shown] == [event["id"] for event in warnings[-5:]]
    shown = lines_of(ask("tail", "-n", "4", "-a", AGENT, "-t", "agent_action", "--json").stdout)
    actions = of_kind(of_agent(everything, AGENT), "agent_action")
    assert [event["id"] for event in shown] == [event["id"] for event in actions[-4:]]


@pytest.mark.integration
def test_tail_follows_what_is_written_and_an_interrupt_ends_it(trace_root, tmp_path):
    program = (
        "import sys\n"
        "from Agent import AgentLogger\n"
        "logger = AgentLogger('a', 'worker')\n"
        "for line in sys.stdin:\n"
        "    logger.log_action(line.strip())\n"
        "    print('written', flush=True)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    try:
        write(writer, "before")
        tail = subprocess.Popen(
            [sys.executable, "-m", "Agent", "tail", "-f", "-t", "agent_action", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            cwd=tmp_path,
        )
        try:
            assert json.loads(tail.stdout.readline())["extra"]["action_type"] == "before"
            # From here on the tail is known to be up; it may not have begun to follow yet.
            for number in range(5):
                write(writer, f"after_{number}")
                time.sleep(0.02)
            seen = [json.loads(tail.stdout.readline())["extra"]["action_type"] for _ in range(5)]
            assert seen == [f"after_{number}" for number in range(5)]
            tail.send_signal(signal.SIGINT)
            _, err = tail.communicate(timeout=20)
        finally:
            tail.kill()
            tail.wait()
    finally:
        writer.stdin.close()
        writer.wait(timeout=20)
        writer.stdout.close()
    assert tail.returncode == 130
    assert err.strip() == ""


def write(writer: subprocess.Popen[str], action: str) -> None:
    writer.stdin.write(action + "\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "written\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["journey", "creator_9"], "did you mean"),
        (["journey", AGENT, "--session", "1999"], "no session '1999'"),
        (["tail", "--session", "1999"], "no session '1999'"),
        (["tail", "-a", "nobody"], "no agent 'nobody'"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_3(ask, arguments, says):
    done = ask(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize("command", [["journey", AGENT], ["tail"]])
def test_an_empty_root_is_one_line_and_exit_code_3(run, command):
    done = run(*command)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


@pytest.mark.parametrize("since", ["yesterday", "tick:", "tick:x"])
def test_a_time_that_is_none_is_a_usage_error(ask, since):
    done = ask("journey", AGENT, "--since", since)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "tick:40" in done.stderr


def test_a_kind_that_is_none_is_a_usage_error_with_the_nearest(ask):
    done = ask("tail", "-t", "agent_actions")
    assert done.returncode == 2
    assert "did you mean 'agent_action'?" in done.stderr


@pytest.mark.parametrize("command", [["sessions"], ["journey", AGENT, "-n", "50"], ["tail", "-n", "50"]])
def test_nothing_is_coloured_in_a_pipe(ask, command):
    done = ask(*command, TERM="xterm-256color", COLUMNS="80")
    assert done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_what_an_agent_said_cannot_drive_the_terminal(run, trace_root, tmp_path):
    from Agent import AgentLogger, shutdown_logging

    AgentLogger("evil\x1b[2J", "x\r").info("clear \x1b[2J\x07 and\nnew line", extra={"k\x1b": "\x9b31m"})
    shutdown_logging()
    for command in (["tail", "-n", "20"], ["journey", "evil\x1b[2J"]):
        done = run(*command)
        assert "clear \\x1b[2J\\x07 and\\nnew line" in done.stdout, done
        assert not set(done.stdout) & {"\x1b", "\x07", "\x9b", "\r"}


def test_damaged_lines_are_passed_over_and_counted(run, recorded, trace_root):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "agents" / f"{AGENT}.log"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"torn": \n'
    file.write_bytes(b"".join(lines))
    done = run("journey", AGENT, "--json")
    assert done.returncode == 0
    assert len(lines_of(done.stdout)) == len(lines) - 1
    assert done.stderr == "1 damaged line was skipped\n"
    for asked in (["-n", "100000"], ["--since", "2000-01-01"]):
        done = run("tail", "-a", AGENT, *asked, "--json")
        assert len(lines_of(done.stdout)) == len(lines) - 1
        assert done.stderr == "1 damaged line was skipped\n"


def test_the_newest_events_are_read_from_the_ends_of_the_files(tmp_path, monkeypatch):
    files = []
    for writer, first in (("aaaaaaaa", 0), ("bbbbbbbb", 5)):
        file = tmp_path / f"{writer}.log"
        with file.open("wb") as out:
            for number in range(1, 4001):
                timestamp = format_timestamp((1_700_000_000 + 10 * number + first) * 1_000_000)
                out.write(
                    encode_event(Event(timestamp, f"{writer}-{number}", 1, "log", "s", message="x" * 200))
                )
        files.append(file)
    with files[0].open("ab") as out:
        out.write(b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"aaaa')
    read = []
    monkeypatch.setattr(newest, "decode_line", lambda line: read.append(line) or decode_line(line))
    found = newest.newest_lines(tmp_path, files, 5, lambda _: True).lines
    assert [event.id for _, event in found] == [
        "bbbbbbbb-3998", "aaaaaaaa-3999", "bbbbbbbb-3999", "aaaaaaaa-4000", "bbbbbbbb-4000",
    ]  # fmt: skip
    assert len(read) < 20
    odd = newest.newest_lines(tmp_path, files, 3, lambda event: event.seq == 7).lines
    assert [event.id for _, event in odd] == ["aaaaaaaa-7", "bbbbbbbb-7"]


def test_a_line_of_many_blocks_is_read_back_in_time_that_grows_with_its_length(tmp_path, monkeypatch):
    file = tmp_path / "a.log"
    lines = [bytes([97 + number % 26]) * number for number in (1, 15, 16, 17, 300, 2_000_000, 5)]
    file.write_bytes(b"\n".join([*lines, b"being written"]))
    monkeypatch.setattr(newest, "BLOCK_BYTES", 64)
    began_s = time.process_time()
    assert list(newest._lines_backwards(file)) == lines[::-1]
    assert time.process_time() - began_s < 3  # 20 s where each block copies what was read before
    for size in (1, 2, 7):
        monkeypatch.setattr(newest, "BLOCK_BYTES", size)
        file.write_bytes(b"\nab\n\n\nc\n")
        assert list(newest._lines_backwards(file)) == [b"c", b"ab"]


@pytest.mark.integration
def test_completion_offers_sessions_agents_and_kinds(start, recorded):
    def complete(words: str) -> str:
        done = start(
            _AGENT_TRACE_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split()) - (words[-1] != " ")),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "plain,journey" in complete("agent-trace jour")
    assert f"plain,{recorded.session_id}" in complete("agent-trace tail --session 2")
    assert "plain,creator_003" in complete("agent-trace journey creator_00")
    assert "plain,agent_action" in complete("agent-trace tail --type agent_")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_an_unreadable_root_is_one_line_and_exit_code_3(ask, tmp_path):
    place = tmp_path / "closed"
    place.mkdir(mode=0)
    done = ask("sessions", "--root", str(place / "trace"))
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
