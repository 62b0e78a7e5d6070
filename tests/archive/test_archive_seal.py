"""Sealing: every byte comes back, nothing is removed too early, and a kill in the middle costs nothing."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.known_truth import FAULTS, make_session
from support.processes import child_environment

from Agent import AgentLogger, LogAnalyzer, health, setup_logging, shutdown_logging
from Agent.archive import open_reader, seal, unseal
from Agent.archive.erase.erasing import erase
from Agent.archive.erase.target import AGENT, Target
from Agent.archive.recover import recover_session
from Agent.archive.sealed.parts import archive_dir, drop_part, read_parts, write_part
from Agent.archive.sealed.reader import ArchiveLines
from Agent.archive.verify import verify
from Agent.cli.main import main
from Agent.errors import DamagedInput, InputError, SessionNotFound, UsageError
from Agent.event.codec import encode_event
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import agents_dir, tree_files
from Agent.tree.read.reader import TreeReader, summarise
from Agent.tree.read.removal_logs import RetiredAccount, write_account


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A session with every fault planted; tests work on copies."""
    return make_session(
        tmp_path_factory.mktemp("seal") / "trace", events=12_000, agents=20, faults=list(FAULTS)
    )


@pytest.fixture
def session(generated, tmp_path):
    return Path(shutil.copytree(generated.session, tmp_path / generated.session.name))


def contents(session):
    """The bytes of every file of the record."""
    return {path.relative_to(session).as_posix(): path.read_bytes() for path in tree_files(session)}


def account(session):
    """What the reader says of a session: its events in order, its damage, its losses, its agents."""
    reader = open_reader(session)
    return {
        "events": list(reader.events()),
        "losses": reader.losses().to_dict(),
        "damage": sorted(
            (str(each.path), each.line_number, each.reason, each.text) for each in reader.damage()
        ),
        "agents": reader.agents(),
        "one": list(reader.agent_events("agent_00003")),
        "interactions": list(reader.category_events("interactions")),
        "early": list(reader.events(until_us=1_795_170_650_000_000)),
    }


def test_every_byte_of_every_file_comes_back(session, tmp_path):
    before = contents(session)
    done = seal(session)
    assert (done.segments, done.damaged) == (len(before), 1)
    unseal(session, tmp_path / "back")
    assert {name: (tmp_path / "back" / name).read_bytes() for name in before} == before
    assert contents(session) == before


def test_the_archive_is_smaller_than_an_eighth_and_private(session):
    done = seal(session)
    assert done.parquet_bytes * 8 < done.json_bytes
    for path in archive_dir(session).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert archive_dir(session).stat().st_mode & 0o777 == 0o700


@pytest.mark.integration
def test_removed_lines_are_read_as_if_they_still_stood_there(session):
    before = account(session)
    seal(session, remove=True)
    assert tree_files(session) == []
    assert account(session) == before


@pytest.mark.integration
def test_some_files_sealed_and_removed_and_others_live_are_one_session(session):
    before, lines = account(session), contents(session)
    seal(session, remove=True)
    unseal(session)
    for part in read_parts(session):
        drop_part(part)
    for path in tree_files(session)[::2]:
        path.rename(path.with_name(f"{path.name}.aside"))
    seal(session, remove=True)
    for path in session.rglob("*.aside"):
        path.rename(path.with_name(path.name.removesuffix(".aside")))
    assert 0 < len(contents(session)) < len(lines)
    assert account(session) == before


@pytest.mark.further
def test_sealing_again_does_nothing_and_a_changed_file_is_sealed_anew(session):
    seal(session)
    again = seal(session)
    assert (again.segments, again.already) == (0, len(tree_files(session)))
    changed = tree_files(session)[-1]
    with changed.open("ab") as file:
        file.write(b'{"torn')
    after = contents(session)
    assert seal(session).damaged >= 1
    unseal(session, session.parent / "back")
    assert (session.parent / "back" / changed.relative_to(session)).read_bytes() == after[
        changed.relative_to(session).as_posix()
    ]


@pytest.mark.integration
def test_small_parts_hold_the_same_as_a_large_one(session):
    before = account(session)
    done = seal(session, remove=True, part_bytes=200_000)
    assert len(done.parts) > 5
    assert account(session) == before


def test_what_a_running_process_writes_is_left_alone_until_it_has_ended(trace_root):
    place = setup_logging(trace_root=trace_root, mirrors=False).path
    logger = AgentLogger("alice", "writer")
    logger.log_action("write", {"n": 1})
    done = seal(place, remove=True)
    assert done.segments == 0
    assert done.waiting.keys() == {"agents/alice.log", "system.log"}
    logger.log_action("write", {"n": 2})
    shutdown_logging()
    done = seal(place, remove=True)
    assert not done.waiting
    assert tree_files(place) == []
    written = [event for event in open_reader(place).agent_events("alice") if event.kind == "agent_action"]
    assert [event.extra["action_data"] for event in written] == [{"n": 1}, {"n": 2}]
    assert open_reader(place).losses().clean


def test_a_session_is_sealed_at_its_end_if_that_is_asked_for(trace_root):
    place = setup_logging(trace_root=trace_root, mirrors=False, seal_at_end=True).path
    AgentLogger("alice", "writer").log_action("write", {"n": 1})
    shutdown_logging()
    assert [part.events for part in read_parts(place)] == [TreeReader(place).losses().total_read]


def test_a_part_that_was_spoiled_is_noticed_before_anything_is_removed(session):
    seal(session)
    part = read_parts(session)[0]
    description = part.directory / f"{part.name}.json"
    stored = orjson.loads(description.read_bytes())
    stored["segments"][0]["digest"] = "0" * 64
    description.write_bytes(orjson.dumps(stored))
    before = contents(session)
    with pytest.raises(DamagedInput, match="does not read back"):
        seal(session, remove=True)
    assert contents(session) == before


@pytest.mark.integration
def test_a_missing_or_foreign_part_is_one_clear_error(session):
    seal(session, remove=True)
    part = read_parts(session)[0]
    part.parquet.rename(part.parquet.with_suffix(".gone"))
    with pytest.raises(DamagedInput, match="is missing"):
        read_parts(session)
    (part.directory / f"{part.name}.json").write_bytes(b"[]")
    with pytest.raises(DamagedInput, match="cannot be read"):
        open_reader(session).losses()


def test_a_description_that_names_another_file_is_refused(session):
    seal(session)
    part = read_parts(session)[0]
    description = part.directory / f"{part.name}.json"
    description.write_bytes(description.read_bytes().replace(b'"part-000001"', b'"../../other"'))
    with pytest.raises(DamagedInput, match="describes"):
        read_parts(session)


def test_no_two_seal_one_session_at_a_time(session):
    import fcntl

    archive_dir(session).mkdir(mode=0o700)
    fd = os.open(archive_dir(session), os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            seal(session)
    finally:
        os.close(fd)


def test_there_is_nothing_to_seal_where_no_session_lies(tmp_path):
    with pytest.raises(SessionNotFound):
        seal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert seal(tmp_path / "empty").segments == 0
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.integration
def test_a_link_among_the_files_is_not_sealed(session, tmp_path):
    (tmp_path / "elsewhere.log").write_bytes(b"secret\n")
    (agents_dir(session) / "link.log").symlink_to(tmp_path / "elsewhere.log")
    seal(session, remove=True)
    assert (agents_dir(session) / "link.log").is_symlink()
    assert all(segment.file != "agents/link.log" for part in read_parts(session) for segment in part.segments)


KILLED = """
import sys
from Agent.archive import seal
seal(sys.argv[1], remove=True, part_bytes=100_000)
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 4, 5))]
)
def test_killed_anywhere_a_session_reads_the_same_and_is_sealed_by_the_next(session, seed):
    before, lines = account(session), contents(session)
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(session)], env=child_environment())
    try:
        program.wait(random.Random(seed).uniform(0.3, 1.8))
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert account(session) == before
    seal(session, remove=True)
    assert tree_files(session) == []
    assert account(session) == before
    unseal(session)
    assert contents(session) == lines
    assert not [path.name for path in archive_dir(session).iterdir() if path.name.startswith(".")]


WHOLE = (
    b'{"timestamp":"2026-11-20T10:30:45.12345%dZ","id":"aaaabbbb-%d","schema_version":1,"session_id":"s",'
    b'"level":"INFO","logger":"l","message":"m","extra":{"agent_id":"a","event_type":"log"}}'
)
ODD_LINES = st.one_of(
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.integers(0, 9).map(lambda n: WHOLE % (n, n)),
    st.integers(0, 9).map(
        lambda n: (WHOLE % (n, n)).replace(b'"message":"m"', '"message":"é\\u0001"'.encode())
    ),
    st.sampled_from(
        [
            b"",
            b"   ",
            b"\r",
            b"\x00",
            b"\x01",
            b"\x02ff",
            b"null",
            b"[1]",
            b'"text"',
            b"{}",
            b'{"a":1} x',
            WHOLE[:60],
            (WHOLE % (3, 3)) + (WHOLE % (4, 4)),
            (WHOLE % (5, 5)).replace(b'"tick"', b'"tick":1.5'),
            (WHOLE % (6, 6)).replace(b',"extra"', b', "extra"'),
            (WHOLE % (7, 7)).replace(b'-7"', b'-007"'),
            (WHOLE % (8, 8)).replace(b'"extra":{', b'"tick":1.5,"extra":{'),
            (WHOLE % (8, 8)).replace(b'"level":"INFO",', b'"unknown":[1],'),
            (WHOLE % (9, 9))[:-1] + b',"x":1}',
            b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"aaaabbbb-11","schema_version":1,"type":"run.started",'
            b'"run_id":"r","agent":"a"}',
        ]
    ),
)


@pytest.mark.integration
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(
        st.tuples(st.lists(ODD_LINES, min_size=1, max_size=8), st.booleans()), min_size=1, max_size=3
    )
)
def test_any_bytes_come_back_and_mean_the_same(files, tmp_path_factory):
    session = tmp_path_factory.mktemp("odd") / "session_20261120_103045"
    agents_dir(session).mkdir(parents=True)
    for number, (lines, ended) in enumerate(files):
        path = agents_dir(session) / f"a{number}.log"
        path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))
    # which of two lines with one id is the event, and which the repetition, is a matter of order
    before, events = contents(session), sorted(event.id for event in open_reader(session).scan())
    live = damaged(session)
    seal(session)
    assert damaged(session) == live
    seal(session, remove=True)
    assert all(not data for data in contents(session).values())
    assert sorted(event.id for event in open_reader(session).scan()) == events
    unseal(session)
    assert contents(session) == before


@pytest.mark.integration
@pytest.mark.parametrize(
    ("byte", "is_damaged"), [(b"x", True), (b"\x00", True), (b" ", False), (b"\n", False)]
)
def test_a_file_of_one_byte_is_damaged_live_as_it_is_sealed(byte, is_damaged, session):
    path = agents_dir(session) / "odd.log"
    path.write_bytes(byte)
    assert damaged(session)[0].get(str(path.resolve()), 0) == is_damaged
    seal(session)
    assert damaged(session)[0].get(str(path.resolve()), 0) == is_damaged


def damaged(session):
    """What the engine counts: damaged lines by file, and every event, its JSON parsed."""
    from Agent.analysis.query.engine import open_engine
    from Agent.analysis.query.views import whole_lines

    engine = open_engine(session)
    try:
        rows = engine.rows(f"SELECT * FROM {whole_lines()}")
        for row in rows:
            row.update((name, json.loads(row[name])) for name in ("extra", "state", "types") if row[name])
        return engine.damaged_lines(), sorted(map(repr, rows))
    finally:
        engine.close()


def one_file(directory, lines):
    session = directory / "session_20261120_103045"
    agents_dir(session).mkdir(parents=True)
    (agents_dir(session) / "a.log").write_bytes(b"".join(line + b"\n" for line in lines))
    return session


def test_lines_of_this_package_are_columns(session):
    assert seal(session).events > 0
    assert sum(part.verbatim for part in read_parts(session)) == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'-1"', b'-01"'),
        (b"2026-11-20T10", b"2026-11-20 10"),
        (b'"logger":"l"', b'"causes":["\\u001b"],"logger":"l"'),
        (b'"extra":{', b'"extra":{,'),
        (b'"event_type":"log"}}', b'"event_type":"log"},"x":{}}'),
        (b'"event_type":"log"}}', b'"event_type":"log"},"state":{"a":1E5}}'),
        (b'"message":"m"', b'"message":"\\u001b[1m"'),
        (b'"message":"m"', b'"message":"\\u001B[1m"'),
        (b'"message":"m"', b'"message":"quote \\" and \\n"'),
        (b'"message":"m"', b'"message":"m\\/"'),
        (b'"message":"m"', '"message":"größer 日本"'.encode()),
        (b'"logger":"l"', b'"logger":"\\"l"'),
        (b'"log"}}', '"log","x":"größer 日本"}}'.encode()),
        (b'"log"}}', b'"log"},"state":{"set":{"a":1e-7,"b":"\\u001b"}},"types":{"/x":"set"}}'),
        (b'"extra":', b'"tick":007,"extra":'),
        (b'"extra":', b'"level":"INFO","extra":'),
    ],
)
def test_a_line_that_is_nearly_ours_comes_back_and_means_the_same(was, becomes, tmp_path):
    line = (WHOLE % (1, 1)).replace(was, becomes)
    assert line != WHOLE % (1, 1)
    session = one_file(tmp_path, [WHOLE % (2, 2), line, WHOLE % (3, 3)])
    before, live = contents(session), damaged(session)
    seal(session, remove=True)
    assert damaged(session) == live
    unseal(session)
    assert contents(session) == before


def test_a_line_that_its_columns_cannot_give_back_is_stored_as_bytes(tmp_path):
    session = one_file(tmp_path, [WHOLE % (1, 1), (WHOLE % (2, 2)).replace(b"20T10", b"20 10")])
    done = seal(session)
    assert (done.events, [part.verbatim for part in read_parts(session)]) == (2, [1])


def test_a_line_that_is_nearly_json_is_damaged(tmp_path):
    done = seal(one_file(tmp_path, [WHOLE % (1, 1), (WHOLE % (2, 2)).replace(b'"extra":{', b'"extra":{,')]))
    assert (done.events, done.damaged) == (1, 1)


@pytest.mark.further
@pytest.mark.parametrize(
    "spoiled",
    [
        "SELECT * FROM ({rows}) ORDER BY line DESC",
        "SELECT * FROM ({rows}) LIMIT 5",
        "SELECT * FROM ({rows}) UNION ALL SELECT * FROM ({rows})",
        "SELECT * REPLACE (line + 1 AS line) FROM ({rows})",
        "SELECT * REPLACE ('agents/b.log' AS file) FROM ({rows})",
        "SELECT * REPLACE (CASE WHEN line = 4 THEN 'other' ELSE message END AS message) FROM ({rows})",
    ],
)
def test_a_part_that_does_not_hold_the_lines_in_their_places_is_refused(spoiled, tmp_path, monkeypatch):
    from Agent.archive.sealed import part_file

    session = one_file(tmp_path, [WHOLE % (number, number) for number in range(1, 9)])
    copy = part_file.copy_statement
    monkeypatch.setattr(
        part_file, "copy_statement", lambda rows, *rest: copy(spoiled.format(rows=rows), *rest)
    )
    with pytest.raises(DamagedInput, match="does not read back"):
        seal(session, remove=True)
    assert read_parts(session) == []
    assert len(contents(session)) == 1
    assert list(archive_dir(session).iterdir()) == []


@pytest.mark.process
def test_what_a_killed_engine_spilled_is_taken_away_once_it_is_old(session):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old, new, ours = (
        session / ".state" / f"spill-{name}"
        for name in (f"{ended.pid}-a", f"{ended.pid}-b", f"{os.getpid()}-c")
    )
    for spill in (old, new, ours):
        spill.mkdir(parents=True)
        (spill / "block.tmp").write_bytes(b"x")
    for spill in (old, ours):
        os.utime(spill, (0, 0))
    seal(session)
    assert [spill.exists() for spill in (old, new, ours)] == [False, True, True]


@pytest.mark.integration
def test_parts_made_side_by_side_hold_what_one_after_another_hold(session, tmp_path):
    other = Path(shutil.copytree(session, tmp_path / "other" / session.name))
    seal(session, part_bytes=200_000)
    seal(other, part_bytes=10**9)
    assert len(read_parts(session)) > 4 > len(read_parts(other))
    assert [part.name for part in read_parts(session)] == [
        f"part-{number:06d}" for number in range(1, 1 + len(read_parts(session)))
    ]
    unseal(session, tmp_path / "one")
    unseal(other, tmp_path / "all")
    assert contents(tmp_path / "one") == contents(tmp_path / "all") == contents(session)


@pytest.mark.further
@pytest.mark.parametrize(("cores", "parts"), [(1, 3), (2, 4), (4, 4)])
def test_parts_are_alike_and_as_many_as_keep_all_cores_busy(session, monkeypatch, cores, parts):
    from Agent.archive.sealed import sealing

    monkeypatch.setattr(sealing, "cores", lambda: cores)
    files = contents(session)
    total, largest = sum(map(len, files.values())), max(map(len, files.values()))
    seal(session, part_bytes=int(total / 2.5))
    sizes = [part.json_bytes for part in read_parts(session)]
    assert len(sizes) == parts
    assert sum(sizes) == total
    assert max(sizes) <= total / parts + largest


@pytest.mark.further
def test_a_part_that_fails_ends_those_beside_it_and_nothing_of_them_is_left(session, monkeypatch):
    from Agent.archive.sealed import sealing

    def fail_at_the_third(connection, group, target, name):
        if target.name == ".part-000003.parquet.new":
            raise DamagedInput("planted")
        return write_rows(connection, group, target, name)

    write_rows = sealing.write_rows
    monkeypatch.setattr(sealing, "write_rows", fail_at_the_third)
    with pytest.raises(DamagedInput, match="planted"):
        seal(session, part_bytes=100_000)
    assert not [path.name for path in archive_dir(session).iterdir() if path.name.startswith(".")]
    whole = {part.name for part in read_parts(session)}
    assert "part-000003" not in whole
    assert {path.stem for path in archive_dir(session).glob("*.parquet")} == whole
    monkeypatch.undo()
    seal(session, remove=True)
    assert tree_files(session) == []


@pytest.mark.further
def test_verify_counts_what_is_sealed_and_says_the_same_as_of_lines(session):
    def told():
        return verify(session).to_dict() | {"parts": 0}

    live = told()
    seal(session)
    assert told() == live
    seal(session, remove=True)
    assert told() == live
    assert verify(session).parts == len(read_parts(session))


@pytest.mark.further
def test_a_part_that_is_not_what_was_sealed_is_named(session):
    seal(session, remove=True, part_bytes=500_000)
    part = read_parts(session)[1]
    write_part(replace(part, digest="0" * 64))
    found = verify(session)
    assert found.damaged_parts == (f"archive/{part.parquet.name}",) and not found.sound
    part.parquet.write_bytes(b"no parquet")
    found = verify(session)
    assert found.damaged_parts == (f"archive/{part.parquet.name}",) and not found.sound and found.uncounted
    with pytest.raises(DamagedInput, match="cannot be read"):
        open_reader(session).losses()


def counted(session, *more):
    """What the summary counts; which of two lines with one number has what level is a matter of order."""
    summary = summarise(session, open_reader(session))
    names = ("events", "by_kind", "by_agent", "first_timestamp", "last_timestamp", "losses", *more)
    return {name: summary[name] for name in names}


@pytest.mark.further
def test_the_summary_of_sealed_lines_is_that_of_the_same_lines_in_files(session):
    told = counted(session, "by_level", "errors", "open_spans")
    assert told["errors"]["count"] > 10
    seal(session)
    assert counted(session, "by_level", "errors", "open_spans") == told
    seal(session, remove=True)
    assert counted(session, "by_level", "errors", "open_spans") == told


LINES = st.sampled_from(
    [
        encode_event(
            Event(
                timestamp="2026-11-20T10:30:45.000001Z",
                id=f"{writer}-{seq}",
                schema_version=1,
                kind=kind,
                session_id="20261120_103045",
                level="INFO",
                logger="agent",
                message="done",
                extra={"agent_id": "ann", "event_type": kind, **extra},
            )
        )[:-1]
        for writer in ("eeeeffff", "ccccdddd")
        # a number is always of the same event: which of two that share one counts is a matter of order
        for seq, kind, extra in (
            (1, "log", {}),
            (2, "reward", {"reward": 0.5}),
            (3, "log.retired", {"writer": writer, "first_seq": 5, "last_seq": 7}),
            (65_536, "log", {}),
            (70_000, "log.closed", {"last_seq": 70_001}),
        )
    ]
)


@pytest.mark.integration
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(st.one_of(LINES, LINES, ODD_LINES), min_size=1, max_size=12),
    second=st.lists(st.one_of(LINES, LINES, ODD_LINES), min_size=1, max_size=12),
)
def test_the_account_of_sealed_lines_is_that_of_the_same_lines_in_files(first, second, tmp_path_factory):
    session = tmp_path_factory.mktemp("same") / "session_20261120_103045"
    agents_dir(session).mkdir(parents=True)
    for name, lines in (("a.log", first), ("b.log", second)):
        (agents_dir(session) / name).write_bytes(b"\n".join(lines) + b"\n")
    live, told = open_reader(session).losses(), counted(session)
    seal(session, remove=True)
    assert open_reader(session).losses() == live
    assert counted(session) == told
    verified = verify(session)
    assert sum(row.read for row in verified.writers) == live.total_read
    # one of two files stands again, as where `seal --remove` was cut short
    unseal(session)
    (agents_dir(session) / "b.log").unlink()
    assert open_reader(session).losses() == live


@pytest.fixture
def two_agents(tmp_path, monkeypatch):
    """A sealed session of two agents, `seal` without `--remove`."""
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(tmp_path / "trace"))
    setup_logging(trace_root=tmp_path / "trace")
    for agent_id in ("ann", "bob"):
        logger = AgentLogger(agent_id, "role")
        for number in range(20):
            logger.log_action("step", {"number": number})
    session = Path(health()["path"])
    shutdown_logging()
    seal(session)
    return session


def answers(session):
    """What a session says in every way of reading it."""
    with LogAnalyzer(session) as analyzer:
        counted = analyzer.sql("SELECT agent_id, count(*) AS n FROM actions GROUP BY ALL ORDER BY 1")
        counts = {row["agent_id"]: row["n"] for row in counted}
    reader = open_reader(session)
    return {
        "counts": counts,
        "journey": [event.id for event in reader.agent_events("ann")] if "ann" in reader.agents() else [],
        "agents": reader.agents(),
        "events": [event.id for event in reader.events()],
        "losses": reader.losses().to_dict(),
        "sound": verify(session).sound,
    }


@pytest.mark.integration
def test_lines_that_were_removed_by_hand_beside_their_sealed_part_are_read_from_it(two_agents):
    before = answers(two_agents)
    for path in agents_dir(two_agents).iterdir():
        path.unlink()
    assert before["counts"] == {"ann": 20, "bob": 20}
    assert before["sound"]
    assert answers(two_agents) == before


@pytest.mark.integration
def test_lines_that_were_removed_by_hand_survive_sealing_again_and_are_erased_like_others(two_agents):
    before = answers(two_agents)
    (agents_dir(two_agents) / "ann.log").unlink()
    bob = agents_dir(two_agents) / "bob.log"
    bob.write_bytes(bob.read_bytes().replace(b'"number":7', b'"number":8', 1))
    seal(two_agents)
    assert answers(two_agents)["journey"] == before["journey"]
    (agents_dir(two_agents) / "ann.log").unlink()
    erase(two_agents.parent, Target(AGENT, "ann"))
    assert answers(two_agents)["journey"] == []
    left = b"".join(path.read_bytes() for path in two_agents.rglob("*") if path.is_file())
    assert b'"agent_id":"ann"' not in left


def test_a_part_whose_lines_retention_removed_does_not_bring_them_back(two_agents):
    segment = next(
        each for part in read_parts(two_agents) for each in part.segments if each.agent_id == "ann"
    )
    writer, first = split_event_id(segment.first_id)
    retired = RetiredAccount(files=1, events=segment.events)
    retired.numbers[writer] = SeqSet.of_ranges([(first, first + segment.events - 1)])
    write_account(two_agents, retired)
    (agents_dir(two_agents) / "ann.log").unlink()
    assert answers(two_agents)["counts"] == {"bob": 20}


def test_a_part_without_its_description_is_named(two_agents):
    (description,) = archive_dir(two_agents).glob("part-*.json")
    description.unlink()
    found = verify(two_agents)
    assert found.undescribed_parts == (f"archive/{description.stem}.parquet",)
    assert found.sound


WRONG = [None, True, -1, 2**70, 0.5, "", "x", "../../x", "/etc/passwd", [], ["x"], {}, {"a": 1}]


def places_in(value, place=()):
    """The path of every value in a JSON document."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_in(item, (*place, key))


@pytest.mark.integration
def test_a_description_with_any_value_of_another_type_is_refused_or_read_and_no_bug(two_agents, capsys):
    (path,) = archive_dir(two_agents).glob("part-*.json")
    stored = path.read_bytes()
    draw = random.Random(11)
    for place in places_in(orjson.loads(stored)):
        document = orjson.loads(stored)
        value = draw.choice(WRONG)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        if place:
            holder[place[-1]] = value
        path.write_text(json.dumps(document if place else value))
        for command in (
            ["tail"],
            ["sql", "SELECT count(*) AS n FROM actions"],
            ["verify"],
            ["seal", "--restore"],
        ):
            code = main([*command, "--root", str(two_agents.parent)])
            assert code in (0, 1, 3), (place, value, command, capsys.readouterr().err)
    assert {each.name for each in two_agents.parent.parent.iterdir()} <= {"trace", "home"}


@pytest.mark.first_case
@pytest.mark.parametrize(
    "name", ["../../evil.log", "/evil.log", "runs/r/events.jsonl", "agents/../x.log", "agents/x"]
)
def test_a_part_that_names_a_file_elsewhere_is_refused(two_agents, name):
    (path,) = archive_dir(two_agents).glob("part-*.json")
    path.write_bytes(path.read_bytes().replace(b'"agents/ann.log"', orjson.dumps(name)))
    with pytest.raises(DamagedInput, match="is not the name of a log file"):
        read_parts(two_agents)


@pytest.mark.first_case
@pytest.mark.parametrize("place", ["agents", "archive", ".state"])
def test_nothing_is_written_or_removed_behind_a_link_in_the_place_of_a_directory(two_agents, tmp_path, place):
    seal(two_agents, remove=True)
    elsewhere = tmp_path / "elsewhere"
    (two_agents / place).rename(elsewhere)
    (two_agents / place).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    for change in (unseal, seal, recover_session, lambda _: erase(two_agents.parent, Target(AGENT, "ann"))):
        with pytest.raises(InputError, match="a link is in the place"):
            change(two_agents)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


def test_hostile_messages_come_part_by_part_as_they_were_written(trace_root):
    def hostile(number):
        return [
            "plain",
            'quote " and \\ and \\u001b',
            "\x1b\x1f\x00\b\f\n\r\t\x7f",
            "é\u2028😀",
            "\\\x1b\\\\\x01",
        ][number]

    log = AgentLogger("a1", "worker")
    for number in range(5):
        log.info(hostile(number))
        log.log_action("say", {"text": hostile(number)}, {"ok": True})
    shutdown_logging()
    (session,) = trace_root.glob("session_*")
    lines = [line for path in tree_files(session) for line in path.read_bytes().splitlines() if line]
    seal(session, remove=True)
    found = [line for part in ArchiveLines(session).every_part() for some, _ in part for line in some]
    assert sorted(found) == sorted(lines)


def test_a_repeated_line_counts_once_in_an_archive_as_in_its_file(two_agents):
    path = next(path for path in tree_files(two_agents) if path.parent.name == "agents")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[1]]))

    def counted():
        found = summarise(two_agents, open_reader(two_agents))
        return open_reader(two_agents).losses().to_dict(), found["by_kind"], found["by_agent"]

    before = counted()
    assert before[0]["damaged_lines"] == 1
    seal(two_agents, remove=True)
    assert counted() == before


def long_lines(root, lines, size_bytes):
    """A session of one agent whose lines have about this many bytes, and a short one now and then."""
    session = setup_logging(trace_root=root, mirrors=False)
    log = AgentLogger("author", "author")
    chance = random.Random(7)
    for number in range(lines):
        words = chance.choices(("tea", "coffee", "water", "é"), k=size_bytes // 5 if number % 7 else 1)
        log.log_decision("text", {"number": number, "text": " ".join(words)})
    shutdown_logging()
    return session.path


@pytest.mark.further
def test_long_lines_are_sealed_in_row_groups_of_few_rows_and_come_back(trace_root, tmp_path):
    session = long_lines(trace_root, 700, 30_000)
    before, events = contents(session), list(open_reader(session).events())
    seal(session, remove=True)
    (part,) = [part for part in read_parts(session) if part.events > 600]
    import duckdb

    groups = duckdb.sql(
        f"SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata('{part.parquet}')"
    )
    assert max(rows for _, rows in groups.fetchall()) < 400
    assert list(open_reader(session).events()) == events
    unseal(session, tmp_path / "back")
    assert {name: (tmp_path / "back" / name).read_bytes() for name in before} == before


@pytest.mark.further
def test_files_of_a_part_of_several_row_groups_come_back_in_the_order_of_their_lines(trace_root, tmp_path):
    session = setup_logging(trace_root=trace_root)
    for agent in range(6):
        log = AgentLogger(f"agent_{agent}")
        for number in range(1_500):
            log.log_decision("count", {"number": number, "text": "x" * 2_000})
    shutdown_logging()
    before = contents(session.path)
    seal(session.path, remove=True)
    for attempt in range(3):  # the engine's two threads take the row groups in any order
        unseal(session.path, tmp_path / str(attempt))
        assert contents(tmp_path / str(attempt)) == before


@pytest.mark.further
def test_a_part_of_another_tool_in_another_order_is_read_in_that_of_its_lines(session, tmp_path):
    before = contents(session)
    seal(session, remove=True)
    import duckdb

    for part in read_parts(session):
        turned = tmp_path / "turned.parquet"
        rows = f"SELECT * FROM read_parquet('{part.parquet}') ORDER BY line DESC, file"
        duckdb.sql(f"COPY ({rows}) TO '{turned}' (FORMAT parquet)")
        shutil.copyfile(turned, part.parquet)
    unseal(session, tmp_path / "back")
    assert {name: (tmp_path / "back" / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("do", [lambda each: seal(each, remove=True), unseal, recover_session])
def test_what_a_killed_restore_left_is_removed(two_agents, do):
    seal(two_agents, remove=True)
    left = two_agents / "agents" / ".a.log.999999999.new"  # a number that no process has
    written = two_agents / "agents" / f".a.log.{os.getpid()}.new"
    others = two_agents / "agents" / ".a.log.new"
    for path in (left, written, others):
        path.write_bytes(b"half")
    do(two_agents)
    assert not left.exists() and written.exists() and others.exists()


@pytest.mark.first_case
@pytest.mark.parametrize(
    "held", ["[]", "3", "null", '"x"', "{}", '{"segments": 3}', '{"segments": [3]}', "", "{"]
)
def test_a_description_of_another_form_is_told_in_words(two_agents, held):
    seal(two_agents)
    description = archive_dir(two_agents) / "part-000001.json"
    description.write_text(held)
    with pytest.raises(DamagedInput, match="a part of the archive cannot be read") as raised:
        read_parts(two_agents)
    told = str(raised.value)
    assert "part-000001.json" in told and "restore it" in told
    assert not any(each in told for each in ("indices", "subscript", "iterable", "argument", "'segments'"))
