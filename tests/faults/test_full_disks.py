"""Commands on a disk without room: one line that names a file and the remedy, nothing lost, nothing half written.

The disk is a file system in memory of a few megabytes in a namespace of its own, filled to the last bytes.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment
from support.session_files import session_directories
from test_places import MOUNTS, needs

from Agent.replay.rerun import keep_json
from Agent.tree.files.session import replace_file

PROGRAM = """
import contextlib, io, json, os, shutil, subprocess, sys
from pathlib import Path
from Agent.archive.sealed.reader import open_reader
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify
from Agent.cli.main import main
from Agent.tree.layout import list_sessions

recorded, how, free_kb, *argv = sys.argv[1:]
disk = Path("disk")
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
os.chdir(disk)
root = Path("trace").absolute()
shutil.copytree(recorded, root, symlinks=True)
os.environ["AGENT_TRACE_ROOT"] = str(root)
if how != "live":
    for ref in list_sessions(root):
        seal(ref.path, remove=how == "removed")

def look():
    sessions = [ref.path for ref in list_sessions(root)]
    return {
        "ids": sorted(event.id for path in sessions for event in open_reader(path).events()),
        "sound": all(verify(path).sound for path in sessions),
    }

def command():
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(said):
        out.buffer = io.BytesIO()
        return main(argv), said.getvalue()

before = look()
names = {str(path) for path in Path().rglob("*")}
room = os.statvfs(".")
with open("filler", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - int(free_kb) * 1024, 1))
code, said = command()
Path("filler").unlink()
new = [str(path) for path in Path().rglob("*") if str(path) not in names and path.is_file()]
between = look()
again = command()
left = [path.name for path in Path().rglob(".*") if path.name.endswith(".new") or path.name.startswith(".mirrors-")]
print(json.dumps({"code": code, "said": said, "new": new, "again": again, "left": left,
                  "before": before, "between": between, "after": look()}))
"""
COMMANDS = {
    "seal": ["seal", "--all"],
    "seal --remove": ["seal", "--all", "--remove"],
    "seal --restore": ["seal", "--all", "--restore"],
    "erase": ["erase", "--yes", "--agent", "goes"],
    "recover": ["recover", "--all", "--mirrors"],
    "analyze": ["analyze", "last", "--html", "report.html"],
    "export": ["runs", "last", "--export", "run.zip"],
}
WHERE = {"seal --restore": "removed", "erase": "removed"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    place = tmp_path_factory.mktemp("recorded")
    program = """
from Agent import AgentLogger, setup_logging, shutdown_logging
for _ in range(2):
    setup_logging(segment_size_bytes=4096)
    for number in range(60):
        AgentLogger("stays").log_action("write", {"number": number, "text": "x" * 100})
        AgentLogger("goes").log_action("write", {"number": number})
    shutdown_logging()
"""
    environment = child_environment(AGENT_TRACE_ROOT=str(place / "trace"))
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=place, check=True)
    return place / "trace"


@pytest.mark.integration
@needs(*MOUNTS)
@pytest.mark.parametrize("free_kb", [0, 8])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_a_full_disk_says_so_in_a_line_and_ends_its_work_later(
    command, free_kb, recorded, tmp_path
):
    done = subprocess.run(
        [*MOUNTS, sys.executable, "-c", PROGRAM, recorded, WHERE.get(command, "live"), str(free_kb)]
        + COMMANDS[command],
        env=child_environment(TMPDIR=os.environ.get("TMPDIR", "/tmp")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    if told["code"] == 0:
        # there was room for all of it
        assert free_kb
    else:
        assert told["code"] == 3, told["said"]
        own = [line for line in told["said"].splitlines() if line.startswith("agent-trace:")]
        assert len(own) == 1 and "o space left on device" in own[0], told["said"]
        assert "free disk space" in own[0]
        assert str(Path("disk")) in own[0] or "report.html" in own[0] or "run.zip" in own[0]
        assert not {"report.html", "run.zip"} & set(told["new"])
        assert told["again"][0] == 0, told["again"]
    assert told["left"] == []
    for moment in ("between", "after"):
        assert told[moment]["sound"]
        if command != "erase":
            assert told[moment]["ids"] == told["before"]["ids"]
    assert set(told["after"]["ids"]) <= set(told["between"]["ids"]) <= set(told["before"]["ids"])
    assert len(session_directories(recorded)) == 2


@pytest.mark.parametrize(
    "write", [keep_json, lambda path, value: replace_file(path, json.dumps(value).encode())]
)
def test_reports_of_replays_and_golden_traces_are_written_whole_or_not_at_all(write, tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write(path, {"verdict": "IDENTICAL"})
    before = path.read_bytes()

    def refuse(_fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    try:
        told = write(path, {"verdict": "DIVERGED"})
    except OSError as error:
        told = f"{error.strerror} ({error.filename})"
    assert told == f"No space left on device ({path})"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


COUNTING = """
from Agent import trace_agent_action

class Counter:
    def __init__(self):
        self.agent_id, self.count, self.text = "counter", 0, ""

    @trace_agent_action
    def step(self, by):
        self.count += by
        self.text += "x" * 400
        return self.count

def build():
    return Counter()

if __name__ == "__main__":
    counter = build()
    for number in range(40):
        counter.step(number)
"""
FORKING = """
import json, os, subprocess, sys
from pathlib import Path
from Agent.tree.layout import list_sessions

free_kb, *argv = sys.argv[1:]
disk = Path("disk")
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
root = disk.absolute() / "trace"
os.environ["AGENT_TRACE_ROOT"] = str(root)
subprocess.run([sys.executable, "counting.py"], check=True)
room = os.statvfs(disk)
with (disk / "filler").open("wb") as file:
    os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - int(free_kb) * 1024, 1))

def command():
    done = subprocess.run([sys.executable, "-m", "Agent", *argv], capture_output=True, text=True)
    return done.returncode, done.stderr, len(list_sessions(root))

full = command()
(disk / "filler").unlink()
print(json.dumps([full, command()]))
"""


@pytest.mark.integration
@needs(*MOUNTS)
@pytest.mark.parametrize("free_kb", [0, 8, 40])
@pytest.mark.parametrize(
    "command", [["fork", "--modify", '{"count": 100}'], ["resume"]], ids=lambda one: one[0]
)
def test_a_fork_on_a_full_disk_says_so_in_a_line_and_leaves_no_session(command, free_kb, tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    how = ["last", "--step", "5", "--target", "counting:build"]
    done = subprocess.run(
        [*MOUNTS, sys.executable, "-c", FORKING, str(free_kb), command[0], *how, *command[1:]],
        env=child_environment(TMPDIR=os.environ.get("TMPDIR", "/tmp"), AGENT_TRACE_SESSION=""),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (code, said, sessions), again = json.loads(done.stdout)
    assert (code, said.count("\n"), sessions) == (3, 1, 1), said
    assert f"No space left on device ({tmp_path / 'disk' / 'trace'}" in said
    assert "; free disk space" in said
    assert again == [1 if command[0] == "fork" else 0, "", 2]  # a changed fork differs
