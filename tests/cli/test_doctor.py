"""`doctor`: what is right says so, what is wrong is named and ends with exit code 1."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from Agent.cli.commands import doctor


def checks(answer: str) -> dict[str, dict]:
    return {check["name"]: check for check in json.loads(answer)["checks"]}


def test_everything_needed_works_here(ask, recorded):
    done = ask("doctor")
    assert done.returncode == 0, done.stdout
    assert "all required checks passed" in done.stdout
    assert "\x1b" not in done.stdout
    found = checks(ask("doctor", "--json").stdout)
    assert all(check["state"] in {"ok", "warn"} for check in found.values())
    assert "IDENTICAL" in found["self-test"]["found"]
    assert recorded.session_id in found["newest session"]["found"]


def test_it_leaves_nothing_behind(run, tmp_path, trace_root):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run("doctor", TMPDIR=str(tmp_path)).returncode == 0
    after = {path.name for path in tmp_path.iterdir()} - set(before) - {"home"}
    assert after == set()
    assert not trace_root.exists()


def test_a_root_that_is_a_file_fails(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    state, found, _ = doctor._root(file)
    assert (state, "not a directory" in found) == ("fail", True)
    done = run("doctor", "--json", AGENT_TRACE_ROOT=str(file / "below"))
    assert checks(done.stdout)["trace root"]["state"] in {"fail", "ok"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_fails(tmp_path):
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    assert doctor._root(place / "trace")[0] == "fail"


def test_a_root_that_others_may_enter_is_a_warning_with_a_remedy(tmp_path):
    tmp_path.chmod(0o755)
    state, _, remedy = doctor._root(tmp_path)
    assert (state, remedy) == ("warn", f"chmod 700 {tmp_path}")
    tmp_path.chmod(0o700)
    assert doctor._root(tmp_path)[0] == "ok"


@pytest.mark.further
def test_a_lost_event_fails_and_is_exit_code_1(run, recorded, trace_root):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "agents" / "creator_003.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5] + lines[6:]))
    done = run("doctor", "--json")
    assert done.returncode == 1
    newest = checks(done.stdout)["newest session"]
    assert newest["state"] == "fail"
    assert "1 lost" in newest["found"]


def test_little_room_on_the_disk_is_a_warning_and_almost_none_a_failure(monkeypatch, tmp_path):
    states = []
    for free in (100 * 2**30, 200 * 2**20, 2**20):
        monkeypatch.setattr(
            doctor.shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(0, 0, free)
        )
        states.append(doctor._disk_space(tmp_path)[0])
    assert states == ["ok", "warn", "fail"]


def test_a_check_that_breaks_down_is_a_failed_check(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_self_test", lambda: 1 / 0)
    found = {check.name: check for check in doctor._all_checks(tmp_path)}
    assert (found["self-test"].state, found["self-test"].found) == (
        "fail",
        "ZeroDivisionError: division by zero",
    )


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "LIBRARIES", ("orjson", "no-such-library"))
    state, _, remedy = doctor._libraries()
    assert (state, remedy) == ("fail", "pip install no-such-library")


def test_an_engine_that_is_too_old_fails_with_the_version_that_works(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "1.3.2" if name == "duckdb" else "9.9")
    state, found, remedy = doctor._libraries()
    assert (state, remedy) == ("fail", "pip install 'duckdb>=1.4'")
    assert "duckdb 1.3.2 is older than 1.4" in found
