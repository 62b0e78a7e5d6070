"""What lets large sessions be asked: little is read, little is listed, and what is large goes to the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from analysis_kit import SessionBuilder
from known import Known

from Agent.analysis.query import engine as engine_module
from Agent.analysis.query.engine import MOST_THREADS, open_engine
from Agent.analysis.query.views import LIVE, SEALED, resolve, scan
from Agent.analysis.session import counted_losses, losses
from Agent.archive import open_reader, seal, unseal
from Agent.archive.sealed.parts import archive_dir, drop_part, read_parts
from Agent.errors import InputError
from Agent.tree.files.lines import LineDecoder
from Agent.tree.layout import agent_files, agents_dir

COUNT = f"SELECT count(*) AS n FROM {scan()}"
IN_ORDER = "SELECT id, n FROM events, range(40) AS r(n) ORDER BY n, ts_us, writer, seq"


@pytest.fixture
def mixed(known: Known, tmp_path: Path) -> Path:
    """A sealed session of which one part stands as files again."""
    session = Path(shutil.copytree(known.sealed.session, tmp_path / known.sealed.session.name))
    unseal(session)
    for part in read_parts(session):
        drop_part(part)
    seal(session, remove=True, part_bytes=2_000_000)
    part = read_parts(session)[-1]
    unseal(session, only=[part])
    drop_part(part)
    return session


def settle(session: Path) -> None:
    """As if nothing had come or gone for a minute."""
    for directory in (session, agents_dir(session), archive_dir(session)):
        if directory.is_dir():
            then = directory.stat().st_mtime - 60
            os.utime(directory, (then, then))


@pytest.mark.integration
def test_an_order_of_more_than_the_memory_goes_to_the_disk(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Agent.analysis.query.engine.MEMORY_LIMIT", "200MB")
    monkeypatch.setattr("Agent.analysis.query.engine.MOST_THREADS", 1)
    shutil.rmtree(mixed / ".state")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    big = IN_ORDER.replace("range(40)", "range(120)")
    engine = open_engine(mixed)
    spilled = 0
    rows = 0
    for batch in engine.user_batches(big, 200_000):
        rows += len(batch)
        spilled += sum(path.is_file() for path in elsewhere.rglob("*"))
        (place,) = elsewhere.iterdir()
        assert place.stat().st_mode & 0o077 == 0
    assert rows == 120 * engine.row(COUNT)["n"]
    assert spilled
    engine.close()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.integration
def test_without_room_for_it_a_large_order_says_what_to_do(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Agent.analysis.query.engine.MEMORY_LIMIT", "330MB")
    monkeypatch.setattr("Agent.analysis.query.engine.MOST_THREADS", 1)
    shutil.rmtree(mixed / ".state")

    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    engine = open_engine(mixed)
    with pytest.raises(InputError, match="more memory than the limit") as told:
        for _ in engine.user_batches(IN_ORDER.replace("range(40)", "range(400)"), 200_000):
            pass
    assert told.value.remedy
    engine.close()


@pytest.mark.integration
def test_the_first_rows_of_a_large_order_need_no_room(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Agent.analysis.query.engine.MEMORY_LIMIT", "330MB")
    monkeypatch.setattr("Agent.analysis.query.engine.MOST_THREADS", 1)
    monkeypatch.setattr("Agent.archive.sealed.reader._spill_path", lambda _: "")
    engine = open_engine(mixed)
    big = IN_ORDER.replace("range(40)", "range(400)")
    found = [row for batch in engine.user_batches(big, 50, 201) for row in batch]
    ids = engine.rows(f"SELECT id FROM {scan()} ORDER BY ts_us, writer, seq LIMIT 201")
    assert found == [(row["id"], 0) for row in ids]
    engine.close()


@pytest.mark.further
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1 AS a;", [(1,)]),
        ("SELECT 1 -- why", [(1,)]),
        ("SELECT 1; -- why", [(1,)]),
        ("SELECT 1 AS a, 2 AS a", [(1, 2)]),
        ("WITH n AS (SELECT range AS i FROM range(9)) SELECT i FROM n ORDER BY i DESC", [(8,), (7,)]),
        ("SELECT range FROM range(90) ORDER BY range DESC LIMIT 50", [(89,), (88,)]),
        ("(SELECT 3) UNION ALL (SELECT 4) ORDER BY 1", [(3,), (4,)]),
    ],
)
def test_the_first_rows_of_an_answer_are_those_of_all_of_it(
    builder: SessionBuilder, query: str, expected: list[tuple[int, ...]]
) -> None:
    builder.emit("log", "a")
    engine = open_engine(builder.path)
    assert [row for batch in engine.user_batches(query, 10, 2) for row in batch] == expected
    assert len([row for batch in engine.user_batches("DESCRIBE events", 10, 2) for row in batch]) >= 2
    engine.close()


def test_many_processors_do_not_take_all_the_memory(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.emit("log", "a")
    monkeypatch.setattr("Agent.analysis.query.engine.cores", lambda: 64)
    monkeypatch.setattr("Agent.analysis.query.engine._SMALL_BYTES", 0)
    engine = open_engine(builder.path)
    assert engine.row("SELECT current_setting('threads') AS n")["n"] == MOST_THREADS
    engine.close()


@pytest.mark.skipif(engine_module.Files is None, reason="the native part was not built")
@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_small_session_is_read_by_one_thread(builder: SessionBuilder, *, is_sealed: bool) -> None:
    builder.emit("log", "a")
    if is_sealed:
        seal(builder.path, remove=True)
    with open_engine(builder.path) as engine:
        assert engine.row("SELECT current_setting('threads') AS n")["n"] == 1


def test_keys_that_a_question_does_not_name_are_not_read(builder: SessionBuilder) -> None:
    asked = resolve(f"SELECT event_type, reward FROM {scan('reward')}", [LIVE])
    assert "agent_role" not in asked and "agent_id" not in asked
    asked = resolve(f"SELECT agent_id FROM {scan()} WHERE agent_role = 'x'", [LIVE, SEALED])
    assert asked.count('"agent_role" VARCHAR') == 1
    builder.emit("reward", "a", reward=1.5)
    engine = open_engine(builder.path)
    assert engine.rows(f"SELECT sum(reward) AS total FROM {scan('reward')}") == [{"total": 1.5}]
    assert engine.rows(f"SELECT agent_id FROM {scan()}") == [{"agent_id": "a"}]
    engine.close()


def test_what_comes_into_a_session_at_rest_is_seen(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    settle(builder.path)
    engine = open_engine(builder.path)
    assert engine.row(COUNT)["n"] == 1
    assert engine.row(COUNT)["n"] == 1
    builder.emit("log", "a")
    assert engine.row(COUNT)["n"] == 2
    builder.emit("log", "b")
    assert engine.row(COUNT)["n"] == 3
    settle(builder.path)
    assert engine.row(COUNT)["n"] == 3
    agent_files(builder.path, "a")[0].unlink()
    assert engine.row(COUNT)["n"] == 1
    engine.close()


@pytest.mark.further
def test_a_session_at_rest_that_is_sealed_and_changed_is_read_as_it_is(known: Known, tmp_path: Path) -> None:
    session = Path(shutil.copytree(known.truth.session, tmp_path / known.truth.session.name))
    settle(session)
    engine = open_engine(session)
    whole = engine.row(COUNT)["n"]
    for change in (lambda: seal(session), lambda: seal(session, remove=True), lambda: unseal(session)):
        change()
        assert engine.row(COUNT)["n"] == whole
        settle(session)
        assert engine.row(COUNT)["n"] == whole
    for part in read_parts(session):
        drop_part(part)
    assert engine.row(COUNT)["n"] == whole
    engine.close()


def damage(session: Path) -> None:
    """A torn line with a whole event behind it, garbage, a torn end, and a file that is garbage alone."""
    paths = sorted(agents_dir(session).glob("*.log"))
    for path, spoil in zip(
        paths,
        (
            lambda lines: [lines[0], lines[1][:40] + lines[2], *lines[3:]],
            lambda lines: [*lines[:5], b"\xff no text\n", b"\n", *lines[5:]],
            lambda lines: [*lines[:-1], lines[-1][:-30]],
            lambda _: [b"{}\n", b"[]\n"],
        ),
        strict=False,
    ):
        path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))


@pytest.mark.integration
@pytest.mark.parametrize("form", ["live", "sealed", "removed", "half"])
def test_the_account_of_a_damaged_session_needs_its_damaged_files_alone(
    known: Known, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Path(shutil.copytree(known.truth.session, tmp_path / known.truth.session.name))
    damage(session)
    if form != "live":
        seal(session, remove=form != "sealed", part_bytes=2_000_000)
    if form == "half":
        unseal(session, only=read_parts(session)[1:])
        for part in read_parts(session)[1:]:
            drop_part(part)
    expected = open_reader(session).losses()
    assert expected.damaged_lines > 5 and expected.total_lost
    decoded: list[object] = []
    decode = LineDecoder.decode
    monkeypatch.setattr(LineDecoder, "decode", lambda self, raw: decoded.append(raw) or decode(self, raw))
    engine = open_engine(session)
    assert counted_losses(session, engine) == expected
    assert 0 < len(decoded) < expected.total_read / 2
    engine.close()


def test_a_number_that_comes_twice_is_left_to_reading(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    path = builder.file_of("a")
    path.write_bytes(path.read_bytes() * 2)
    engine = open_engine(builder.path)
    assert counted_losses(builder.path, engine) is None
    assert losses(builder.path, open_reader(builder.path), engine)["damaged_lines"] == 1
    engine.close()
