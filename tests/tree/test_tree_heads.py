"""Which files are regular: all lines begin as ours do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.codec import decode_line
from Agent.tree.files import lines
from Agent.tree.files.lines import RegularFiles

pytestmark = pytest.mark.skipif(lines._regular_bytes is None, reason="the native part was not built")

LINE = (
    b'{"timestamp":"2026-11-20T10:30:45.000002Z","id":"sfhtuqh7-3","schema_version":1,'
    b'"session_id":"20261120_103045","level":"INFO","logger":"agent","message":"x","extra":{"event_type":"log"}}\n'
)


def is_regular(path: Path, files: RegularFiles | None = None) -> bool:
    status = path.lstat()
    return (files or RegularFiles()).holds(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(LINE * 3)
    return path


def test_whole_lines_of_this_package_are_regular(file: Path) -> None:
    assert is_regular(file)


def test_an_empty_file_is_regular(file: Path) -> None:
    file.write_bytes(b"")
    assert is_regular(file)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"2026-11-20T", b"2026-13-20T"),
        (b"2026-11-20T", b"2026-02-29T"),
        (b"2026-11-20T", b"2026-11-00T"),
        (b"T10:30:45", b"T24:30:45"),
        (b"T10:30:45", b"T10:60:45"),
        (b"45.000002Z", b"45.00002xZ"),
        (b"sfhtuqh7-3", b"sfhtuqh7-x"),
        (b"sfhtuqh7-3", b"sfhtuqh-33"),
        (b"sfhtuqh7-3", b"sfhtuqh7-"),
        (b"sfhtuqh7-3", b"sfhtuqh7-1234567890123456789"),
        (b'"schema_version":1,', b'"schema_version":2,'),
        (b'"schema_version":1,', b'"schema_version":0,'),
        (b'"schema_version":1,', b'"schema_version":12,'),
        (b'{"timestamp"', b' {"timestamp"'),
        (b"}}\n", b"}}\n\n"),
        (b"}}\n", b"}} \n"),
    ],
)
def test_a_file_with_one_other_line_is_not(file: Path, was: bytes, becomes: bytes) -> None:
    file.write_bytes(LINE * 2 + LINE.replace(was, becomes) + LINE)
    assert not is_regular(file)


def test_a_torn_tail_is_not_regular_until_it_is_whole(file: Path) -> None:
    files = RegularFiles()
    file.write_bytes(LINE * 2 + LINE[:100])
    assert not is_regular(file, files)
    file.write_bytes(LINE * 3)
    assert is_regular(file, files)


def test_what_a_file_grew_by_is_looked_at(file: Path) -> None:
    files = RegularFiles()
    assert is_regular(file, files)
    with file.open("ab") as opened:
        opened.write(LINE)
    assert is_regular(file, files)
    with file.open("ab") as opened:
        opened.write(b"{}\n")
    assert not is_regular(file, files)


def test_what_was_written_anew_is_looked_at_again(file: Path) -> None:
    files = RegularFiles()
    assert is_regular(file, files)
    file.write_bytes(LINE * 2 + LINE.replace(b"2026-11-20", b"2026-11-40"))
    os.utime(file, ns=(1, 1))
    assert not is_regular(file, files)


def test_lines_longer_than_what_is_read_at_once_are_left_to_others(file: Path) -> None:
    file.write_bytes(LINE + LINE.replace(b'"x"', b'"' + b"x" * (1 << 20) + b'"'))
    assert not is_regular(file)


def test_many_lines_across_the_edges_of_what_is_read_at_once_are_regular(file: Path) -> None:
    file.write_bytes(
        b"".join(LINE.replace(b'"x"', b'"' + b"x" * (number % 977) + b'"') for number in range(5000))
    )
    assert is_regular(file)


def test_another_file_under_the_name_is_not_taken_for_the_listed_one(file: Path) -> None:
    status = file.lstat()
    assert not RegularFiles().holds(file, (status.st_ino + 1, status.st_size, status.st_mtime_ns))


def test_without_the_native_part_no_file_is_regular(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_regular_bytes", None)
    assert not is_regular(file)


@given(st.data())
def test_a_regular_line_that_is_json_is_an_event_of_the_codec(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, 80))
    changed = LINE[:at] + data.draw(st.binary(max_size=3)) + LINE[at + data.draw(st.integers(0, 3)) :]
    path = tmp_path_factory.getbasetemp() / "fuzzed.log"
    path.write_bytes(changed)
    if is_regular(path):
        for line in changed.splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                assert isinstance(orjson.loads(line), dict)
                decode_line(line)
