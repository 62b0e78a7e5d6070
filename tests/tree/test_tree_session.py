"""`session.json` and the writers' claims."""

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from support.processes import child_environment
from tree_kit import SESSION_ID

from Agent.errors import DamagedInput, SessionNotFound
from Agent.tree.files.session import (
    Claim,
    SessionInfo,
    boot_id,
    create_session,
    hostname,
    open_session,
    process_start_ticks,
    read_claims,
    replace_file,
    update_session,
    write_claim,
    write_output,
)
from Agent.tree.layout import list_sessions
from Agent.tree.write.writer import SessionWriter

INFO = SessionInfo(
    session_id=SESSION_ID,
    session_uid="019aa0d2-7b6c-7000-8000-000000000000",
    host="here",
    pid=12,
    python="3.11.7",
    versions={"agent-trace": "1"},
    argv=("run.py", "--token", "***"),
    started_at="2026-11-20T10:30:45.000000Z",
    configuration={"level": "DEBUG"},
)


def test_a_session_is_described_and_read_back(trace_root):
    session = create_session(trace_root, INFO)
    assert session == trace_root / f"session_{SESSION_ID}"
    assert open_session(session) == INFO
    assert (session / "session.json").stat().st_mode & 0o777 == 0o600


def test_the_second_session_of_a_second_knows_its_own_id(trace_root):
    create_session(trace_root, INFO)
    second = create_session(trace_root, INFO)
    assert second.name == f"session_{SESSION_ID}-2"
    assert open_session(second).session_id == f"{SESSION_ID}-2"


def test_targets_are_added_and_other_fields_replaced(trace_root):
    session = create_session(trace_root, INFO)
    update_session(session, targets={"a": "module:make"})
    info = update_session(session, targets={"b": "other:make"}, ended_at="2026-11-20T10:31:00.000000Z")
    assert info == open_session(session)
    assert info.targets == {"a": "module:make", "b": "other:make"}
    assert info.ended_at == "2026-11-20T10:31:00.000000Z"
    assert info.argv == INFO.argv


def test_updates_at_one_time_lose_nothing(trace_root):
    session = create_session(trace_root, INFO)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: update_session(session, targets={f"agent_{n}": "m:f"}), range(40)))
    assert len(open_session(session).targets) == 40
    assert [path.name for path in session.iterdir() if path.name.endswith(".new")] == []


def test_what_a_later_version_added_is_kept(trace_root):
    session = create_session(trace_root, INFO)
    path = session / "session.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "invented_later": [1, 2]}))
    assert open_session(session).other == {"invented_later": [1, 2]}
    update_session(session, ended_at="x")
    assert orjson.loads(path.read_bytes())["invented_later"] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b'{"session_id": "x"}', b"\0\0"])
def test_a_damaged_description_is_told_with_its_path(content, trace_root):
    session = create_session(trace_root, INFO)
    (session / "session.json").write_bytes(content)
    with pytest.raises(DamagedInput) as caught:
        open_session(session)
    assert caught.value.path == str(session / "session.json")
    assert caught.value.remedy


def test_a_missing_description_is_told(tmp_path):
    with pytest.raises(SessionNotFound):
        open_session(tmp_path)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    replace_file(path, b"old")

    def refuse(_):
        raise OSError(28, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writers_claim_says_who_it_is(session):
    sink = SessionWriter(session, durability="buffered", kind="metrics")
    (claim,) = read_claims(session).values()
    assert (claim.writer, claim.pid, claim.durability, claim.kind) == (
        sink.writer,
        os.getpid(),
        "buffered",
        "metrics",
    )
    assert (claim.host, claim.boot_id) == (hostname(), boot_id())
    assert claim.claimed_at.endswith("Z")
    assert claim.is_alive()


@pytest.mark.process
def test_a_claim_of_an_ended_process_is_dead(session):
    program = "import sys; from pathlib import Path; from Agent.tree.write.writer import SessionWriter; SessionWriter(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, str(session)], env=child_environment(), check=True)
    (claim,) = read_claims(session).values()
    assert not claim.is_alive()


def test_a_reused_pid_another_boot_and_another_machine_are_not_the_writer(session):
    SessionWriter(session)
    (claim,) = read_claims(session).values()
    assert not replace(claim, process_start_ticks=1).is_alive()
    assert not replace(claim, boot_id="other").is_alive()
    assert not replace(claim, host="elsewhere").is_alive()
    # where the system does not tell when a process started, its pid has to do
    assert replace(claim, process_start_ticks=None).is_alive()
    assert not replace(claim, process_start_ticks=None, pid=2**22 + 1).is_alive()


@pytest.mark.process
def test_a_killed_child_that_nobody_waited_for_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert process_start_ticks(child.pid) is not None
    child.kill()
    # until it is waited for, the process is a zombie
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start_ticks(child.pid) is None
    child.wait()


@pytest.mark.parametrize(
    "content", [b"", b'{"pid": 1', b"[]", b'{"pid": "x"}', b'{"host": "h", "new_key": 1}']
)
def test_a_damaged_claim_still_says_that_its_writer_exists(content, session):
    (session / ".state" / "writers" / "abcdefgh.json").write_bytes(content)
    claim = read_claims(session)["abcdefgh"]
    assert isinstance(claim, Claim)
    assert not claim.is_alive()


def test_a_claim_is_exclusive(session):
    SessionWriter(session)
    (claim,) = read_claims(session).values()
    with pytest.raises(FileExistsError):
        write_claim(session, claim)


@pytest.mark.parametrize("call", ["mkdir", "fsync", "replace"])
def test_a_session_that_cannot_be_made_leaves_no_directory_behind(tmp_path, monkeypatch, call):
    root = tmp_path / "trace"
    owner = Path if call == "replace" else os
    original = getattr(owner, call)
    for failing in range(1, 12):
        count = 0

        def once(*args, failing=failing, **named):
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, "no space left on device")
            return original(*args, **named)

        monkeypatch.setattr(owner, call, once)
        try:
            create_session(root, INFO)
        except OSError:
            assert list_sessions(root) == []
        else:
            assert count < failing  # every call of this kind has failed once
            return
        finally:
            monkeypatch.undo()
    pytest.fail("it never came to its end")


def test_a_session_whose_description_cannot_be_written_leaves_no_directory(tmp_path):
    info = SessionInfo.begun_now(configuration={"queue_size": 10**26})
    with pytest.raises(TypeError):
        create_session(tmp_path, info)
    assert not list(tmp_path.glob("session_*"))


def test_the_file_that_a_link_names_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    link, new = tmp_path / "link", tmp_path / "real" / "page"
    link.symlink_to(new)
    for data in (b"first", b"second"):  # of a link that leads nowhere yet, and of one to a file
        write_output(link, data)
        assert (link.is_symlink(), new.read_bytes(), new.stat().st_mode & 0o777) == (True, data, 0o600)
    replace_file(link, b"own")  # as for a file of the tree, whose place nobody else may choose
    assert (link.is_symlink(), link.read_bytes(), new.read_bytes()) == (False, b"own", b"second")


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (pipe, link):
            write_output(path, b"page")
            assert os.read(reading, 100) == b"page"
    finally:
        os.close(reading)
    assert pipe.is_fifo() and link.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_gets_the_bytes_and_stays_a_device(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        write_output(device, b"page")
    except PermissionError:
        pytest.skip("no device can be made or opened here")
    assert device.is_char_device()
    assert sorted(tmp_path.iterdir()) == [device]


def test_a_loop_of_links_is_an_error_and_stays(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop"):
        write_output(loop, b"page")
    assert loop.is_symlink() and [*tmp_path.iterdir()] == [loop]
