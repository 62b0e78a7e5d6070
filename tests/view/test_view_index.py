"""The index: the events that a reader finds, kept on disk, continued, and made again where files changed."""

from __future__ import annotations

import json
import os
import random
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known_truth import make_session
from support.session_files import session_events
from view_kit import SESSION, Slow, record, viewed

from Agent.archive import open_reader, seal
from Agent.archive.erase import erase, target_of
from Agent.errors import EventNotFound, InputError
from Agent.event.codec import decode_line
from Agent.tree.layout import view_dir
from Agent.view import SessionView
from Agent.view.index import merging, stored
from Agent.view.index.columns import ColumnMemory, Index, RowBatch, Tables
from Agent.view.index.gathering import RowReader, add_event, is_built
from Agent.view.index.merging import merged


def ids(view: SessionView) -> list[str]:
    """The ids of all events, in the order of the index."""
    found: list[str] = []
    while True:
        last = len(found)
        index = view._snapshot.index
        found = [index.id_of(row) for row in range(index.count)]
        if len(found) >= last:
            return found


def same_as_reader(view: SessionView, session: Path) -> None:
    wanted = [event.id for event in open_reader(session).events()]
    assert ids(view) == wanted
    some = random.Random(1).sample(range(len(wanted)), min(len(wanted), 40))
    assert [event.id for event in view._snapshot.lines.events(view._snapshot.index, some)] == [
        wanted[n] for n in some
    ]
    losses = open_reader(session).losses()
    looked(view, lambda view: view.overview()["lost"] == losses.total_lost)
    assert (
        view._snapshot.lines.gatherer.damaged + view._snapshot.lines.gatherer.repeated == losses.damaged_lines
    )


def looked(view: SessionView, until, timeout_s: float = 10.0) -> None:
    """Ask until the view has looked at the files again."""
    end = time.monotonic() + timeout_s
    while not until(view):
        assert time.monotonic() < end, "it was not seen in time"
        view._checked_s = 0.0
        view.counters(t=0)
        time.sleep(0.02)


def rewritten(session: Path, name: str, change) -> Path:
    """Change the bytes of an agent's file."""
    path = session / "agents" / f"{name}.log"
    path.write_bytes(change(path.read_bytes()))
    return path


# both ways of reading a line

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = (
    "timestamp", "id", "schema_version", "session_id", "level", "logger", "message", "run_id", "span_id",
    "parent_span_id", "causes", "tick", "hlc", "extra", "code", "state", "types", "type", "new",
)  # fmt: skip
_EXTRA = (
    "event_type", "agent_id", "agent_role", "duration_ms", "error_id", "direction", "message_id", "sender",
    "recipient", "count", "duration_s", "new",
)  # fmt: skip


def _event() -> dict:
    return {
        "timestamp": "2026-11-25T00:44:21.197379Z", "id": "zbhjqsd3-21408", "schema_version": 1, "session_id": "s",
        "level": "INFO", "logger": "agent", "message": "m", "span_id": "97fa", "parent_span_id": "98", "causes": ["zbhjqsd3-7"],
        "tick": 76, "extra": {"agent_id": "a", "agent_role": "r", "event_type": "agent_message", "direction": "sent",
        "message_id": "m1", "sender": "a", "recipient": "b", "duration_ms": 1.5}, "state": {"set": {"x": 1}},
    }  # fmt: skip


_LINES = st.builds(
    lambda kind, stamp, event_id, level, keys, extra, state, dropped: (
        {
            key: value
            for key, value in (
                _event()
                | {"timestamp": stamp, "id": event_id, "level": level, "state": state, **keys}
                | {"extra": {**_event()["extra"], "event_type": kind, **extra}}
            ).items()
            if key not in dropped
        }
    ),
    kind=st.sampled_from(["error", "state", "state_change", "checkpoint", "metric", "log", "agent_action", "new", "agent_message",
                          "log.closed", "episode"]),
    stamp=st.just("2026-11-25T00:44:21.197379Z")
    | st.sampled_from(["2026-02-30T00:44:21.197379Z", "2026-11-25T00:44:21.19737٣Z", "0001-01-01T00:00:00.000000Z",
                       "2026-11-25 00:44:21.197379Z", "2026-11-25T00:44:21.197379", "2026-11-25T24:44:21.197379Z"]),
    event_id=st.just("zbhjqsd3-21408")
    | st.sampled_from(["zbhjqsd3-0", "zbhjqsd3-01", "zbhjqsd3-", "zbhjqsd-12", "zbhj-sd3-12", "zbhjqsd3-1234567890123456789"]),
    level=st.sampled_from(["INFO", "ERROR", "CRITICAL", "WARNING", "odd"]),
    keys=st.dictionaries(st.sampled_from(_KEYS), _values, max_size=2),
    extra=st.dictionaries(st.sampled_from(_EXTRA), _values | st.sampled_from(["1.5", 'é"', 10**30, 1e16]), max_size=3),
    state=st.just({"set": {"x": 1}})
    | st.fixed_dictionaries({}, optional={"set": _values, "unset": _values | st.lists(st.text(max_size=3)), "new": _values}),
    dropped=st.sets(st.sampled_from(_KEYS[3:]), max_size=3),
)  # fmt: skip


def both_ways(lines: list[bytes]) -> list[int]:
    """Hold that lines make the same rows in both ways; which ones, from 0, were read in C."""
    batch, tables = RowBatch(), Tables()
    block = b"\n".join(lines)
    odd = RowReader(tables).take(batch, block, 3, 99)
    assert [block[begin:end] for _, begin, end in odd] == [lines[number] for number, _, _ in odd]
    left = {number for number, _, _ in odd}
    other, other_tables, offset = RowBatch(), Tables(), 99
    for number, line in enumerate(lines):
        if line and number not in left:
            add_event(other, other_tables, decode_line(line), 3, offset, 0)
        offset += len(line) + 1
    for one, same in zip(batch.all_columns(), other.all_columns(), strict=True):
        assert one == same, block
    assert tables == other_tables
    return [number for number, line in enumerate(lines) if line and number not in left]


@pytest.mark.integration
@pytest.mark.skipif(not is_built(), reason="without a compiler there is one way")
@settings(max_examples=500)
@given(objects=st.lists(_LINES, max_size=4))
def test_both_ways_of_reading_a_line_come_to_the_same_columns(objects):
    both_ways([json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode() for obj in objects])


_PLAIN = json.dumps(_event(), separators=(",", ":"))


@pytest.mark.integration
@pytest.mark.skipif(not is_built(), reason="without a compiler there is one way")
@settings(max_examples=500)
@given(
    at=st.integers(0, len(_PLAIN)),
    length=st.integers(0, 3),
    put=st.text('{}[]",:\\u0eE-+1.n \x00\x1fé\ud800', max_size=4),
)
def test_an_edited_line_is_read_as_the_decoder_reads_it_or_left_to_it(at, length, put):
    edited = (_PLAIN[:at] + put + _PLAIN[at + length :]).encode("utf-8", "surrogatepass")
    both_ways([_PLAIN.encode(), edited.replace(b"\n", b""), b"", _PLAIN.encode()])


@pytest.mark.skipif(not is_built(), reason="without a compiler there is one way")
@pytest.mark.parametrize(
    ("found", "put"),
    [
        ('"tick":76', '"tick":76,"tick":77'),
        ('"tick":76', '"hlc":123456789012345678901234567890'),
        ('"tick":76', '"id":"aaaaaaaa-1"'),
        ('"tick":76', '"new":1e400'),
        ('"tick":76', '"new":' + "9" * 400),
        ('"tick":76', '"new":' + "[" * 253 + "]" * 253),
        ('"sender":"a"', '"duration_ms":9e300'),
        ('"sender":"a"', '"s\\u0065nder":"a"'),
        ('"set":{"x":1}', '"set":{"x":1},"set":3'),
        ('"agent_message"', '"log.closed"'),
        ('"sent"', '"se\\u006et"'),
        ('"message_id":"m1"', '"message_id":5'),
    ],
)
def test_what_is_written_otherwise_is_left_to_the_decoder(found, put):
    line = _PLAIN.replace(found, put)
    assert line != _PLAIN
    assert both_ways([_PLAIN.encode(), line.encode(), _PLAIN.encode()]) == [0, 2]


@pytest.mark.integration
def test_most_lines_are_read_the_short_way(session: Path):
    lines = [line for path in session.rglob("*.log") for line in path.read_bytes().splitlines()]
    if is_built():
        assert len(both_ways(lines)) > 0.9 * len(lines)
    else:
        assert len(RowReader(Tables()).take(RowBatch(), b"\n".join(lines), 0, 0)) == len(lines)


def test_without_a_compiler_the_index_is_the_same(session: Path, monkeypatch):
    with viewed(session) as view:
        before = {name: values.tolist() for name, values in view._snapshot.index.columns.items()}
    stored.remove(session)
    monkeypatch.setattr("Agent.view.index.gathering._Rows", None)
    with viewed(session) as view:
        same_as_reader(view, session)
        after = view._snapshot.index.columns
    assert {name: after[name].tolist() for name in ("t_us", "seq", "flags", "tick", "duration_us")} == {
        name: before[name] for name in ("t_us", "seq", "flags", "tick", "duration_us")
    }


@given(cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 99))
def test_an_index_in_parts_is_the_index_of_all(cuts, seed):
    chance = random.Random(seed)
    events = []
    for number in range(60):
        event = _event() | {
            "id": f"zbhjqsd{chance.choice('abc')}-{chance.randrange(40)}",
            "tick": chance.choice([None, 5, 2**40]),
        }
        event["timestamp"] = f"2026-11-25T00:44:21.{chance.randrange(30):06}Z"
        if event["tick"] is None:
            del event["tick"]
        events.append(json.dumps(event).encode())
    tables = Tables()

    def batch(lines):
        made = RowBatch()
        for line in lines:
            add_event(made, tables, decode_line(line), 0, 0, 0)
        return made

    whole, repeated = merged(None, [batch(events)], tables)
    index, again, last = None, 0, 0
    for cut in [*sorted(cuts), 60]:
        index, left = merged(index, [batch(events[last:cut])], tables)
        again, last = again + left, cut
    assert again == repeated
    for name, values in whole.columns.items():
        assert values.tolist() == index.columns[name].tolist(), name
    assert [whole.messages["row"].tolist(), whole.links["row"].tolist()] == [
        index.messages["row"].tolist(), index.links["row"].tolist(),
    ]  # fmt: skip
    keys = {whole.id_of(row) for row in range(whole.count)}
    assert len(keys) == whole.count and all(whole.row_of(*_parts(each)) is not None for each in keys)


def _parts(event_id):
    writer, _, seq = event_id.rpartition("-")
    return writer, int(seq)


# the files


def test_the_index_has_the_events_that_a_reader_finds(session: Path):
    with viewed(session) as view:
        same_as_reader(view, session)


def test_damaged_lines_are_left_out_and_an_event_after_a_torn_line_is_kept(session: Path):
    def torn(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        lines[3] = b"no JSON at all\n"
        lines[6] = lines[6][:40] + lines[7]  # a torn line, and the next event behind it
        del lines[7]
        lines[9] = lines[9].replace(b'"tick":', b'"tick":"x",')
        return b"".join([*lines, lines[12], b"\xff\xfe\n", b'{"timestamp":"2026'])

    rewritten(session, "ada", torn)
    with viewed(session) as view:
        same_as_reader(view, session)
        assert view._snapshot.lines.gatherer.damaged >= 4
        assert view.overview()["lost"] > 0


@pytest.mark.further
def test_a_last_line_without_a_newline_counts_once_its_writer_has_ended(trace_root: Path):
    make_session(trace_root, events=600, agents=5)
    (session,) = trace_root.glob("session_*/")
    path = max((session / "agents").glob("*.log"))
    path.write_bytes(path.read_bytes()[:-1])
    with viewed(session) as view:
        same_as_reader(view, session)
        looked(view, lambda view: True)
    with viewed(session) as view:
        same_as_reader(view, session)


@pytest.mark.further
def test_a_killed_session_says_so_and_names_the_span_that_was_open(trace_root: Path):
    make_session(trace_root, events=600, agents=5)
    (session,) = trace_root.glob("session_*/")
    with viewed(session) as view:
        assert view.overview()["status"] == "ended"
        description = session / "session.json"
        stored_ = json.loads(description.read_bytes())
        description.write_text(json.dumps(stored_ | {"ended_at": None}))
        assert view.overview()["status"] == "killed"
        description.unlink()
        assert view.overview()["status"] == "unknown" and view.overview()["program"] is None


def test_appended_lines_are_seen_and_lanes_stay_where_they_are(session: Path):
    path = session / "agents" / "ada.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]))
    with viewed(session) as view:
        before, lanes = ids(view), [lane["agent"] for lane in view.overview()["lanes"]]
        state = view.state(agent="ada", t=view.overview()["length_us"])
        with path.open("ab") as file:
            file.write(b"".join(lines[20:-1]) + lines[-1][:30])
        looked(view, lambda view: len(ids(view)) == len(before) + len(lines) - 21)
        with path.open("ab") as file:
            file.write(lines[-1][30:])
        looked(view, lambda view: len(ids(view)) == len(before) + len(lines) - 20)
        same_as_reader(view, session)
        assert [lane["agent"] for lane in view.overview()["lanes"]] == lanes
        with viewed(session) as other:
            end = other.overview()["length_us"]
            assert view.state(agent="ada", t=end) == other.state(agent="ada", t=end) != state


def test_a_rolled_file_is_found_under_its_new_name(session: Path):
    with viewed(session) as view:
        path = session / "agents" / "bob.log"
        path.rename(path.with_name("bob.1.log"))
        (event,) = view.events(q='"agent_id":"bob"', limit=1, kind="decision")["events"]
        assert view.event(event["id"])["event"]["extra"]["agent_id"] == "bob"
    with viewed(session) as view:
        same_as_reader(view, session)


def test_a_file_that_was_rewritten_makes_the_index_again(session: Path):
    with viewed(session) as view:
        count = len(ids(view))
        path = rewritten(session, "ada", lambda data: b"".join(data.splitlines(keepends=True)[::2]))
        with pytest.raises(EventNotFound, match="not where it was"):
            view.events(lanes=[0], limit=200)
        looked(view, lambda view: len(ids(view)) < count)
        same_as_reader(view, session)
        assert view.events(q='"agent_id":"ada"')["events"]
        path.unlink()
        looked(view, lambda view: "ada" not in [lane["agent"] for lane in view.overview()["lanes"]])
        same_as_reader(view, session)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "agent",
    ["../../etc/passwd", "<script>alert(1)</script>", SESSION, "a\x00b\x1b[31m", "1" * 5_000, " ", "ä" * 300],
)
def test_hostile_names_of_agents_are_names(trace_root: Path, agent):
    session = record(trace_root, names=(agent, "bob"), steps=3)
    with viewed(session) as view:
        same_as_reader(view, session)
        slow, names = Slow(session), [lane["agent"] for lane in view.overview()["lanes"]]
        recorded = {event["extra"].get("agent_id") for event in slow.events}
        assert set(names) == {name if name is not None else SESSION for name in recorded}
        (name,) = recorded - {None, "bob"}
        told = view.state(agent=name, t=slow.length_us)["fields"][0]
        assert told["is_cut"] if len(name) > 2_000 else json.loads(told["value"]) == name
        assert view.why(agent=name, field="posts", t=slow.length_us)["changes"]
        assert all(each["text"].isprintable() for each in view.events()["events"])
    with viewed(session) as view:
        assert [lane["agent"] for lane in view.overview()["lanes"]] == names


# sealed sessions


@pytest.mark.further
def test_a_sealed_session_has_the_same_answers(session: Path):
    with viewed(session) as view:
        before = ids(view)
        end = view.overview()["length_us"]
        answers = [_answers(view, end), view.window(t0=0, t1=end, px=50, sum_lanes=True)]
        seal(session, remove=True)
        assert not list(session.glob("agents/*.log"))
        looked(view, lambda view: view._snapshot.lines.gatherer.sources[0].inode is None)
        assert ids(view) == before
        assert [_answers(view, end), view.window(t0=0, t1=end, px=50, sum_lanes=True)] == answers
    with viewed(session) as view:
        same_as_reader(view, session)
        assert [_answers(view, end), view.window(t0=0, t1=end, px=50, sum_lanes=True)] == answers


def _answers(view, end):
    events = view.events(q="ümläut")
    return [
        events, view.state(agent="ada", t=end / 2), view.why(agent="ada", field="posts", t=end),
        view.series(agent="bob", field="posts"), view.event(events["events"][0]["id"]),
    ]  # fmt: skip


# on disk


def test_the_index_is_stored_for_its_owner_alone_and_read_again(session: Path, monkeypatch):
    with viewed(session) as view:
        before = ids(view)
        end = view.overview()["length_us"]
        state = view.state(agent="ada", t=end)
    directory = view_dir(session)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()] == [0o600]
    reads = []
    monkeypatch.setattr(RowReader, "take", lambda *_: reads.append(1))
    with viewed(session) as view:
        assert ids(view) == before and not reads
        assert view.state(agent="ada", t=end) == state
        assert (
            isinstance(view._snapshot.index.t_us.base, object) and not view._snapshot.index.t_us.flags.owndata
        )


def test_only_appended_lines_are_read_after_the_index_was_stored(session: Path, monkeypatch):
    path = session / "agents" / "ada.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]))
    with viewed(session):
        pass
    path.write_bytes(b"".join(lines))
    seen: list[bytes] = []
    take = RowReader.take
    monkeypatch.setattr(
        RowReader, "take", lambda self, batch, block, *at: seen.append(block) or take(self, batch, block, *at)
    )
    with viewed(session) as view:
        same_as_reader(view, session)
    assert b"".join(seen) == b"".join(lines[20:])


def test_the_index_moves_with_a_copy_of_the_session(session: Path, tmp_path: Path, monkeypatch):
    import shutil

    with viewed(session) as view:
        before = ids(view)
    copy = tmp_path / "elsewhere" / session.name
    shutil.copytree(session, copy)
    monkeypatch.setattr(RowReader, "take", lambda *_: pytest.fail("lines were read again"))
    with viewed(copy) as view:
        assert ids(view) == before
        assert view.events(limit=3)["events"]


@pytest.mark.first_case
@pytest.mark.parametrize("place", [0, 10, 24, 28, 40, 200, -100, -1])
def test_a_damaged_index_is_made_again(session: Path, place):
    with viewed(session) as view:
        before = ids(view)
    path = stored.index_file(session)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x41
    path.write_bytes(bytes(data))
    assert stored.load(session) is None
    with viewed(session) as view:
        assert ids(view) == before
    assert stored.load(session) is not None
    for part in (b"", bytes(data[:20]), bytes(data[:500])):
        path.write_bytes(part)
        assert stored.load(session) is None


def test_an_index_that_names_what_is_not_there_is_refused(session: Path):
    with viewed(session) as view:
        index, state = view._snapshot.index, view._snapshot.lines.gatherer.state()
        before = ids(view)
    for name, wrong in (("agent", 200), ("kind", 250), ("writer", 99), ("file", 240)):
        columns = dict(index.columns)
        columns[name] = np.full(index.count, wrong, np.uint8)
        forged = type(index)(dict(index.columns), index.messages, index.links, index.tables, ColumnMemory())
        forged.columns = columns
        assert stored.store(session, forged, state)
        assert stored.load(session) is None, name
    with viewed(session) as view:
        assert ids(view) == before


def test_a_tree_that_cannot_be_written_is_shown_from_memory(session: Path):
    view_dir(session).write_text("a file where the directory would be")
    with viewed(session) as view:
        same_as_reader(view, session)
    assert view_dir(session).read_text() == "a file where the directory would be"
    if os.geteuid() != 0:
        view_dir(session).unlink()
        (session / ".state").chmod(0o500)
        try:
            with viewed(session) as view:
                same_as_reader(view, session)
        finally:
            (session / ".state").chmod(0o700)


def test_erase_removes_the_index_and_an_open_view_forgets(session: Path, trace_root: Path):
    with viewed(session) as view:
        assert stored.index_file(session).exists()
        assert erase(trace_root, target_of(agent="cy_10")).proof.clean
        assert not view_dir(session).exists()
        looked(view, lambda view: "cy_10" not in json.dumps(view.overview()))
        same_as_reader(view, session)
    assert stored.index_file(session).exists()


@pytest.mark.further
def test_a_view_may_be_asked_from_many_threads_while_it_is_built(trace_root: Path):
    make_session(trace_root, events=12_000, agents=20)
    (session,) = trace_root.glob("session_*/")
    view = SessionView(session)
    wrong: list[BaseException] = []
    events: list[int] = []

    def ask() -> None:
        try:
            while not view.wait(0):
                told = view.overview()
                events.append(told["events"])
                assert told["state"] in ("building", "ready") and 0 <= told["progress"] <= 1
                assert sum(lane["events"] for lane in told["lanes"]) == told["events"]
                view.window(t0=0, t1=told["length_us"], px=20)
                view.events(limit=5)
                view.counters(t=told["length_us"])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert view.wait(30) and not wrong
    assert view.overview()["events"] == len(session_events(session))
    view.close()
    assert view.overview()["state"] == "ready"


def test_a_session_that_cannot_be_read_says_so_at_every_question(session: Path):
    seal(session, remove=True)
    (part,) = session.glob("archive/*.parquet")
    part.write_bytes(part.read_bytes()[:200])
    with viewed(session) as view:
        for ask in (view.overview, lambda: view.counters(t=0), lambda: view.events()):
            with pytest.raises(InputError):
                ask()


@pytest.mark.further
def test_a_view_that_is_closed_while_it_is_built_leaves_no_file_behind(trace_root: Path):
    make_session(trace_root, events=12_000, agents=20, sealed=True)
    (session,) = trace_root.glob("session_*/")
    view = SessionView(session)
    while not view._snapshot.index.count and not view.wait(0):
        time.sleep(0.001)
    view.close()
    assert not view._thread.is_alive()
    left = [path.name for path in view_dir(session).glob("*")] if view_dir(session).exists() else []
    assert not [name for name in left if name.startswith(".")]


def test_a_look_that_fails_midway_loses_no_event(session: Path, monkeypatch):
    from Agent.view.index.gathering import Gatherer

    path = session / "agents" / "ada.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:10]))
    with viewed(session) as view:
        read_on = Gatherer.read_on

        def failing(gatherer):
            yield from read_on(gatherer)
            raise OSError(5, "Input/output error", str(path))

        monkeypatch.setattr(Gatherer, "read_on", failing)
        with path.open("ab") as file:
            file.write(b"".join(lines[10:]))
        with pytest.raises(InputError, match="Input/output error"):
            looked(view, lambda view: False)
        monkeypatch.undo()
        end = time.monotonic() + 10
        while view._failure is not None and time.monotonic() < end:
            view._checked_s = 0.0
            view._wake.set()
            time.sleep(0.02)
        same_as_reader(view, session)


def test_a_stored_state_of_another_version_is_not_continued(session: Path):
    with viewed(session) as view:
        index, state, before = view._snapshot.index, view._snapshot.lines.gatherer.state(), ids(view)
    for wrong in (
        {"files": [{}]},
        {"archive": None},
        {"lines": {"tag": "zz"}},
        {"sources": [["a", True]] * 9},
        {"damaged": "x"},
    ):
        assert stored.store(session, index, state | wrong)
        with viewed(session) as view:
            assert ids(view) == before, wrong


def test_an_unforeseen_failure_is_said_at_every_question(session: Path, monkeypatch):
    monkeypatch.setattr("Agent.view.session_view.load", lambda _: 1 / 0)
    with viewed(session) as view, pytest.raises(InputError, match="ZeroDivisionError"):
        view.overview()


def _random_batch(chance: random.Random, count: int, t: int, seq: int, widest: int, agents: int) -> RowBatch:
    batch = RowBatch()
    for number in range(count):
        flags = chance.choice([0, 1, 4, 16, 32])
        row = {
            "t_us": t + number * 5 + chance.randrange(8),
            "writer": chance.randrange(2),
            "seq": seq + number,
            "tick": -(2**63) if chance.random() < 0.3 else chance.randrange(widest),
            "file": 0,
            "offset": chance.randrange(widest),
            "span": number,
            "parent": number,
            "agent": chance.randrange(1, agents),
            "kind": 0,
            "flags": flags,
            "duration_us": chance.random(),
        }
        for name, value in row.items():
            batch.columns[name].append(value)
        if flags >= 16:
            for name, value in (("place", number), ("key", chance.randrange(9_999)), ("party", -1)):
                batch.messages[name].append(value)
        if flags == 1:
            batch.links["place"].append(number)
            batch.links["key"].append(chance.randrange(2**32))
    return batch


def _grown_index(
    seed: int, monkeypatch: pytest.MonkeyPatch, *, by_tail: bool, memory: ColumnMemory | None = None
) -> tuple[Index, int, set[int]]:
    chance, tables, index, used = random.Random(seed), Tables(), None, 0
    settled_rows = set()
    for name in "ab":
        tables.writers[name]
    for number in range(9):
        tables.agents[f"agent_{number}"]
    settled = merging._settled
    if not by_tail:
        monkeypatch.setattr(merging, "_settled", lambda *_: 0)
    t = seq = 0
    for turn in range(25):
        count = 6_000 if turn == 0 else chance.randrange(1, 300)
        batch = _random_batch(
            chance, count, 10**15 + t, seq, chance.choice([200, 2**20, 2**33]), len(tables.agents.texts)
        )
        used += index is not None and settled(index, [batch], 2) > 0
        before, seen = index, None if index is None else index.t_us.tolist()
        index, _ = merged(index, [batch], tables, memory)
        settled_rows.add(index.settled.count)
        if turn % 4 == 1 and by_tail:  # what is known is continued, too
            index.messages_before(index.count)
            index.numbers()
        assert before is None or before.t_us.tolist() == seen, "an index never changes"
        t, seq = t + count * 5 + chance.choice([-20, 0, 20]), seq + count - chance.choice([0, 0, 0, 2])
        if turn % 3 == 0:
            tables.agents[f"late_{turn}"]
    monkeypatch.undo()
    return index, used, settled_rows


@pytest.mark.first_case
@pytest.mark.parametrize("margin", [40, 16_384])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.integration) for seed in range(1, 6))]
)
def test_an_index_that_grows_at_its_end_is_the_one_that_is_sorted_as_a_whole(
    seed, margin, monkeypatch, tmp_path
):
    (tmp_path / ".state").mkdir()
    whole, _, _ = _grown_index(seed, monkeypatch, by_tail=False)
    monkeypatch.setattr("Agent.view.index.columns.MARGIN", margin)
    monkeypatch.setattr("Agent.view.index.columns.MOST_UNSETTLED", 5 * margin)
    monkeypatch.setattr("Agent.view.index.columns.GROWTH", 10_000)
    monkeypatch.setattr("Agent.view.index.columns._SMALL_BYTES", 1)
    grown, used, settled_rows = _grown_index(seed, monkeypatch, by_tail=True, memory=ColumnMemory(tmp_path))
    assert used > 5
    assert (tmp_path / ".state" / "view").is_dir() and not list((tmp_path / ".state" / "view").iterdir())
    if margin == 40:
        assert len(settled_rows) > 5, "what is settled is continued"
    assert grown.errors.tolist() == whole.errors.tolist()
    assert grown.ticks[1].tolist() == whole.ticks[1].tolist()
    for row in range(0, whole.count, 7):
        assert grown.row_of(*_parts(whole.id_of(row))) == row
        assert grown.messages_before(row) == whole.messages_before(row)
    numbers = [
        {name: list(each.ranges()) for name, each in index.numbers().items()} for index in (grown, whole)
    ]
    assert numbers[0] == numbers[1]
    assert grown.count == whole.count and grown.ticks[0].tolist() == whole.ticks[0].tolist()
    assert all(np.array_equal(grown.rows_of(agent), whole.rows_of(agent)) for agent in range(whole.agents))
    for kind in ("columns", "messages", "links"):
        for name, values in getattr(whole, kind).items():
            found = getattr(grown, kind)[name]
            if name == "tick":
                found, values = (
                    [None if each == index.no_tick else each for each in index.tick.tolist()]
                    for index in (grown, whole)
                )
                assert found == values
            else:
                assert np.array_equal(found, values), name
