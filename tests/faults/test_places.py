"""Where recording happens: read-only mounts, two machines on one directory, clocks that are set, full descriptors.

Machines and mounts are had by namespaces of the kernel (`unshare`), clocks by a library that is loaded first.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from oracle import read_plainly
from support.processes import child_environment
from support.session_files import only_session

from Agent.archive.verify import verify
from Agent.tree.files.session import Claim, boot_id, hostname, process_start_ticks, read_claims
from Agent.tree.read.reader import TreeReader
from Agent.tree.retention import why_in_use

MOUNTS = ("unshare", "-rm")
A_MACHINE = ("unshare", "-rpuf", "--mount-proc")
PRELUDE = """
import os, subprocess, sys, time
from Agent import AgentLogger, health, setup_logging, shutdown_logging
root = os.environ["AGENT_TRACE_ROOT"]
def tell(*ids):
    os.write(1, "".join(f"{identity or '-'}\\n" for identity in ids).encode())
"""


def needs(*namespace):
    """Leaves a test out, with the reason, where the kernel gives this user no such namespace."""
    if shutil.which("unshare") is None:
        return pytest.mark.skip(reason="there is no unshare")
    tried = subprocess.run([*namespace, "true"], capture_output=True, text=True, check=False)
    return pytest.mark.skipif(tried.returncode != 0, reason=f"unshare: {tried.stderr.strip()}")


def start(body, root, *namespace, **settings):
    """A program, in a namespace or not, that waits on its stdin and prints ids."""
    return subprocess.Popen(
        [*namespace, sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        env=child_environment(AGENT_TRACE_ROOT=str(root), **settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root.parent,
    )


def told_by(process):
    """The ids of a program that has ended well."""
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    assert "Traceback" not in errors, errors[-2000:]
    return said.split(), errors


@pytest.mark.process
@needs(*MOUNTS)
def test_a_read_only_mount_that_comes_and_goes_costs_what_is_told(trace_root):
    """It comes over the tree: what is open goes on being written, whatever is opened anew is refused."""
    trace_root.mkdir()
    told, _ = told_by(
        start(
            """
            setup_logging(segment_size_bytes=4096, max_open_files=4)
            loggers = [AgentLogger(f"agent_{n}", "x") for n in range(12)]
            write = lambda count: [loggers[n % 12].log_action("w", {"n": n, "text": "x" * 300}) for n in range(count)]
            ids = write(40)
            # Read-only from its first moment: a mount in which a file was opened meanwhile is busy.
            aside = root + "_aside"
            os.mkdir(aside)
            subprocess.run(["mount", "--bind", root, aside], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", aside], check=True)
            subprocess.run(["mount", "--bind", aside, root], check=True)
            refused = write(40)
            assert "" in refused
            assert any("EROFS" in name for name in health()["writer"]), health()
            subprocess.run(["umount", root], check=True)
            after = write(40)
            assert all(after), after
            # a report of what was dropped can be dropped itself
            dropped = sum(health()["dropped"].values())
            assert refused.count("") <= dropped <= refused.count("") + 2, health()
            tell(dropped, *ids, *refused, *after)
            """,
            trace_root,
            *MOUNTS,
        )
    )
    dropped = int(told.pop(0))
    session = only_session(trace_root)
    found = read_plainly(session)
    assert set(told) - {"-"} <= set(found.events)
    assert sum(event["extra"]["count"] for event in found.of_kind("log.dropped")) == dropped
    assert TreeReader(session).losses().total_lost == dropped


@pytest.mark.integration
@needs(*MOUNTS)
def test_a_mount_that_is_read_only_from_the_start_is_one_clear_obstacle_until_it_is_not(trace_root):
    trace_root.mkdir()
    told, errors = told_by(
        start(
            """
            subprocess.run(["mount", "--bind", root, root], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
            ids = [AgentLogger("a", "x").log_action("w", {"n": n}) for n in range(5)]
            assert ids == [""] * 5
            assert "Read-only file system" in health()["obstacle"], health()
            assert health()["dropped"] == {"nothing could be recorded": 5}, health()
            subprocess.run(["mount", "-o", "remount,bind,rw", root], check=True)
            time.sleep(1.01)
            tell(*ids, AgentLogger("a", "x").log_action("w"))
            """,
            trace_root,
            *MOUNTS,
        )
    )
    assert told[:5] == ["-"] * 5
    session = only_session(trace_root)
    assert set(told[5:]) <= set(read_plainly(session).events)
    assert verify(session).dropped == {"nothing could be recorded": 5}
    assert errors.splitlines()[0].startswith("agent-trace: nothing is recorded")


TWO_MACHINES = """
import socket
if len(os.environ["MACHINE"]) > 1:
    socket.sethostname(os.environ["MACHINE"])
setup_logging(segment_size_bytes=4096, rotation={"agents": (20_000, 99)})
tell(health()["path"])
sys.stdin.readline()
ids = [AgentLogger(f"agent_{n % 5}", "x").log_action("w", {"n": n, "text": "x" * 200}) for n in range(300)]
tell(*ids)
sys.stdin.readline()
"""


@pytest.mark.integration
@needs(*A_MACHINE)
@pytest.mark.parametrize("names", [("one", "two"), ("same", "same")])
def test_two_machines_on_one_directory_spoil_nothing_of_each_other(names, trace_root):
    machines = [start(TWO_MACHINES, trace_root, *A_MACHINE, MACHINE=name) for name in names]
    sessions = [Path(machine.stdout.readline().strip()) for machine in machines]
    try:
        assert sessions[0] != sessions[1]
        claims = [claim for session in sessions for claim in read_claims(session).values()]
        # both are the second process of their machine or so: here that number is somebody else
        assert len({claim.host for claim in claims}) == 2
        assert all(claim.pid < 100 and claim.host != hostname() for claim in claims)
        assert not any(claim.is_alive() for claim in claims)
        # so nobody here takes the sessions for abandoned ones
        assert all("within a day" in (why_in_use(session) or "") for session in sessions)
    finally:
        for machine in machines:
            machine.stdin.write("go\n")
            machine.stdin.flush()
    told = [[machine.stdout.readline().strip() for _ in range(300)] for machine in machines]
    for machine in machines:
        told_by(machine)
    mirrored = Counter()
    for path in (trace_root / "agents").glob("agents.log*"):
        mirrored.update(json.loads(line)["id"] for line in path.read_bytes().splitlines() if line)
    for session, ids in zip(sessions, told, strict=True):
        found = read_plainly(session)
        assert found.torn == []
        assert set(ids) <= set(found.events)
        assert TreeReader(session).losses().clean
        assert why_in_use(session) is None
    assert set(mirrored.values()) == {1}
    assert {identity for ids in told for identity in ids} <= set(mirrored)


def test_a_pid_of_another_machine_is_not_looked_for_here():
    mine = Claim(
        writer="aaaaaaaa",
        pid=os.getpid(),
        process_start_ticks=process_start_ticks(os.getpid()),
        boot_id=boot_id(),
        host=hostname(),
        durability="kernel",
        kind="events",
        claimed_at="",
    )
    import dataclasses

    assert mine.is_alive()
    assert not dataclasses.replace(mine, host="elsewhere").is_alive()
    assert not dataclasses.replace(mine, host=f"{hostname()}#4026532000").is_alive()
    assert not dataclasses.replace(mine, boot_id="another").is_alive()
    assert not dataclasses.replace(mine, process_start_ticks=1).is_alive()


A_CLOCK_THAT_IS_SET = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
/* Each 40 readings the wall clock is set: an hour back, to the time, a day ahead, to the time. */
int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    static int readings;
    static const long jumps[] = {0, -3600, 0, 86400, -7200};
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(id, ts);
    if (answer == 0 && id == CLOCK_REALTIME)
        ts->tv_sec += jumps[(__atomic_fetch_add(&readings, 1, __ATOMIC_RELAXED) / 40) % 5];
    return answer;
}
"""


@pytest.fixture
def clock_that_is_set(tmp_path):
    """A library that makes the wall clock of a process jump to and fro."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(A_CLOCK_THAT_IS_SET)
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no library can be made here: {done.stderr.decode()[:200]}")
    return str(library)


@pytest.mark.integration
def test_a_wall_clock_that_is_set_to_and_fro_reorders_no_thread_and_loses_nothing(
    clock_that_is_set, trace_root
):
    told, _ = told_by(
        start(
            """
            import threading
            before = [time.time() for _ in range(100)]
            assert before != sorted(before), "the clock does not jump"
            setup_logging(segment_size_bytes=4096, max_session_bytes=10**9, rotation={"agents": (20_000, 2)})
            def work(number):
                logger = AgentLogger(f"agent_{number}", "x")
                tell(*[logger.log_action("w", {"n": n, "text": "x" * 200}) for n in range(400)])
            threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """,
            trace_root,
            LD_PRELOAD=clock_that_is_set,
        )
    )
    session = only_session(trace_root)
    found = read_plainly(session)
    assert len(told) == 1200
    assert set(told) <= set(found.events)
    reader = TreeReader(session)
    assert reader.losses().clean
    for number in range(3):
        events = [event for event in reader.agent_events(f"agent_{number}") if event.kind == "agent_action"]
        assert [event.extra["action_data"]["n"] for event in events] == list(range(400))


@pytest.mark.integration
def test_ten_thousand_agents_under_the_shells_limit_of_sixty_four_open_files(trace_root):
    """The limit is there before the interpreter is, as a shell sets it; so many more tests need it in process."""
    began = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64; exec "$0" "$@"', sys.executable, "-c", PRELUDE + TEN_THOUSAND],
        env=child_environment(AGENT_TRACE_ROOT=str(trace_root)),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=trace_root.parent,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout.split()
    session = only_session(trace_root)
    found = read_plainly(session)
    assert len(told) == 10_000
    assert set(told) <= set(found.events)
    assert len(list((session / "agents").iterdir())) == 10_000
    assert time.monotonic() - began < 240


TEN_THOUSAND = """
ids = [AgentLogger(f"agent_{n}", "x").log_action("w", {"n": n}) for n in range(10_000)]
assert not health()["dropped"], health()
tell(*ids)
"""
