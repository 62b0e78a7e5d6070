"""Long lines: those of events cost each command what reading them costs, longer ones are read over and counted."""

import json
import signal
import tracemalloc
from contextlib import contextmanager

import pytest
from support.commands import ASKED, words_of
from support.session_files import only_session, session_directories

from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action
from Agent.archive import chain_check, recover
from Agent.archive.erase import files as erase_files
from Agent.archive.sealed import part_file
from Agent.cli import render
from Agent.cli.commands import tail
from Agent.cli.event_lines import event_line
from Agent.render import layout
from Agent.replay.diff.run_side import Meter, SeekableLog, Unseekable, number_of
from Agent.tree.files import lines
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader

LIMIT_BYTES = 256 * 1024
LONG_BYTES = 8 * 1024 * 1024


@pytest.fixture
def session(trace_root):
    """Events before and behind two long lines, one of which looks like an event, and a long torn one."""
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("a", "r")
    for number in range(30):
        logger.log_action("x", {"n": number})
    shutdown_logging()
    session = only_session(trace_root)
    path = session / "agents" / "a.log"
    whole = path.read_bytes().splitlines(keepends=True)
    event = json.loads(whole[0])
    event["extra"]["text"] = "x" * LONG_BYTES
    event["id"] = event["id"].partition("-")[0] + "-1000"
    long_event = json.dumps(event, separators=(",", ":")).encode() + b"\n"
    path.write_bytes(
        b"".join([*whole[:10], long_event, b"y" * LONG_BYTES + b"\n", *whole[10:], b"z" * LONG_BYTES])
    )
    return session


@pytest.fixture
def limited(monkeypatch):
    for module in (lines, tail, chain_check, recover, part_file, erase_files):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", LIMIT_BYTES)


@pytest.mark.further
def test_commands_read_over_long_lines_in_little_memory(session, limited, run, trace_root):
    asked = [("tail", "-n", "50"), ("verify",), ("journey", "a"), ("sessions",)]
    for words in asked:
        run(*words, AGENT_TRACE_ROOT=str(trace_root.parent / "none"))  # loads what the command needs
        tracemalloc.start()
        try:
            done = run(*words, AGENT_TRACE_ROOT=str(trace_root))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert done.returncode in {0, 1}, done.stderr
        assert peak_bytes < LONG_BYTES // 2, words
    assert "2 damaged lines were skipped" in run("journey", "a", AGENT_TRACE_ROOT=str(trace_root)).stderr
    shown = run("tail", "--json", "-n", "50", AGENT_TRACE_ROOT=str(trace_root))
    assert sum("Agent action" in line for line in shown.stdout.splitlines()) == 30
    found = json.loads(run("verify", "--json", AGENT_TRACE_ROOT=str(trace_root)).stdout)
    assert found["damaged_lines"] == 2 and found["lost"] == 0
    assert found["chain"]["edits"], found["chain"]
    assert run("recover", AGENT_TRACE_ROOT=str(trace_root)).returncode == 0
    assert json.loads(run("verify", "--json", AGENT_TRACE_ROOT=str(trace_root)).stdout)["torn_tails"] == 1


def test_a_long_line_is_refused_where_files_are_sealed(session, limited, run, trace_root):
    done = run("seal", AGENT_TRACE_ROOT=str(trace_root))
    assert done.returncode == 3 and "which no event is" in done.stderr, done.stderr


def test_offsets_behind_a_long_line_are_those_of_the_file(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n" + b"y" * 1000 + b"\n" + b"two\n\n" + b"z" * 300)
    data, status = path.read_bytes(), path.stat()
    for chunk_bytes in (7, 64, 5000):
        found = list(
            lines.read_lines(
                path, (status.st_dev, status.st_ino), chunk_bytes=chunk_bytes, max_line_bytes=100
            )
        )
        assert [data[raw.offset :][:3] for raw in found] == [b"one", b"yyy", b"two", b"\nzz", b"zzz"]
        sizes = [len(raw.line) + raw.left_out_bytes for raw in found]
        assert sizes == [3, 1000, 3, 0, 300]
        assert [raw.complete for raw in found] == [True] * 4 + [False]


def test_a_follower_passes_an_event_longer_than_it_reads_at_once(session):
    follower = Follower(session)
    seen = []
    for _ in range(100):
        seen += [event.seq for event in follower.poll()]
        if not follower.behind:
            break
    assert not follower.behind
    assert 1000 in seen and max(seq for seq in seen if seq != 1000) > 30
    assert follower.damaged_lines == 1


TEXT_BYTES = 1024 * 1024
CPU_LIMIT_S = 10
PEAK_BYTES = 40 * 2 * TEXT_BYTES
"""A line holds its text twice, and `orjson` alone asks for 13 times what it reads; `diff` holds two lines."""


class Agent:
    def __init__(self, agent_id):
        self.agent_id, self.total = agent_id, 0

    @trace_agent_action()
    def act(self):
        self.total += 1


class TooSlow(BaseException):
    """A command took more processor time than reading its lines a few times does."""


@contextmanager
def limited_cpu(words):
    def stop(number, frame):
        raise TooSlow(words)

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture
def long_events(trace_root):
    """Two sessions with long texts in their events, one more in each of a kind that is slow to show."""
    texts = ("x" * TEXT_BYTES, "\u4e2d\u0301" * (TEXT_BYTES // 5), "\u202e\x07" * (TEXT_BYTES // 9))
    for last in (1, 2):
        setup_logging(trace_root=trace_root)
        Agent("a").act()
        logger = AgentLogger("a", "r")
        for number in range(30):
            logger.log_action("x", {"n": number if number < 29 else last})
        shutdown_logging()
        path = session_directories(trace_root)[-1] / "agents" / "a.log"
        whole = path.read_bytes().splitlines(keepends=True)
        for place, text in enumerate(texts, start=5):
            event = json.loads(whole[place])
            event["extra"]["text"] = event["message"] = text
            whole[place] = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        path.write_bytes(b"".join(whole))
    return session_directories(trace_root)


@pytest.mark.further
def test_every_command_that_reads_takes_long_events_in_their_stride(long_events, run, trace_root):
    event = json.loads((long_events[-1] / "agents" / "a.log").read_bytes().splitlines()[5])["id"]
    one, other = (session.name.removeprefix("session_") for session in long_events)
    for command, row in ASKED.items():
        if row.long is None:
            continue
        asked = [command, *words_of(row.long, EVENT=event, ONE=one, OTHER=other)]
        tracemalloc.start()
        try:
            with limited_cpu(asked):
                done = run(*asked, AGENT_TRACE_ROOT=str(trace_root))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The lines are not those that were written, so nothing is proved.
        assert done.returncode in ({3} if command == "prove" else {0, 1}), (asked, done.stderr)
        assert peak_bytes < PEAK_BYTES, (asked, peak_bytes)


def test_lines_too_long_to_be_sought_among_are_read_once(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * LONG_BYTES + b"\n")
    meter = Meter()
    with pytest.raises(Unseekable, match="longer than 1 MiB"):
        SeekableLog([path], number_of, meter).first_place()
    assert meter.size_bytes < 4 * 1024 * 1024


def test_clipping_looks_at_no_more_of_a_text_than_it_shows(monkeypatch):
    shown = "\u4e2d" * 4 + "…"
    looked = []
    width_of = layout.display_width
    monkeypatch.setattr(layout, "display_width", lambda text: looked.append(len(text)) or width_of(text))
    assert layout.clip("\u4e2d" * 1_000_000, 10) == shown
    assert sum(looked) < 100


def test_a_long_text_of_escapes_is_not_taken_apart_as_a_whole():
    text = "\u202e" * 100_000
    tracemalloc.start()
    try:
        shown = render.clean(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown == "\\u202e" * 100_000
    assert peak_bytes < 4 * len(shown)


@pytest.mark.further
def test_erasing_streams_what_is_longer_than_any_event(session, limited, run, trace_root):
    whole = (session / "agents" / "a.log").read_bytes()
    where = {"AGENT_TRACE_ROOT": str(trace_root)}
    tracemalloc.start()
    try:
        dry = json.loads(run("erase", "--match", "yyyy", "--dry-run", "--json", **where).stdout)
        done = run("erase", "--match", "yyyy", "--yes", "--json", **where)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dry["sessions"][0]["damaged_lines"] == 1
    assert json.loads(done.stdout)["proof"]["clean"], done.stdout
    left = (session / "agents" / "a.log").read_bytes()
    assert left == whole.replace(b"y" * LONG_BYTES + b"\n", b"")
    assert peak_bytes < LONG_BYTES // 2


def test_a_line_that_the_terminal_cuts_says_first_what_a_state_became(trace_root):
    setup_logging(trace_root=trace_root)
    agent = AgentLogger("creator_017", "creator")
    agent.log_state_change({"cooldown_until": 32}, {"cooldown_until": 3634}, trigger="quota")
    shutdown_logging()
    (change,) = (
        event
        for event in TreeReader(only_session(trace_root)).events("creator_017")
        if event.kind == "state_change"
    )
    assert "cooldown_until=3634" in event_line(change, width=80, with_agent=False)
    assert "cooldown_until=3634 old.cooldown_until=32" in event_line(change, width=None, with_agent=False)


def test_trees_of_deeply_nested_calls_take_as_many_bytes_as_their_calls(run, trace_root):
    class Digger:
        agent_id = "d"

        @trace_agent_action("dig")
        def dig(self, depth):
            if depth:
                self.dig(depth - 1)

    setup_logging(trace_root=trace_root)
    Digger().dig(250)
    shutdown_logging()
    for words in (("play", "last/d", "--no-pager"), ("journey", "d", "--tree", "--all")):
        said = run(*words).stdout
        of_calls = [line for line in said.splitlines() if "dig" in line]
        assert len(of_calls) == 251 and len(said) < 251 * 120
        assert "  " * 20 + "[250] d" in said.replace("[250] dig", "[250] d dig"), said[-500:]
