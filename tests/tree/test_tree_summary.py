"""`trace_summary.json` says at a glance what a session holds, and exactly what it lacks."""

import orjson
import pytest
from tree_kit import Recorder, make_line

from Agent.errors import SessionNotFound
from Agent.tree.read.reader import TreeReader, summarise, write_summary
from Agent.tree.write.writer import SessionWriter


def read(path):
    return orjson.loads(path.read_bytes())


@pytest.fixture
def recorder(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=2000))
    for number in range(30):
        recorder.write(f"agent_{number % 3}", kind="reward" if number % 5 == 0 else "agent_action")
    recorder.write(
        "agent_0", "errors", kind="error", level="ERROR", error_type="ValueError", error_message="bad"
    )
    recorder.write(None, "system", kind="log", level="WARNING")
    return recorder


def test_a_closed_session_is_counted_exactly(session, recorder):
    recorder.close()
    path = write_summary(session)
    assert path == session / "trace_summary.json"
    assert path.stat().st_mode & 0o777 == 0o600
    summary = read(path)
    assert summary["events"] == 33
    assert summary["by_kind"] == {"agent_action": 24, "reward": 6, "error": 1, "log": 1, "log.closed": 1}
    assert summary["by_level"] == {"INFO": 31, "ERROR": 1, "WARNING": 1}
    assert summary["by_agent"] == {"agent_0": 11, "agent_1": 10, "agent_2": 10}
    assert summary["errors"]["count"] == 1
    assert summary["errors"]["by_type"] == {"ValueError": 1}
    assert [error["error_message"] for error in summary["errors"]["first"]] == ["bad"]
    assert summary["first_timestamp"] <= summary["last_timestamp"]
    losses = summary["losses"]
    assert (losses["clean"], losses["read"], losses["lost"], losses["damaged_lines"]) == (True, 33, 0, 0)
    sizes = {entry["file"]: entry["size_bytes"] for entry in summary["files"]}
    assert sizes == {
        path.relative_to(session).as_posix(): path.stat().st_size for path in TreeReader(session).files()
    }
    assert summary["damage"] == []


def test_a_session_that_is_still_written_has_a_summary_too(session, recorder):
    losses = summarise(session)["losses"]
    assert (losses["clean"], losses["read"]) == (True, 32)
    assert losses["writers"][recorder.sink.writer]["alive"] is True


def test_what_is_lost_and_damaged_is_told(session, recorder):
    recorder.sink.next_seq()
    recorder.close()
    with (session / "system.log").open("ab") as file:
        file.write(b"rubbish\n")
    summary = summarise(session)
    assert (summary["losses"]["lost"], summary["losses"]["clean"]) == (1, False)
    assert summary["losses"]["writers"][recorder.sink.writer]["gaps"] == [[33, 33, "lost"]]
    assert [(entry["file"], entry["line"]) for entry in summary["damage"]] == [("system.log", 3)]


def test_the_first_hundred_errors_are_kept_and_all_are_counted(session):
    lines = [
        make_line(
            "aaaaaaaa", seq, kind="error", level="ERROR", error_type=f"E{seq % 2}", error_message=str(seq)
        )
        for seq in range(1, 451)
    ]
    (session / "agents" / "creator_001.log").write_bytes(b"".join(reversed(lines)))
    errors = summarise(session)["errors"]
    assert (errors["count"], errors["by_type"]) == (450, {"E0": 225, "E1": 225})
    assert [error["error_message"] for error in errors["first"]] == [str(seq) for seq in range(1, 101)]


def test_a_summary_can_be_made_again(session, recorder):
    first = read(write_summary(session))
    recorder.write()
    second = read(write_summary(session))
    assert (first["events"], second["events"]) == (32, 33)
    assert not [path for path in session.iterdir() if path.name.endswith(".new")]


def test_a_session_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SessionNotFound):
        write_summary(tmp_path / "nothing")
