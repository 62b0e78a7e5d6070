"""The files by which a program is controlled: who may write a request, and which one is taken."""

import os
import threading

import orjson
import pytest

from Agent.errors import InputError, SessionInUse
from Agent.tree.files.control import (
    ControlFiles,
    NoTick,
    controlled,
    is_live,
    read_program,
    request,
)
from Agent.tree.files.session import Claim, boot_id, hostname, process_start_ticks, write_claim
from Agent.tree.layout import control_dir, create_session_dir

WRITER = "aaaaaaaa"


@pytest.fixture
def session(trace_root):
    path, _ = create_session_dir(trace_root, "20261120_103045")
    ticks = process_start_ticks(os.getpid())
    claim = Claim(WRITER, os.getpid(), ticks, boot_id(), hostname(), "kernel", "events", "")
    write_claim(path, claim)
    return path


@pytest.fixture
def files(session):
    return ControlFiles(session, WRITER)


def put(session, mode=0o600, **request):
    path = control_dir(session) / "request.json"
    path.write_bytes(orjson.dumps(request))
    path.chmod(mode)
    return path


def test_a_request_with_the_token_is_taken_once(session, files):
    assert not files.waits() and files.take() is None
    put(session, id="1", token=files.program.token, command="pause")
    assert files.waits() and files.take()["command"] == "pause"
    assert not files.waits() and files.take() is None


@pytest.mark.parametrize("token", ["", "0" * 32, 7, None, "\u00e4"])
def test_a_request_with_a_stale_or_wrong_token_is_refused_and_removed(session, files, token):
    put(session, id="1", token=token, command="pause")
    with pytest.raises(PermissionError, match="stale"):
        files.take()
    assert not files.waits()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606, 0o666])
def test_a_request_that_others_could_have_written_or_read_is_refused(session, files, mode):
    put(session, mode, id="1", token=files.program.token, command="pause")
    with pytest.raises(PermissionError):
        files.take()
    assert not files.waits()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_request_of_another_user_is_refused(session, files):
    path = put(session, id="1", token=files.program.token, command="pause")
    os.chown(path, 65534, 65534)
    with pytest.raises(PermissionError):
        files.take()
    assert not files.waits()


@pytest.mark.parametrize("kind", ["link", "pipe", "text", "list"])
def test_what_is_no_request_is_refused_and_removed(session, files, kind, tmp_path):
    path = control_dir(session) / "request.json"
    if kind == "link":
        target = tmp_path / "elsewhere"
        target.write_bytes(orjson.dumps({"token": files.program.token}))
        target.chmod(0o600)
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.write_text("[]" if kind == "list" else "pause")
        path.chmod(0o600)
    with pytest.raises(PermissionError):
        files.take()
    assert not files.waits()
    assert kind != "link" or target.exists()


def test_a_request_that_was_left_to_a_killed_program_is_not_taken_by_the_next_one(session, files):
    path = put(session, id="1", token=files.program.token, command="pause")
    other = orjson.loads((control_dir(session) / "program.json").read_bytes())
    (control_dir(session) / "program.json").write_bytes(orjson.dumps({**other, "writer": "bbbbbbbb"}))
    fresh = ControlFiles(session, WRITER)
    assert not path.exists() and fresh.program.token != files.program.token


def test_only_one_process_of_a_session_is_controlled(session, files):
    with pytest.raises(SessionInUse):
        ControlFiles(session, WRITER)
    files.end()
    ControlFiles(session, WRITER)


def test_an_answer_is_read_even_if_the_program_ended_at_once(session, files):
    def answer():
        while (asked := files.take()) is None:
            pass
        files.tell(answered={"id": asked["id"], "tick": 3})
        files.end()

    program = threading.Thread(target=answer)
    program.start()
    assert request(session, {"command": "resume"}, 10)["tick"] == 3
    program.join()
    with pytest.raises(InputError, match="has ended"):
        controlled(session)
    assert not is_live(session, read_program(session))


def test_a_request_that_is_not_taken_in_time_is_withdrawn(session, files):
    with pytest.raises(NoTick, match=r"withdrawn.*with tick\(n\) marks its steps"):
        request(session, {"command": "pause"}, 0.05)
    assert not files.waits()
    files.tell(has_ticked=True)
    with pytest.raises(NoTick) as late:
        request(session, {"command": "pause"}, 0.05)
    assert "none yet" not in str(late.value)
    assert {path.name for path in control_dir(session).iterdir()} == {"program.json"}


def test_a_second_request_waits_for_the_first_one(session, files):
    put(session, id="1", token=files.program.token, command="pause")
    with pytest.raises(SessionInUse, match="another request waits"):
        request(session, {"command": "pause"}, 0.05)
    assert files.take()["id"] == "1"
    assert {path.name for path in control_dir(session).iterdir()} == {"program.json"}


def test_a_description_that_cannot_be_read_is_none(session, files):
    (control_dir(session) / "program.json").write_text("{")
    assert read_program(session) is None
    with pytest.raises(InputError, match="allows control"):
        controlled(session)
