"""`tail`: filters, times, cursors, byte-exact lines, and every way in which it can end."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from support.processes import child_environment
from support.session_files import of_agent, of_kind, session_events

from Agent.cli.event_lines import event_line
from Agent.render.layout import display_width
from Agent.tree.layout import find_session
from Agent.tree.read.reader import TreeReader

AGENT = "creator_003"


def ids(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


def raw_lines(session):
    files = [*session.glob("*.log"), *(session / "agents").glob("*.log")]
    return {line for file in files for line in file.read_bytes().splitlines()}


@pytest.mark.integration
def test_json_passes_lines_through_byte_for_byte(start, run, trace_root, tmp_path, recorded):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "agents" / f"{AGENT}.log"
    first = json.loads(file.read_bytes().splitlines()[0])
    odd = (
        b'{"timestamp":"2030-01-01T00:00:00.000000Z","id":"%s-900001", "schema_version":1,"unknown" : [1.50,1e3],'
        b'"session_id":"x","level":"INFO","logger":"","message":"\\u00fc","extra":{"agent_id":"creator_003"}}'
        % first["id"].rpartition("-")[0].encode()
    )
    with file.open("ab") as out:
        out.write(odd + b"\n")
    done = subprocess.run(
        [sys.executable, "-m", "Agent", "tail", "-n", "40", "--json"],
        capture_output=True,
        env=child_environment(AGENT_TRACE_ROOT=str(trace_root)),
        check=True,
    )
    printed = done.stdout.splitlines()
    assert len(printed) == 40 and printed[-1] == odd
    assert set(printed) <= raw_lines(session)


@pytest.mark.further
def test_every_filter_finds_what_the_files_hold(ask, recorded):
    everything = session_events(recorded.session)
    rewards = of_kind(everything, "reward")
    high = [e["id"] for e in rewards if e["extra"]["reward"] > 4]
    assert high
    assert ids(ask("tail", "-n", "9999", "-t", "reward", "-f", "reward>4", "--json").stdout) == high
    assert ids(ask("tail", "-n", "3", "-t", "reward", "--where", "reward>4", "--json").stdout) == high[-3:]
    found = ids(
        ask("tail", "-n", "9999", "-f", r"message~^Reward \d", "-f", f"agent_id={AGENT}", "--json").stdout
    )
    assert found == [e["id"] for e in of_agent(rewards, AGENT)]
    both = ids(ask("tail", "-n", "9999", "-a", AGENT, "-a", "creator_004", "--json").stdout)
    assert sorted(both) == sorted(e["id"] for a in (AGENT, "creator_004") for e in of_agent(everything, a))


@pytest.mark.further
def test_since_and_until_give_all_of_a_stretch_in_order(ask, recorded):
    everything = session_events(recorded.session)
    since, until = everything[100]["timestamp"], everything[-100]["timestamp"]
    wanted = [e["id"] for e in everything if since <= e["timestamp"] < until]
    assert ids(ask("tail", "--since", since, "--until", until, "--json").stdout) == wanted
    assert ids(ask("tail", "--since", since, "--until", until, "-n", "5", "--json").stdout) == wanted[-5:]
    ticks = [e["id"] for e in everything if 3 <= e.get("tick", -1) < 5]
    assert ids(ask("tail", "--since", "tick:3", "--until", "tick:5", "--json").stdout) == ticks
    late = datetime.now(UTC) + timedelta(hours=1)
    assert ids(ask("tail", "--since", "-3h", "--until", late.isoformat(), "--json").stdout) == [
        e["id"] for e in everything
    ]
    nothing = ask("tail", "--since", late.isoformat())
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["-f", "nonsense"],
        ["-f", "message~("],
        ["--where", "reward>much"],
        ["--since", "-3 bananas"],
        ["--until", "soon"],
        ["-l", "loud"],
        ["-t", "nothing_like_it"],
        ["-n", "-1"],
        ["-n", "5", "--cursor", "c.json"],
    ],
)
def test_a_mistake_in_a_filter_is_one_line_and_exit_code_2(ask, arguments):
    done = ask("tail", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.further
def test_a_cursor_gives_each_event_once_over_many_runs(run, recorded, trace_root, tmp_path):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "agents" / f"{AGENT}.log"
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole[:50]))
    first = ids(run("tail", "--cursor", "c.json", "--json").stdout)
    assert len(first) == len(set(first)) == len(session_events(session))
    assert run("tail", "--cursor", "c.json", "--json").stdout == ""
    with file.open("ab") as out:
        out.writelines(whole[50:60])
    assert ids(run("tail", "--cursor", "c.json", "--json").stdout) == [
        json.loads(line)["id"] for line in whole[50:60]
    ]
    # rolled: the old name is another file now
    file.rename(file.with_name(f"{AGENT}.1.log"))
    file.write_bytes(b"".join(whole[60:]))
    rest = ids(run("tail", "--cursor", "c.json", "--json").stdout)
    assert sorted(rest) == sorted(json.loads(line)["id"] for line in whole[60:])
    assert (tmp_path / "c.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "c.json").write_text("{")
    done = run("tail", "--cursor", "c.json")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


@pytest.mark.further
def test_sealed_and_removed_events_are_shown_like_the_others(run, trace_root, recorded):
    shutil.copytree(recorded.session, trace_root / recorded.session.name)
    before = run("tail", "-n", "40", "--json").stdout
    tick = run("tail", "--since", "tick:70", "--json").stdout
    done = run("seal", "--remove")
    assert done.returncode == 0, done.stderr
    assert run("tail", "-n", "40", "--json").stdout == before
    assert run("tail", "--since", "tick:70", "--json").stdout == tick


class Program:
    """A program that logs an action for each line it is told: `agent action`."""

    SOURCE = (
        "import sys\n"
        "from Agent import AgentLogger\n"
        "loggers = {}\n"
        "for line in sys.stdin:\n"
        "    agent, action = line.split()\n"
        "    loggers.setdefault(agent, AgentLogger(agent, 'worker')).log_action(action)\n"
        "    print('written', flush=True)"
    )

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )

    def log(self, agent, action):
        self.process.stdin.write(f"{agent} {action}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "written\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


def start_tail(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "Agent", "tail", *arguments],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(**options),
    )


def actions(tail, number):
    return [json.loads(tail.stdout.readline())["extra"]["action_type"] for _ in range(number)]


def end(tail):
    tail.kill()
    tail.communicate()


@pytest.mark.integration
def test_following_takes_in_new_agents_and_filters_them(trace_root):
    with Program() as program:
        program.log("a", "begin")
        tail = start_tail("-f", "-f", "action_type~^w", "--json", "-t", "agent_action")
        try:
            program.log("a", "wait")
            assert actions(tail, 1) == ["wait"]
            for number in range(10):
                program.log(f"new_{number}", f"want_{number}")
                program.log(f"new_{number}", f"no_{number}")
            assert actions(tail, 10) == [f"want_{number}" for number in range(10)]
            tail.send_signal(signal.SIGINT)
            out, err = tail.communicate(timeout=20)
            assert (out, err, tail.returncode) == ("", "", 130)
        finally:
            end(tail)


@pytest.mark.integration
def test_damage_that_comes_while_following_is_told_at_the_end(trace_root):
    with Program() as program:
        program.log("a", "begin")
        tail = start_tail("-f", "--json", "-t", "agent_action")
        try:
            program.log("a", "wait")
            assert actions(tail, 2) == ["begin", "wait"]
            [file] = trace_root.glob("session_*/agents/a.log")
            with file.open("ab") as out:
                out.write(b"no event\n")
            program.log("a", "go")
            assert actions(tail, 1) == ["go"]
            tail.send_signal(signal.SIGINT)
            out, err = tail.communicate(timeout=20)
            assert (out, err) == ("", "1 damaged line was skipped\n")
        finally:
            end(tail)


@pytest.mark.integration
def test_a_reader_that_goes_away_ends_it_without_a_word(trace_root):
    with Program() as program:
        program.log("a", "one")
        tail = start_tail("-f", "--json", "-t", "agent_action")
        try:
            assert actions(tail, 1) == ["one"]
            # nothing more is written: it must notice by itself
            tail.stdout.close()
            assert tail.wait(timeout=20) == 0
            assert tail.stderr.read() == ""
        finally:
            tail.kill()
            tail.wait()
            tail.stderr.close()


@pytest.mark.integration
def test_head_gets_its_lines_and_nothing_is_said(ask, recorded, tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m Agent tail -n 99999 --json; echo $? >&2; ",
        shell=True,
        capture_output=True,
        text=True,
        env=child_environment(AGENT_TRACE_ROOT=str(recorded.root)),
    )
    assert done.stderr == "0\n"
    piped = subprocess.run(
        f"({sys.executable} -m Agent tail -n 99999 --json; echo $? >&2) | head -2",
        shell=True,
        capture_output=True,
        text=True,
        env=child_environment(AGENT_TRACE_ROOT=str(recorded.root)),
    )
    assert piped.stdout.splitlines() == done.stdout.splitlines()[:2]
    assert piped.stderr == "0\n"


@pytest.mark.integration
def test_on_a_terminal_agents_have_colours_and_lines_fit(recorded):
    control, terminal = pty.openpty()
    tail = start_tail(
        "-n", "60", stdout=terminal, AGENT_TRACE_ROOT=str(recorded.root), COLUMNS="90", TERM="xterm-256color"
    )
    os.close(terminal)
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([control], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(control, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    assert tail.wait(timeout=20) == 0
    tail.stderr.close()
    os.close(control)
    lines = seen.decode().splitlines()
    assert len(lines) == 60
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert max(map(len, plain)) <= 90
    colours = {}
    for line, words in zip(lines, plain, strict=True):
        found = re.search(r"\x1b\[38;5;(\d+)m  ([^\s\x1b]+)", line)
        if found:
            colours.setdefault(found[2], set()).add(found[1])
            assert found[2] in words
    assert colours and all(len(each) == 1 for each in colours.values())
    assert len({next(iter(each)) for each in colours.values()}) > 1


@pytest.mark.first_case
@pytest.mark.parametrize("width", range(20, 121))
def test_a_line_fits_into_any_terminal_and_says_when_and_what(width, recorded):
    for event in islice(TreeReader(find_session(recorded.root, "last")).events(), 40):
        for with_agent in (True, False):
            line = event_line(event, width=width, with_agent=with_agent)
            assert display_width(line) <= width
            assert line.startswith(event.timestamp[11:19])
            assert (event.message or event.kind)[:4] in line


def test_a_cursor_that_cannot_be_kept_is_refused_before_anything_is_shown(ask):
    done = ask("tail", "--cursor", "nowhere/place.json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no such directory (nowhere); create it: mkdir -p nowhere" in done.stderr


def test_the_session_or_one_agent_of_it_is_an_argument(ask, recorded):
    last = ids(ask("tail", "-n", "3", "-a", AGENT, "--json").stdout)
    for run in (f"last/{AGENT}", f"{recorded.session_id}/{AGENT}"):
        assert ids(ask("tail", run, "-n", "3", "--json").stdout) == last
    assert ids(ask("tail", recorded.session_id, "-n", "3", "--json").stdout) != last
    assert ask("tail", "no-such-session").returncode == 3
