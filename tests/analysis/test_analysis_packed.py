"""Many small files put behind one another: each as it was listed, and what cannot be is left to be read by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis.query import data_files
from Agent.analysis.query.data_files import LEAST_FILES, Pack, standing_at
from Agent.analysis.query.engine import Engine, FilesMoved, open_engine
from Agent.analysis.query.views import scan

MANY = LEAST_FILES + 6


def listed(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(MANY):
        (tmp_path / f"{number:03}.log").write_bytes(b"%d\n" % number)
    return tmp_path


def content(pack: Pack) -> bytes:
    return Path(pack.path).read_bytes()


def test_a_file_that_was_rolled_since_is_taken_under_its_new_name(files: Path) -> None:
    standing = {path: standing_at(path) for path in listed(files)}
    (files / "003.log").rename(files / "003.1.log")
    (files / "003.log").write_bytes(b"another\n")
    with (files / "004.log").open("ab") as grown:
        grown.write(b"later\n")
    pack = Pack(files)
    assert pack.fill(standing, lambda: listed(files)) == set(standing)
    assert sorted(content(pack).split()) == sorted(b"%d" % number for number in range(MANY))


def test_a_file_that_went_away_is_left_out_and_told(files: Path) -> None:
    standing = {path: standing_at(path) for path in listed(files)}
    gone = files / "005.log"
    gone.unlink()
    pack = Pack(files)
    assert pack.fill(standing, lambda: listed(files)) == set(standing) - {gone}


def test_a_torn_end_is_not_glued_to_the_next_file(files: Path) -> None:
    (files / "000.log").write_bytes(b"torn")
    pack = Pack(files)
    pack.fill({path: standing_at(path) for path in listed(files)}, lambda: listed(files))
    assert content(pack).startswith(b"torn\n1\n")


def test_few_files_and_large_ones_are_read_by_name(files: Path) -> None:
    pack = Pack(files)
    standing = {path: standing_at(path) for path in listed(files)}
    assert pack.fill(dict(list(standing.items())[: LEAST_FILES - 1]), list) == frozenset()
    large = files / "large.log"
    large.write_bytes(b"x" * (data_files._SMALL_BYTES + 1))
    assert pack.fill({path: standing_at(path) for path in listed(files)}, list) == set(standing)


def test_without_room_they_are_read_by_name(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "no room")

    pack = Pack(files)
    monkeypatch.setattr(data_files, "write_all", refuse)
    assert pack.fill({path: standing_at(path) for path in listed(files)}, list) == frozenset()
    assert content(pack) == b""


def test_the_packed_and_the_named_answer_are_one_and_files_that_grow_are_seen(
    builder: SessionBuilder,
) -> None:
    for number in range(MANY):
        builder.emit("log", f"agent_{number}")
    engine = open_engine(builder.path)
    question = f"SELECT count(*) AS n, sum(seq) AS s FROM {scan()}"
    for _ in range(2):
        assert engine.row(question) == engine.row(f"{question} WHERE filename IS NOT NULL")
        builder.emit("log", "agent_5")
    assert engine.row(question)["n"] == MANY + 2
    assert engine.row(f"SELECT count(DISTINCT filename) AS n FROM {scan()}")["n"] == MANY
    before = len(list(Path("/proc/self/fd").iterdir()))
    engine.close()
    assert len(list(Path("/proc/self/fd").iterdir())) < before


def test_whatever_the_engine_says_of_a_session_that_went_meanwhile_is_an_input_error(tmp_path):
    import duckdb

    engine = Engine(tmp_path / "gone", list)
    refusal = duckdb.PermissionException('Cannot access file "/proc/self/fd/6"')
    with pytest.raises(FilesMoved, match="the session is gone") as caught, engine._translated("SELECT 1"):
        raise refusal
    assert caught.value.exit_code == 3
