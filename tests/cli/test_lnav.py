"""`lnav`: the format file, and Debian's lnav reading a session with it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import subprocess

import pytest
from support.session_files import events_in, of_kind, session_events

from Agent.cli.commands.tail import format_bytes

AGENT = "creator_003"
needs_lnav = pytest.mark.skipif(
    shutil.which("lnav") is None, reason="lnav is not installed (apt-get install lnav)"
)


def test_install_puts_the_format_where_lnav_looks_and_says_where(run, tmp_path):
    done = run("lnav", "install", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    target = tmp_path / ".config/lnav/formats/agent_trace/agent_trace.json"
    assert (done.returncode, done.stdout) == (0, f"{target}\n")
    assert target.read_bytes() == format_bytes()
    target.write_text("old")
    assert json.loads(run("lnav", "install", "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="").stdout)[
        "changed"
    ]
    again = json.loads(run("lnav", "install", "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="").stdout)
    assert again == {"path": str(target), "format": "agent_trace", "changed": False}
    assert list(target.parent.iterdir()) == [target]


def test_install_replaces_the_file_that_a_link_names(run, tmp_path):
    target = tmp_path / "formats/agent_trace/agent_trace.json"
    target.parent.mkdir(parents=True)
    (tmp_path / "dotfiles.json").write_text("old")
    target.symlink_to(tmp_path / "dotfiles.json")
    assert run("lnav", "install", "--to", str(tmp_path / "formats")).returncode == 0
    assert target.is_symlink()
    assert (tmp_path / "dotfiles.json").read_bytes() == format_bytes()


def test_install_goes_to_the_older_directory_where_that_is_in_use_and_anywhere_else(run, tmp_path):
    (tmp_path / ".lnav").mkdir()
    done = run("lnav", "install", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert done.stdout == f"{tmp_path}/.lnav/formats/agent_trace/agent_trace.json\n"
    done = run("lnav", "install", HOME=str(tmp_path), XDG_CONFIG_HOME="relative")  # which XDG ignores
    assert done.stdout == f"{tmp_path}/.lnav/formats/agent_trace/agent_trace.json\n"
    done = run("lnav", "install", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / ".config"))
    assert done.stdout == f"{tmp_path}/.config/lnav/formats/agent_trace/agent_trace.json\n"
    done = run("lnav", "install", "--to", str(tmp_path / "other"))
    assert done.stdout == f"{tmp_path}/other/agent_trace/agent_trace.json\n"
    (tmp_path / "file").write_text("")
    done = run("lnav", "install", "--to", str(tmp_path / "file" / "x"))
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


@pytest.mark.process
def test_show_prints_the_format(start):
    assert json.loads(start("lnav", "show").stdout)["agent_trace"]["timestamp-field"] == "timestamp"


@pytest.fixture
def lnav(run, tmp_path):
    """Runs lnav, with the format as `install` leaves it, without its screen."""
    run("lnav", "install", HOME=str(tmp_path), XDG_CONFIG_HOME="")

    def call(*arguments):
        done = subprocess.run(
            ["lnav", "-n", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TERM": "dumb", "TZ": "UTC"},
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(query, *files):
        return list(csv.DictReader(io.StringIO(call("-c", f";{query}", "-c", ":write-csv-to -", *files))))

    call.ask = ask
    return call


@needs_lnav
@pytest.mark.process
def test_lnav_takes_the_format_without_a_complaint(lnav):
    assert lnav("-C") == ""


@needs_lnav
@pytest.mark.process
def test_lnav_reads_every_event_of_a_session_with_its_fields(lnav, recorded):
    files = [*recorded.session.glob("*.log"), *(recorded.session / "agents").glob("*.log")]
    everything = session_events(recorded.session)
    (row,) = lnav.ask("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM agent_trace", *files)
    assert row == {"n": str(len(everything)), "ids": str(len(everything))}
    rewards = of_kind(everything, "reward")
    (row,) = lnav.ask(
        """SELECT count(*) AS n, sum("extra/reward") AS s, max(tick) AS t FROM agent_trace """
        """WHERE "extra/event_type" = 'reward'""",
        *files,
    )
    assert (int(row["n"]), int(row["t"])) == (len(rewards), max(e["tick"] for e in rewards))
    assert float(row["s"]) == pytest.approx(sum(e["extra"]["reward"] for e in rewards))
    levels = {row["log_level"]: int(row["n"]) for row in lnav.ask("SELECT log_level, count(*) AS n FROM agent_trace GROUP BY 1", *files)}  # fmt: skip
    for name, level in (("error", "ERROR"), ("warning", "WARNING"), ("debug", "DEBUG")):
        assert levels[name] == sum(e["level"] == level for e in everything)


@needs_lnav
@pytest.mark.process
def test_lnav_reads_rolled_and_compressed_segments_as_one(lnav, recorded, tmp_path):
    whole = (recorded.session / "agents" / f"{AGENT}.log").read_bytes().splitlines(keepends=True)
    place = tmp_path / "agents"
    place.mkdir()
    (place / f"{AGENT}.1.log.gz").write_bytes(gzip.compress(b"".join(whole[:40])))
    (place / f"{AGENT}.2.log").write_bytes(b"".join(whole[40:80]))
    (place / f"{AGENT}.log").write_bytes(b"".join(whole[80:]) + b'{"timestamp":"2026-11-20T10:3')
    rows = lnav.ask("SELECT id, log_opid FROM agent_trace ORDER BY log_line", *sorted(place.iterdir()))
    expected = [e["id"] for e in events_in(recorded.session / "agents" / f"{AGENT}.log")]
    assert sorted(row["id"] for row in rows if row["id"] != "<NULL>") == sorted(expected)
    assert AGENT in {row["log_opid"] for row in rows}


@needs_lnav
@pytest.mark.process
def test_a_line_on_its_screen_says_when_how_bad_who_and_what(lnav, recorded):
    out = lnav(recorded.session / "agents" / f"{AGENT}.log")
    event = of_kind(events_in(recorded.session / "agents" / f"{AGENT}.log"), "reward")[0]
    stamp = event["timestamp"].replace("T", " ")[:23]
    assert any(
        line.startswith(stamp) and "INFO" in line and AGENT in line and event["message"] in line
        for line in out.splitlines()
    )
