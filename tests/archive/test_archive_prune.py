"""Removal of whole sessions by policy: which ones go, which never, and kills in the middle."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from Agent.archive.prune import Policy, prune
from Agent.errors import UsageError
from Agent.event.clock import format_timestamp
from Agent.tree.files.session import (
    Claim,
    SessionInfo,
    boot_id,
    create_session,
    hostname,
    process_start_ticks,
    update_session,
    write_claim,
)
from Agent.tree.layout import list_sessions
from Agent.tree.retention import finish_removals, why_in_use

DAY_S = 86400
NOW_S = 1_795_170_645.0


def make_session(root, day, size_bytes=10_000, ended=True):
    """A session that ended that many days before now."""
    at = format_timestamp(int((NOW_S - day * DAY_S) * 1e6))
    info = SessionInfo(
        f"2026{1200 - day:04d}_000000", "uid", host=hostname(), started_at=at, ended_at=at if ended else None
    )
    session = create_session(root, info)
    (session / "agents" / "a.log").write_bytes(b"x" * size_bytes)
    (session / "runs" / "root").mkdir(parents=True)
    return session


@pytest.fixture
def sessions(trace_root):
    return [make_session(trace_root, day) for day in (40, 30, 20, 10, 0)]


def names(root):
    return [ref.path for ref in list_sessions(root)]


def ids(pruned):
    return [session.path for session in pruned.sessions]


def test_the_newest_n_stay(trace_root, sessions):
    done = prune(trace_root, Policy(keep_sessions=2), now_s=NOW_S)
    assert names(trace_root) == sessions[3:]
    assert done.kept == 2 and all(session.removed for session in done.sessions)
    assert not sessions[0].exists()


def test_what_ended_longer_ago_goes(trace_root, sessions):
    prune(trace_root, Policy(older_than_s=15 * DAY_S), now_s=NOW_S)
    assert names(trace_root) == sessions[3:]


def test_the_oldest_go_until_the_rest_fits(trace_root, sessions):
    each = prune(trace_root, Policy(max_bytes=0), dry_run=True, now_s=NOW_S).freed_bytes // 5
    done = prune(trace_root, Policy(max_bytes=3 * each), now_s=NOW_S)
    assert names(trace_root) == sessions[2:]
    assert done.freed_bytes == 2 * each and done.kept_bytes == 3 * each


def test_a_session_goes_if_any_rule_asks_for_it(trace_root, sessions):
    prune(trace_root, Policy(keep_sessions=4, older_than_s=25 * DAY_S), now_s=NOW_S)
    assert names(trace_root) == sessions[2:]


def test_a_dry_run_says_the_same_and_removes_nothing(trace_root, sessions):
    told = prune(trace_root, Policy(keep_sessions=2), dry_run=True, now_s=NOW_S)
    assert names(trace_root) == sessions
    done = prune(trace_root, Policy(keep_sessions=2), now_s=NOW_S)
    assert ids(told) == ids(done)
    assert told.freed_bytes == done.freed_bytes > 30_000
    assert not any(session.removed for session in told.sessions)


def test_a_policy_that_asks_for_nothing_is_a_mistake(trace_root):
    with pytest.raises(UsageError, match="needs a policy"):
        prune(trace_root, Policy())


def claim(session, pid, **changes):
    values = {
        "writer": "abcdefgh",
        "pid": pid,
        "process_start_ticks": process_start_ticks(pid),
        "boot_id": boot_id(),
        "host": hostname(),
        "durability": "kernel",
        "kind": "events",
        "claimed_at": "",
    }
    write_claim(session, Claim(**(values | changes)))


def test_a_session_with_a_living_writer_stays(trace_root, sessions):
    claim(sessions[0], os.getpid())
    done = prune(trace_root, Policy(keep_sessions=0), now_s=NOW_S)
    assert names(trace_root) == [sessions[0]]
    assert f"process {os.getpid()} writes to it" in done.sessions[0].in_use
    assert done.kept == 1


def test_a_session_whose_first_process_runs_stays_until_it_has_ended(trace_root):
    session = make_session(trace_root, 3, ended=False)
    update_session(
        session, pid=os.getpid(), process_start_ticks=process_start_ticks(os.getpid()), boot_id=boot_id()
    )
    prune(trace_root, Policy(keep_sessions=0))
    assert session.exists()
    update_session(session, ended_at="2026-11-20T00:00:00.000000Z")
    prune(trace_root, Policy(keep_sessions=0))
    assert not session.exists()


def test_a_directory_that_may_just_be_being_made_stays(trace_root):
    session = trace_root / "session_20260101_000000"
    session.mkdir(parents=True)
    assert "in creation" in why_in_use(session)
    prune(trace_root, Policy(keep_sessions=0))
    assert session.exists()
    prune(trace_root, Policy(keep_sessions=0), now_s=time.time() + 3601)
    assert not session.exists()


def test_another_machines_session_stays_until_it_was_quiet_for_a_day(trace_root):
    session = make_session(trace_root, 3, ended=False)
    update_session(session, host="elsewhere")
    prune(trace_root, Policy(keep_sessions=0))
    assert session.exists()
    prune(trace_root, Policy(keep_sessions=0), now_s=time.time() + DAY_S + 1)
    assert not session.exists()


def test_nothing_behind_a_link_is_touched(trace_root, sessions, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (sessions[0] / "agents" / "link").symlink_to(outside)
    (sessions[0] / "agents" / "file.log").symlink_to(outside / "precious")
    linked = trace_root / "session_20200101_000000"
    linked.symlink_to(outside)
    prune(trace_root, Policy(keep_sessions=0), now_s=NOW_S)
    assert (outside / "precious").read_text() == "mine"
    assert linked.is_symlink()


def test_a_removal_looks_at_the_links_of_its_own_runs_alone(trace_root, sessions, monkeypatch):
    runs = trace_root / "runs"
    runs.mkdir()
    for session in sessions:
        run = session / "runs" / f"of_{session.name}"
        run.mkdir(parents=True)
        (runs / run.name).symlink_to(f"../{session.name}/runs/{run.name}")
    looked = []
    readlink = Path.readlink
    monkeypatch.setattr(Path, "readlink", lambda path: looked.append(path.name) or readlink(path))
    prune(trace_root, Policy(keep_sessions=1), now_s=NOW_S)
    assert [path.name for path in runs.iterdir()] == [f"of_{sessions[-1].name}"]
    # each once as its session goes, and what is left once at the end
    assert len(looked) <= len(sessions) + 1


def test_links_to_the_runs_of_a_session_go_with_it(trace_root, sessions):
    runs = trace_root / "runs"
    runs.mkdir()
    for number in (0, 4):
        (runs / f"run{number}").symlink_to(f"../{sessions[number].name}/runs/root")
    prune(trace_root, Policy(keep_sessions=1), now_s=NOW_S)
    assert [path.name for path in runs.iterdir()] == ["run4"]


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("seed", range(10))
def test_killed_in_the_middle_a_session_is_whole_or_none_and_the_next_goes_on(trace_root, seed):
    sessions = [make_session(trace_root, day) for day in range(8, 0, -1)]
    for session in sessions:
        for number in range(40):
            (session / "agents" / f"b{number}.log").write_bytes(b"x")
    chance = random.Random(seed)
    pid = os.fork()
    if pid == 0:
        prune(trace_root, Policy(keep_sessions=1), now_s=NOW_S)
        os._exit(0)
    time.sleep(chance.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for session in names(trace_root):
        assert len(list((session / "agents").iterdir())) == 41
        assert (session / "session.json").exists()
    prune(trace_root, Policy(keep_sessions=1), now_s=NOW_S)
    assert sorted(path.name for path in trace_root.iterdir()) == sorted(["README.md", sessions[-1].name])


def test_a_removal_that_was_cut_short_is_finished_and_told(trace_root, sessions):
    sessions[0].rename(trace_root / f".removing-{sessions[0].name}.0a0b0c0d")
    assert prune(trace_root, Policy(keep_sessions=9), dry_run=True).finished == 1
    assert prune(trace_root, Policy(keep_sessions=9)).finished == 1
    assert finish_removals(trace_root) == 0
    assert list(trace_root.glob(".removing-*")) == []
