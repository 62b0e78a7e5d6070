"""Lines that are longer than any event: read over in little memory, and counted."""

import json
import tracemalloc

import pytest
from support.session_files import only_session

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.archive import chain_check, recover
from Agent.archive.sealed import parts
from Agent.cli.commands import tail
from Agent.tree.files import lines
from Agent.tree.read.follower import Follower

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
    for module in (lines, tail, chain_check, recover, parts):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", LIMIT_BYTES)


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
