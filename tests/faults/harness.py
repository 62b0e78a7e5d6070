"""Starts writer programs, kills them or makes their system calls fail, and collects what they said.

Reused by whatever has to survive a kill: give `programs.py` a scenario, and `oracle.py` judges what is left.
Kills come at random, or at the k-th system call of a kind, which strace delivers on entry: what the call would
have done is not done, what stood before it is.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from support.processes import child_environment

PROGRAM = Path(__file__).with_name("programs.py")
CALLS = {
    "write": "write,pwrite64,writev",
    "openat": "?open,openat",
    "rename": "?rename,?renameat,renameat2",
    "link": "?link,linkat",
    "unlink": "?unlink,unlinkat",
    "allocate": "fallocate,ftruncate",
    "fsync": "fsync,fdatasync",
    "mmap": "mmap",
    "close": "close",
    "mkdir": "?mkdir,mkdirat",
    "flock": "flock",
}
"""A kind of system call, and what strace calls the members of it."""
TRACE_NAME = "strace.txt"
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Tampering:
    """What strace does to the k-th call of a kind: `when` as strace has it (`3`, `3+`, `3..9`)."""

    call: str
    when: str
    action: str = "signal=KILL"

    def expression(self) -> str:
        """The option for strace."""
        return f"inject={CALLS[self.call]}:{self.action}:when={self.when}"


@dataclass(frozen=True)
class Counting:
    """Nothing is done to any call; how many there are of each kind stands in `Outcome.counted`."""


@dataclass(frozen=True)
class KillAtRandom:
    """SIGKILL after so many acknowledgements and a moment more."""

    acknowledgements: int
    delay_s: float
    processes: int = 1
    """How many there must be by then, so that none is left out."""

    @classmethod
    def drawn(cls, chance: random.Random, most: int = 300, processes: int = 1) -> KillAtRandom:
        """A kill that the seed of `chance` decides."""
        return cls(chance.randrange(most), chance.uniform(0.0, 0.003), processes)


@dataclass(frozen=True)
class Call:
    """One call that returned."""

    identity: str
    process: int
    thread: int
    number: int
    mark: str = "A"

    @property
    def held(self) -> bool:
        """Whether a kill may have met it in memory still."""
        return self.mark != "A"


@dataclass
class Outcome:
    """What a program said and how it ended; negative exit codes are signals."""

    root: Path
    threads: int
    exit_code: int = 0
    calls: list[Call] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    healths: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What `health()` last said in each process."""
    done: set[int] = field(default_factory=set)
    facts: list[dict[str, Any]] = field(default_factory=list)
    """Steps, artifacts and checkpoints whose calls returned."""
    stderr: str = ""
    injected: list[str] = field(default_factory=list)
    """The calls that strace made to fail before the program last told its health."""
    injected_later: list[str] = field(default_factory=list)
    """Those that it made to fail afterwards."""
    counted: dict[str, int] = field(default_factory=dict)
    """The most calls of a kind that one of the processes made."""

    @property
    def killed(self) -> bool:
        """Whether the first process was killed."""
        return self.exit_code == -signal.SIGKILL

    def own_words(self) -> str:
        """What the program itself said on stderr of a failure that was raised to it."""
        return " ".join(line for line in self.stderr.splitlines() if line.startswith("program: "))

    @property
    def refused(self) -> list[Call]:
        """Calls that gave no id."""
        return [call for call in self.calls if call.identity == ""]

    def hear(self, line: str) -> None:
        """Take one line of the program."""
        kind, _, rest = line.partition(" ")
        if kind in {"A", "B", "Q"}:
            identity, process, thread, number = rest.split(" ")
            identity = "" if identity == "-" else identity
            self.calls.append(Call(identity, int(process), int(thread), int(number), kind))
        elif kind == "P":
            self.pids.append(int(rest))
        elif kind == "H":
            process, _, text = rest.partition(" ")
            self.healths[int(process)] = orjson.loads(text)
        elif kind == "F":
            self.facts.append(orjson.loads(rest))
        elif kind == "D":
            self.done.add(int(rest))
        else:
            raise AssertionError(f"the program said {line!r}")


@functools.cache
def why_no_tracing() -> str | None:
    """Why strace cannot tamper with system calls here; None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed, so no system call can be tampered with"
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        options = ["-qq", "-o", os.devnull, "-e", Tampering("close", "1").expression()]
        tracer = subprocess.Popen(
            ["strace", *options, "-p", str(sleeper.pid)], stderr=subprocess.PIPE, start_new_session=True
        )
        time.sleep(0.2)
        if tracer.poll() is not None:
            told = (tracer.stderr.read() if tracer.stderr else b"").decode(errors="replace")
            return f"strace cannot attach to a process here: {told.strip()[:200]}"
        # strace forks while it begins, and that child would hold the pipe open
        os.killpg(tracer.pid, signal.SIGKILL)
        tracer.communicate()
        return None
    finally:
        sleeper.kill()
        sleeper.wait()


class Launcher:
    """A process that forks the writers; one run at a time."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(theirs.fileno())],
            env=child_environment(),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._process.wait(timeout=_PATIENCE_S)

    def run(
        self,
        scenario: str,
        directory: Path,
        *,
        events: int,
        threads: int = 1,
        fault: Tampering | Counting | KillAtRandom | None = None,
        mutation: str | None = None,
        seed: int = 0,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> Outcome:
        """Run a scenario to its end, or to its death, in a directory of its own."""
        directory.mkdir(parents=True, exist_ok=True)
        # made beforehand, so that the calls which are counted are those of recording
        key = directory / "config" / "agent-trace" / "redaction.key"
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(bytes(range(32)))
        root = directory / "trace"
        command = {
            "scenario": scenario,
            "events": events,
            "threads": threads,
            "options": options,
            "mutation": mutation,
            "seed": seed,
            "cwd": str(directory),
            "environment": {
                "AGENT_TRACE_ROOT": str(root),
                "HOME": str(directory),
                "XDG_CONFIG_HOME": str(directory / "config"),
                **(environment or {}),
            },
        }
        ours, theirs = socket.socketpair()
        socket.send_fds(self._control, [orjson.dumps(command)], [theirs.fileno()])
        theirs.close()
        pid = int(self._control.recv(64))
        outcome = Outcome(root, threads)
        outcome.pids.append(pid)
        try:
            _Run(ours, pid, fault, outcome, directory / TRACE_NAME).watch()
        finally:
            ours.close()
        outcome.exit_code = int(self._control.recv(64))
        if isinstance(fault, Counting):
            outcome.counted = _count_calls(directory / TRACE_NAME)
        else:
            _sort_injected(directory / TRACE_NAME, outcome)
        errors = directory / "stderr.txt"
        outcome.stderr = errors.read_text(errors="replace") if errors.exists() else ""
        return outcome


def _count_calls(trace: Path) -> dict[str, int]:
    kinds = {name.lstrip("?"): kind for kind, names in CALLS.items() for name in names.split(",")}
    counts: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        kind = kinds.get(rest.strip().partition("(")[0])
        if kind is not None:
            counts[kind, pid] += 1
    return {kind: max(n for (other, _), n in counts.items() if other == kind) for kind, _ in counts}


def _sort_injected(trace: Path, outcome: Outcome) -> None:
    if not trace.exists():
        return
    lines = trace.read_text(errors="replace").splitlines()
    # each process tells its health once it has made its calls; the first to end counts
    last: dict[str, int] = {}
    for number, line in enumerate(lines):
        if '"H ' in line:
            last[line.partition('"H ')[2].partition(" ")[0]] = number
    told = min(last.values(), default=len(lines))
    unfinished: dict[str, str] = {}
    for number, line in enumerate(lines):
        pid = line.partition(" ")[0]
        if line.rstrip().endswith("<unfinished ...>"):
            unfinished[pid] = line
        if "(INJECTED)" in line:
            # Where another thread's call came in between, the first half says which file it is.
            whole = unfinished.get(pid, "") + line if " resumed>" in line else line
            (outcome.injected if number < told else outcome.injected_later).append(whole)


class _Run:
    """Listens to one program, begins to trace it when it is ready, kills it when its time has come."""

    def __init__(
        self,
        channel: socket.socket,
        pid: int,
        fault: Tampering | Counting | KillAtRandom | None,
        outcome: Outcome,
        trace: Path,
    ) -> None:
        self._trace = trace
        self._channel = channel
        self._pid = pid
        self._fault = fault
        self._outcome = outcome
        self._tracer: subprocess.Popen[bytes] | None = None

    def watch(self) -> None:
        """Until every process that writes along has closed its end."""
        killer = self._fault if isinstance(self._fault, KillAtRandom) else None
        ready = False
        rest = b""
        self._channel.settimeout(_PATIENCE_S)
        try:
            while data := self._receive():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line == b"R":
                        self._attach()
                        self._open_gate()
                        ready = True
                    else:
                        self._outcome.hear(line.decode())
                if killer and ready and self._is_time_for(killer):
                    threading.Thread(target=self._kill_all, args=(killer.delay_s,)).start()
                    killer = None
        finally:
            self._detach()
        # every acknowledgement ends in a newline: one that a kill cut short was never whole
        assert len(rest) < 100, rest

    def _is_time_for(self, killer: KillAtRandom) -> bool:
        outcome = self._outcome
        acknowledged = len(outcome.calls) + len(outcome.facts)
        return acknowledged >= killer.acknowledgements and len(outcome.pids) >= killer.processes

    def _open_gate(self) -> None:
        # one of its other threads may have been struck as soon as it was attached
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(b"g")

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(65536)
        except ConnectionResetError:
            # killed before it took the byte that opens the gate
            return b""

    def _kill_all(self, delay_s: float) -> None:
        time.sleep(delay_s)
        for pid in self._outcome.pids[::-1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            time.sleep(delay_s)

    def _attach(self) -> None:
        if self._fault is None or isinstance(self._fault, KillAtRandom):
            return
        command = ["strace", "-f", "-y", "-o", str(self._trace), "-p", str(self._pid), "-e"]
        if isinstance(self._fault, Counting):
            command += [f"trace={','.join(CALLS.values())}"]
        else:
            # what the program says goes into the trace too, so that one sees which calls failed before
            command += [f"trace={CALLS[self._fault.call]},sendto", "-e", self._fault.expression()]
        self._tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._tracer.stderr is not None
        told = self._tracer.stderr.readline()
        assert b"attached" in told, told

    def _detach(self) -> None:
        if self._tracer is None:
            return
        try:
            self._tracer.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._tracer.kill()
            self._tracer.communicate()
            raise
