"""Reading a session: in order, with flat memory, and with a defined answer to every damage."""

import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import child_environment
from tree_kit import START_US, Recorder, make_line, make_session, open_descriptors

from Agent.errors import AgentNotFound, SessionNotFound
from Agent.tree import layout
from Agent.tree.layout import agent_files
from Agent.tree.read import reader as merge
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.writer import SessionWriter

W, V = "aaaaaaaa", "bbbbbbbb"


def put(session, name, *lines):
    """Write a file of the record by hand."""
    path = session / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"".join(lines))
    return path


def claim(session, *writers):
    """Claims of writers whose processes have ended."""
    for writer in writers:
        put(session, f".state/writers/{writer}.json", b"{}")


def ids(events):
    return [event.id for event in events]


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SessionNotFound):
        TreeReader(tmp_path / "nothing")


def test_a_session_without_a_line_has_no_events(session):
    reader = TreeReader(session)
    assert (list(reader.events()), reader.agents(), reader.files(), reader.damage()) == ([], [], [], [])
    assert reader.losses().writers == ()


def test_events_of_many_files_come_in_the_order_of_time_writer_and_number(session):
    put(session, "agents/a.1.log", make_line(W, 1, us=START_US), make_line(W, 3, us=START_US + 20))
    put(session, "agents/a.log", make_line(W, 5, us=START_US + 40))
    put(session, f"agents/a@{V}.log", make_line(V, 2, us=START_US + 20), make_line(V, 1, us=START_US + 30))
    put(session, "learning.log", make_line(W, 2, us=START_US + 10), make_line(W, 4, us=START_US + 20))
    assert ids(TreeReader(session).events()) == [
        f"{W}-1",
        f"{W}-2",
        f"{W}-3",
        f"{W}-4",
        f"{V}-2",
        f"{V}-1",
        f"{W}-5",
    ]


def test_lines_of_threads_that_stand_a_little_out_of_order_are_sorted(session):
    lines = [make_line(W, seq) for seq in range(1, 3001)]
    chance = random.Random(7)
    mixed = sorted(lines, key=lambda line: lines.index(line) + chance.uniform(0, 200))
    assert mixed != lines
    put(session, "agents/creator_001.log", *mixed)
    assert [event.seq for event in TreeReader(session).events()] == list(range(1, 3001))


def test_an_agents_id_is_learned_from_its_events_and_not_from_its_file(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=600))
    for agent_id in ("creator_001", "A/b", "a_b", "", "\N{ROBOT FACE}"):
        for _ in range(5):
            recorder.write(agent_id)
    agents = TreeReader(session).agents()
    assert [agent.agent_id for agent in agents] == sorted(["creator_001", "A/b", "a_b", "", "\N{ROBOT FACE}"])
    for agent in agents:
        assert list(agent.files) == agent_files(session, agent.agent_id)
        assert len(agent.files) > 1


def test_an_agent_whose_first_line_is_damaged_is_still_known(session):
    put(session, "agents/creator_001.log", b"garbage\n", make_line(W, 2))
    assert [agent.agent_id for agent in TreeReader(session).agents()] == ["creator_001"]


def test_one_agents_events_are_read_from_its_files_alone(session, monkeypatch):
    recorder = Recorder(SessionWriter(session))
    for number in range(20):
        recorder.write(f"agent_{number % 4}")
    opened = []
    plain = os.open
    reading = threading.get_ident()

    def note(path, *args, **kwargs):
        if threading.get_ident() == reading:
            opened.append(os.fspath(path))
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", note)
    assert len(list(TreeReader(session).agent_events("agent_2"))) == 5
    assert {Path(path).name for path in opened if path.endswith(".log")} == {"agent_2.log"}


def test_an_agent_that_is_not_there_is_told_before_anything_is_read(session):
    with pytest.raises(AgentNotFound, match="'nobody'"):
        TreeReader(session).agent_events("nobody")
    with pytest.raises(AgentNotFound, match="'nobody'"):
        TreeReader(session).events(agent_id="nobody")


def test_events_can_be_asked_for_by_kind_and_time(session):
    put(
        session,
        "agents/creator_001.log",
        *[make_line(W, seq, kind="reward" if seq % 3 == 0 else "agent_action") for seq in range(1, 31)],
    )
    reader = TreeReader(session)
    assert [event.seq for event in reader.events(kinds=["reward"])] == list(range(3, 31, 3))
    window = reader.events(since_us=START_US + 5, until_us=START_US + 9)
    assert [event.seq for event in window] == [5, 6, 7, 8]
    both = reader.events("creator_001", kinds={"reward"}, since_us=START_US + 6, until_us=START_US + 13)
    assert [event.seq for event in both] == [6, 9, 12]
    assert list(reader.events(kinds=[])) == []


def test_the_events_of_a_category_are_those_of_its_own_file(session):
    recorder = Recorder(SessionWriter(session))
    recorder.write(None, "learning")
    recorder.write("a", "learning")
    assert [event.seq for event in TreeReader(session).category_events("learning")] == [1]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\0\0\0\0\0\0", "JSON"),
        (b"not json at all", "JSON"),
        (b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"aaaaaaaa-9","message":"\xf0\x9f', "JSON"),
        (b"[1,2,3]", "object"),
        (b"null", "object"),
        (b"{}", "schema_version is missing"),
        (b'{"timestamp":"2026-11-20T10:30:45.000000Z","schema_version":1,"extra":{}}', "id is missing"),
        (b'{"timestamp":"x","id":"aaaaaaaa-9","schema_version":1,"extra":{}}', "timestamp"),
        (b'{"timestamp":5,"id":"aaaaaaaa-9","schema_version":1,"extra":{}}', "timestamp is not text"),
        (
            b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"nobody","schema_version":1,"extra":{}}',
            "malformed",
        ),
        (
            b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"aaaaaaaa-9","schema_version":99,"extra":{}}',
            "99",
        ),
        (b"\xff" * 10, "JSON"),
        (make_line(W, 1).strip(), "repeated id aaaaaaaa-1"),
    ],
)
def test_a_damaged_line_is_counted_with_its_place_and_the_rest_is_read(damage, reason, session):
    put(session, "agents/creator_001.log", make_line(W, 1), b"\n", damage, b"\n", make_line(W, 2))
    reader = TreeReader(session)
    assert ids(reader.events()) == [f"{W}-1", f"{W}-2"]
    (found,) = reader.damage()
    assert (found.path.name, found.line_number) == ("creator_001.log", 3)
    assert reason in found.reason
    assert found.text == damage[:200].decode("utf-8", "backslashreplace")
    assert reader.losses().total_read == 2
    # met twice, it is still one
    assert reader.damaged_lines == len(reader.damage()) == 1


def test_a_torn_line_that_swallowed_the_next_gives_it_back(session):
    claim(session, W)
    torn = make_line(W, 2)[:60] + make_line(W, 3)
    put(session, "agents/creator_001.log", make_line(W, 1), torn, make_line(W, 4))
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1, 3, 4]
    assert [damage.line_number for damage in reader.damage()] == [2]
    assert reader.losses().total_read == 3


def test_behind_several_torn_beginnings_only_the_whole_event_is_believed(session):
    claim(session, W)
    put(session, "agents/creator_001.log", make_line(W, 1)[:50] + make_line(W, 2)[:90] + make_line(W, 3))
    assert [event.seq for event in TreeReader(session).events()] == [3]


@pytest.mark.parametrize(
    "line",
    [
        b"torn" + make_line(V, 7),  # of a writer without a claim
        b"torn" + make_line(W, 1),  # of an event that was read already
        b"torn" + make_line(W, 7).strip() + b"more\n",  # not exactly one object
        b'torn{"id":"aaaaaaaa-7"}\n',  # not on the prefix of the record
        make_line(W, 8).strip() + make_line(W, 9)[:70] + b"\n",  # two, of which the last is not whole
    ],
)
def test_what_stands_in_a_damaged_line_is_not_believed_lightly(line, session):
    claim(session, W)
    put(session, "agents/creator_001.log", make_line(W, 1), line)
    reader = TreeReader(session)
    assert ids(reader.events()) == [f"{W}-1"]
    assert len(reader.damage()) == 1


def test_a_payload_that_looks_like_a_line_is_no_line(session):
    claim(session, W)
    inner = make_line(W, 99).decode().strip()
    whole = make_line(W, 1, text=inner)
    put(session, "agents/creator_001.log", whole, whole[:-20] + b"\n")
    assert [event.seq for event in TreeReader(session).events()] == [1]


def test_a_torn_tail_of_a_dead_writer_is_damage_and_a_whole_one_without_newline_is_an_event(session):
    claim(session, W)
    put(session, "agents/a.log", make_line(W, 1), make_line(W, 2)[:77])
    put(session, "agents/b.log", make_line(W, 3), make_line(W, 4).strip())
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1, 3, 4]
    (found,) = reader.damage()
    assert (found.path.name, found.line_number) == ("a.log", 2)
    assert found.reason.startswith("torn")
    losses = reader.losses()
    assert (losses.total_read, losses.total_unknown, losses.damaged_lines) == (3, 1, 1)


@pytest.mark.parametrize("length", [5, 60, 200])
def test_a_torn_tail_of_a_living_writer_is_not_there_yet(length, session):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    path = session / "agents" / "creator_001.log"
    line = make_line(sink.writer, 2)
    with path.open("ab") as file:
        file.write(line[:length])
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1]
    assert reader.losses().damaged_lines == 0
    with path.open("ab") as file:
        file.write(line[length:])
    assert sorted(event.seq for event in reader.events()) == [1, 2]
    assert reader.damage() == []


def test_reading_never_changes_the_session(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=500))
    for _ in range(10):
        recorder.write()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in session.rglob("*")}
    reader = TreeReader(session)
    list(reader.events())
    reader.agents()
    reader.losses()
    reader.in_flight()
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in session.rglob("*")} == before


def test_a_file_that_stands_under_two_names_while_it_is_rolled_is_read_once(session):
    recorder = Recorder(SessionWriter(session))
    for _ in range(3):
        recorder.write()
    live = session / "agents" / "creator_001.log"
    live.with_name("creator_001.1.log").hardlink_to(live)
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1, 2, 3]
    assert reader.losses().total_read == 3
    assert reader.damage() == []


def test_segments_that_are_rolled_while_they_are_read_are_read_too(session, monkeypatch):
    monkeypatch.setattr(merge, "_MEMORY_BYTES", 1)
    sink = SessionWriter(session, segment_size_bytes=60_000)
    recorder = Recorder(sink)
    for _ in range(200):
        recorder.write()
    events = TreeReader(session).events()
    seen = [next(events).seq]
    for _ in range(1500):
        recorder.write()
    assert len(agent_files(session, "creator_001")) > 4
    seen += [event.seq for event in events]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 200


def test_a_link_or_a_pipe_in_the_tree_is_not_followed(session, tmp_path):
    put(tmp_path, "outside.log", make_line(W, 1))
    (session / "agents" / "link.log").symlink_to(tmp_path / "outside.log")
    os.mkfifo(session / "agents" / "pipe.log")
    put(session, "agents/good.log", make_line(W, 2))
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [2]
    assert reader.losses().total_read == 1
    assert {damage.path.name for damage in reader.damage()} == {"link.log", "pipe.log"}
    assert all(damage.reason.startswith("unreadable") for damage in reader.damage())


def test_a_file_that_may_not_even_be_looked_at_is_told_and_the_rest_is_read(session, monkeypatch):
    hidden = put(session, "agents/hidden.log", make_line(W, 1))
    put(session, "agents/good.log", make_line(W, 2))
    look = Path.lstat

    def refused(path):
        if path == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "lstat", refused)
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [2]
    assert [(damage.path, damage.reason) for damage in reader.damage()] == [(hidden, "unreadable: EACCES")]


def peak_of_reading(session):
    """(events, peak of memory in bytes, most descriptors opened) of reading a session in order."""
    before = open_descriptors()
    most = 0
    tracemalloc.start()
    count = 0
    for _ in TreeReader(session).events():
        count += 1
        if count % 1000 == 0:
            most = max(most, open_descriptors() - before)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, peak_bytes, most


@pytest.mark.integration
def test_memory_stays_flat_and_descriptors_few_whatever_the_size(session, monkeypatch):
    monkeypatch.setattr(merge, "_MEMORY_BYTES", 1_000_000)
    sink = SessionWriter(session, segment_size_bytes=400_000)
    streams = [(f"agent_{n}", sink.open_stream(f"agent_{n}", "agents")) for n in range(20)]

    def grow(turns):
        for _ in range(turns):
            for agent_id, stream in streams:
                lines = [
                    make_line(sink.writer, sink.next_seq(), agent_id=agent_id, text="x" * 3000)
                    for _ in range(10)
                ]
                assert stream.write(b"".join(lines))

    grow(10)
    small_count, small_bytes, _ = peak_of_reading(session)
    grow(30)
    count, peak_bytes, descriptors = peak_of_reading(session)
    assert count == 4 * small_count == 8000
    assert sum(path.stat().st_size for path in TreeReader(session).files()) > 25_000_000
    assert peak_bytes < 1.5 * small_bytes < 10_000_000
    assert descriptors <= 1


def test_a_thousand_damaged_lines_are_kept_and_all_are_counted(session):
    put(session, "agents/a.log", b"x\n" * 1500)
    reader = TreeReader(session)
    assert list(reader.events()) == []
    assert (len(reader.damage()), reader.damaged_lines) == (1000, 1500)


@pytest.mark.process
def test_what_was_in_flight_when_a_process_was_killed_is_told(session):
    program = """
import os, signal, sys
from pathlib import Path
from Agent.tree.write.writer import SessionWriter
sink = SessionWriter(Path(sys.argv[1]))
sink.board.open_span("8f2c11d0a4e96b37", "creator_001", "create_content", 1000)
done = sink.board.open_span("1" * 16, "creator_001", "done", 2000)
sink.board.open_span("2" * 16, "\\N{ROBOT FACE}", "tool", 3000)
sink.board.close_span(done)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(session)], env=child_environment())
    process.wait()
    spans = TreeReader(session).in_flight()
    assert [(span.agent_id, span.name, span.started_us) for span in spans] == [
        ("creator_001", "create_content", 1000),
        ("\N{ROBOT FACE}", "tool", 3000),
    ]
    assert {(span.pid, span.alive) for span in spans} == {(process.pid, False)}
    assert spans[0].span_id == "8f2c11d0a4e96b37"


def test_what_is_open_in_a_living_process_is_told_until_it_ends(session):
    sink = SessionWriter(session)
    slot = sink.board.open_span("8f2c11d0a4e96b37", "a", "act", 1000)
    (span,) = TreeReader(session).in_flight()
    assert (span.alive, span.writer) == (True, sink.writer)
    sink.board.close_span(slot)
    assert TreeReader(session).in_flight() == []
    sink.board.open_span("8f2c11d0a4e96b37", "a", "act", 1000)
    sink.close()
    assert TreeReader(session).in_flight() == []


pieces = st.one_of(
    st.integers(1, 30).map(lambda seq: make_line(W, seq)),
    st.integers(1, 30).map(lambda seq: make_line(V, seq, agent_id="other")),
    st.tuples(st.integers(1, 30), st.integers(0, 250)).map(lambda pair: make_line(W, pair[0])[: pair[1]]),
    st.binary(max_size=40),
    st.just(b"\n"),
    st.just(b"\0" * 8),
)


@given(st.lists(pieces, max_size=25), st.lists(pieces, max_size=25))
def test_any_bytes_are_read_without_an_error_and_no_id_comes_twice(tmp_path_factory, first, second):
    session = make_session(tmp_path_factory.mktemp("root"))
    claim(session, W)
    put(session, "agents/a.log", *first)
    put(session, "system.log", *second)
    reader = TreeReader(session)
    found = ids(reader.events())
    assert len(found) == len(set(found))
    assert sorted(found) == sorted(ids(TreeReader(session).scan()))
    # what stands whole on a line of its own is found
    whole = {
        line.split(b'"id":"')[1].split(b'"')[0].decode()
        for data in (b"".join(first), b"".join(second))
        for line in data.split(b"\n")
        if line.startswith(b'{"timestamp') and line.endswith(b"}}") and line.count(b"timestamp") == 1
    }
    assert whole <= set(found)


@pytest.mark.parametrize("began", ["before", "meanwhile"])
def test_a_writer_that_ends_while_it_is_counted_has_lost_nothing(began, session):
    first = Recorder(SessionWriter(session))
    for agent_id in ("agent_a", "agent_b"):
        first.write(agent_id)
    scan = TreeReader(session).scan()
    met = False
    for event in scan:
        if event.agent_id == "agent_b" and not met:
            met = True
            # behind the pass, which has come to the second file; the end stands in the third
            ending = first if began == "before" else Recorder(SessionWriter(session))
            ending.write("agent_a")
            ending.close()
    assert met
    assert (scan.losses.total_lost, scan.losses.total_unknown) == (0, 0)


def test_files_of_each_agent_are_found_in_one_listing_of_a_directory_that_is_quiet(session, monkeypatch):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    for number in range(50):
        recorder.write(f"agent_{number}")
    recorder.close()
    agents = layout.agents_dir(session)
    scanned = []
    scan = layout.scan
    monkeypatch.setattr(layout, "scan", lambda directory: scanned.append(directory) or scan(directory))
    found = [layout.agent_files(session, f"agent_{number}") for number in range(50)]
    assert len(scanned) == 100, "each listing is made twice, as a file may be renamed meanwhile"
    hour_ago = time.time() - 3600
    os.utime(agents, (hour_ago, hour_ago))
    scanned.clear()
    assert [layout.agent_files(session, f"agent_{number}") for number in range(50)] == found
    assert len(scanned) == 2
    # what changes later is seen: the directory has another time then
    (agents / "agent_50.log").write_bytes(b"")
    (agents / "agent_0.log").unlink()
    assert layout.agent_files(session, "agent_50") == [agents / "agent_50.log"]
    assert layout.agent_files(session, "agent_0") == []
